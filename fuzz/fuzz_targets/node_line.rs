//! Any bytes into `dawn_xcatd::fuzz_node_line`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dawn_xcatd::fuzz_node_line(data));
