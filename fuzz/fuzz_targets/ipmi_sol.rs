//! Any bytes into `dawn_ipmi::fuzz::fuzz_sol`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dawn_ipmi::fuzz::fuzz_sol(data));
