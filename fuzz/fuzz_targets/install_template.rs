//! Any bytes into `dawn_deploy::fuzz::fuzz_template`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dawn_deploy::fuzz::fuzz_template(data));
