//! Any bytes into `dawn_commands::databases::backup::format::fuzz_contents`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dawn_commands::databases::backup::format::fuzz_contents(data));
