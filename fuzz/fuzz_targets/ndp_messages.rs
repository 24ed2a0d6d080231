//! Any bytes into `dawn_ndp::fuzz::fuzz_messages`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dawn_ndp::fuzz::fuzz_messages(data));
