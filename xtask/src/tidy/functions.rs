//! Public functions that nothing but tests uses. rustc does not report them, because another crate could.
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

/// The check.
pub(super) fn check() -> Result<Count> {
    let mut occurrences: HashMap<String, usize> = HashMap::new();
    let mut public = Vec::new();
    code::each_line(&mut |file, _, line| {
        for word in words(line) {
            *occurrences.entry(word.to_owned()).or_default() += 1;
        }
        if !FOR_TESTS.iter().any(|place| file.starts_with(place)) {
            public.extend(public_function(line).map(|name| (file.to_owned(), name.to_owned())));
        }
    })?;
    let unused = public.iter().filter(|(_, name)| occurrences.get(name) == Some(&1));
    let unused = unused.map(|(file, name)| format!("{file}: nothing but tests uses `{name}`"));
    Ok(outcome("unused functions", &unused.collect::<Vec<_>>()))
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).filter(|word| !word.is_empty())
}

/// The name of the function that this line declares `pub`, with any words between.
fn public_function(line: &str) -> Option<&str> {
    let mut words = words(line.trim_start().strip_prefix("pub ")?);
    words.find(|word| *word == "fn")?;
    words.next()
}

#[cfg(test)]
mod tests {
    use super::public_function;

    #[test]
    fn what_is_a_public_function() {
        assert_eq!(public_function("pub fn a() {}"), Some("a"));
        assert_eq!(public_function("    pub const unsafe fn b() {}"), Some("b"));
        for other in ["fn c() {}", "pub(crate) fn d() {}", "pub struct E;"] {
            assert_eq!(public_function(other), None, "{other}");
        }
    }
}
