//! Any bytes into `dawn_bootd::fuzz::fuzz_journals`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dawn_bootd::fuzz::fuzz_journals(data));
