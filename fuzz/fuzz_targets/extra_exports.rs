//! Any bytes into `dawn_bootd::fuzz::fuzz_extra_exports`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dawn_bootd::fuzz::fuzz_extra_exports(data));
