//! Any bytes into `dawn_ipmi::fuzz::fuzz_packet`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dawn_ipmi::fuzz::fuzz_packet(data));
