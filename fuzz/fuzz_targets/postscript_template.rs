//! Any bytes into `dawn_bootd::mypostscript::fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dawn_bootd::mypostscript::fuzz(data));
