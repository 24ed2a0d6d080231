//! Any bytes into `dawn_statelite::fuzz_needs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dawn_statelite::fuzz_needs(data));
