//! Templates: what becomes one is matched by the text it was made of, and an exact match is a match.
#![no_main]

use dawn_remote::sinv::{Template, template_text};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let (template, other) = text.split_once('\0').unwrap_or((&text, ""));
    let made = Template::read("t", &template_text(&["n1", "n2"], template));
    assert!(made.matches(template, true) && made.matches(template, false));
    assert!(!made.matches(other, true) || made.matches(other, false));
    Template::read("t", &text).matches(other, false);
});
