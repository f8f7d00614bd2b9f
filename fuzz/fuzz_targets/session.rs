//! Anything a parser's session may meet.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| strategies::fuzz::session(data));
