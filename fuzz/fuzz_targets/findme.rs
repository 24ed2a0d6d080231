//! Any bytes into `dawn_discovery::fuzz::fuzz_findme`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dawn_discovery::fuzz::fuzz_findme(data));
