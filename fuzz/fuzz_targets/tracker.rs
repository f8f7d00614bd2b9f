//! Anything a tracker may meet.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| strategies::fuzz::tracker(data));
