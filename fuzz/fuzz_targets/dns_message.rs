//! Any bytes into `dawn_dns::fuzz::fuzz_messages`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dawn_dns::fuzz::fuzz_messages(data));
