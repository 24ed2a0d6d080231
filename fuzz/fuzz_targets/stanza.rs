//! Any bytes into `dawn_cli::defs::stanza::fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dawn_cli::defs::stanza::fuzz(data));
