//! Any bytes into `dawn_plan::view::fuzz::fuzz_script`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dawn_plan::view::fuzz::fuzz_script(data));
