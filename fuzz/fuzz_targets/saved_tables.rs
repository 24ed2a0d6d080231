//! Any bytes into `dawn_cluster::fuzz::saved_tables`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dawn_cluster::fuzz::saved_tables(data));
