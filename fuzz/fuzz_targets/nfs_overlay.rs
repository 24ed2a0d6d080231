//! Any bytes into `dawn_nfs::fuzz::fuzz_overlay`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dawn_nfs::fuzz::fuzz_overlay(data));
