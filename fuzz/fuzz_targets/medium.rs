//! Any bytes into `dawn_imagebuilder::fuzz::fuzz_medium`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dawn_imagebuilder::fuzz::fuzz_medium(data));
