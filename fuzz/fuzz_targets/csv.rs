//! Any bytes into `dawn_cluster::csv::fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dawn_cluster::csv::fuzz(data));
