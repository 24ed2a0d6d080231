//! Any bytes into `dawn_snmp::fuzz::fuzz_message`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dawn_snmp::fuzz::fuzz_message(data));
