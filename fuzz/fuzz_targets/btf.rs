//! Anything that a kernel may say of its structures.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| collectors::btf::survive(data));
