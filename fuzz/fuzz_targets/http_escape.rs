//! Any bytes into `dawn_http::fuzz::fuzz_escape`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dawn_http::fuzz::fuzz_escape(data));
