//! Any bytes into `initrd_init::fuzz::http_answer`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| initrd_init::fuzz::http_answer(data));
