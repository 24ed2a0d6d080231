//! Any bytes into `dawn_roots::fuzz::fuzz_live_list`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dawn_roots::fuzz::fuzz_live_list(data));
