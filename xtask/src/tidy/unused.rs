//! Public items that nothing but tests uses: functions, types, constants. rustc does not report them, because
//! another crate could use them.
//!
//! A name that occurs once in the code of all crates, examples and fuzz targets is its own definition.

use std::collections::HashMap;

use anyhow::Result;

use super::{code, outcome};
use crate::suite::Count;

/// Where functions stand that are there for tests: a client, simulated BMCs; and one part of a protocol that
/// no table speaks of, the key K_G of a BMC.
const FOR_TESTS: [&str; 4] =
    ["tests/", "bootd/nfs/src/client.rs", "hardware/ipmi/src/sim/", "hardware/ipmi/src/secret.rs"];

/// What an item is.
const KINDS: [&str; 7] = ["fn", "const", "static", "struct", "enum", "trait", "type"];
/// What may stand between `pub` and that.
const BEFORE: [&str; 3] = ["unsafe", "async", "extern"];

/// The check.
pub(super) fn check() -> Result<Count> {
    let mut occurrences: HashMap<String, usize> = HashMap::new();
    let mut public = Vec::new();
    code::each_line(&mut |file, _, line| {
        for word in words(line) {
            *occurrences.entry(word.to_owned()).or_default() += 1;
        }
        if !FOR_TESTS.iter().any(|place| file.starts_with(place)) {
            public.extend(public_item(line).map(|name| (file.to_owned(), name.to_owned())));
        }
    })?;
    let unused = public.iter().filter(|(_, name)| occurrences.get(name) == Some(&1));
    let unused = unused.map(|(file, name)| format!("{file}: nothing but tests uses `{name}`"));
    Ok(outcome("unused items", &unused.collect::<Vec<_>>()))
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).filter(|word| !word.is_empty())
}

/// The name of the item that this line declares `pub`.
fn public_item(line: &str) -> Option<&str> {
    let words = words(line.trim_start().strip_prefix("pub ")?);
    let mut words = words.skip_while(|word| BEFORE.contains(word)).peekable();
    words.next_if(|word| KINDS.contains(word))?;
    // `const fn`, `static mut`
    while words.next_if(|word| ["unsafe", "fn", "mut"].contains(word)).is_some() {}
    words.next()
}

#[cfg(test)]
mod tests {
    use super::public_item;

    #[test]
    fn what_is_a_public_item() {
        for (line, name) in [
            ("pub fn a() {}", "a"),
            ("    pub const unsafe fn b() {}", "b"),
            ("pub async fn c<T>(d: T) {", "c"),
            ("pub const E: [u8; 2] = [1, 2];", "E"),
            ("pub struct F;", "F"),
            ("pub type G<T> = Vec<T>;", "G"),
        ] {
            assert_eq!(public_item(line), Some(name), "{line}");
        }
        for other in ["fn c() {}", "pub(crate) fn d() {}", "pub use e::F;", "pub mod g;", "pub field: u8,"] {
            assert_eq!(public_item(other), None, "{other}");
        }
    }
}
