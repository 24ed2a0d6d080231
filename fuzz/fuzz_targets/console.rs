//! Any bytes as output of a console, and as frames of a viewer.
#![no_main]

use dawn_hardware::console::frames::Decoder;
use dawn_hardware::console::lines::Lines;
use dawn_hardware::limits::{CONSOLE_FRAME_BYTES_MAX, CONSOLE_LINE_BYTES_MAX};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut lines = Lines::default();
    lines.push(data, |line| {
        // An invalid byte takes three bytes as a character.
        assert!(line.len() <= 3 * CONSOLE_LINE_BYTES_MAX);
        assert!(line.chars().all(|c| !c.is_control() || c == '\t'));
    });
    drop(lines.end());
    let mut decoder = Decoder::default();
    decoder.push(data);
    while let Ok(Some(frame)) = decoder.next_frame() {
        assert!(frame.bytes().len() <= 3 * CONSOLE_FRAME_BYTES_MAX);
    }
});
