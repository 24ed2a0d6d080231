//! Any bytes into `dawn_tftp::fuzz::fuzz_path`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dawn_tftp::fuzz::fuzz_path(data));
