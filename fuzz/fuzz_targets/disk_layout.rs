//! Any bytes into `dawn_plan::localdisk::fuzz_layout`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dawn_plan::localdisk::fuzz_layout(&String::from_utf8_lossy(data)));
