//! Any bytes into `dawn_tftp::fuzz::fuzz_conversation`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dawn_tftp::fuzz::fuzz_conversation(data));
