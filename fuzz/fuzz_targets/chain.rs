//! Any bytes into `dawn_plan::fuzz::fuzz_chain`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dawn_plan::fuzz::fuzz_chain(data));
