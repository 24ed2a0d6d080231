//! Any bytes into `dawn_cluster::fuzz::template`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dawn_cluster::fuzz::template(data));
