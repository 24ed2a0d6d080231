//! Any bytes into `dawn_cli::csv::fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dawn_cli::csv::fuzz(data));
