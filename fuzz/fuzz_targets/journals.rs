//! Any bytes into `dawn_roots::fuzz::fuzz_journals`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dawn_roots::fuzz::fuzz_journals(data));
