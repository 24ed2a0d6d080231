//! Any bytes into `dawn_imagebuilder::oci::fuzz::fuzz_archive`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dawn_imagebuilder::oci::fuzz::fuzz_archive(data));
