//! Any bytes of a terminal server: output and answers are no longer than the input, and typing works with any
//! agreed options.
#![no_main]

use dawn_hardware::console::telnet::Telnet;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let at = data.first().map_or(0, |byte| usize::from(*byte).min(data.len()));
    let (first, second) = data.split_at(at);
    let mut telnet = Telnet::default();
    for bytes in [first, second] {
        let heard = telnet.hear(bytes);
        assert!(heard.output.len() <= bytes.len() + 1);
        assert!(heard.answer.len() <= bytes.len() + 2);
        assert!(heard.answer.len().is_multiple_of(3));
    }
    let typed = telnet.typed(first);
    assert!(typed.len() <= 2 * first.len());
    // A peer with the same options reads typed characters as they were meant.
    let echo = Telnet::default().hear(&Telnet::default().typed(first));
    assert_eq!(echo.output, first);
    assert!(echo.answer.is_empty());
});
