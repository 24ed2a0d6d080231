//! Synclists: what is read from any text stays where it says, and no place is below another.
#![no_main]

use dawn_remote::synclist::fuzz;

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz(data));
