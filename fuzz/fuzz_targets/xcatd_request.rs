//! Any bytes into `dawn_xcatd::fuzz_request`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dawn_xcatd::fuzz_request(data));
