//! Any bytes into `dawn_cluster::fuzz::change_log`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dawn_cluster::fuzz::change_log(data));
