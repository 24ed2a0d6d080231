//! Any bytes into `dawn_bootd::fuzz::fuzz_live_list`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dawn_bootd::fuzz::fuzz_live_list(data));
