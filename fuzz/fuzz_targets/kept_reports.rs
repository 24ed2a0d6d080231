//! Any bytes into `dawn_bootd::kept_reports::fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dawn_bootd::kept_reports::fuzz(data));
