//! Public functions that nothing uses. rustc does not report them, because another crate could.
//!
//! A name that occurs once in all sources, tests, examples and fuzz targets included, is its own definition.

use std::collections::HashMap;
use std::fs;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use dawn_qemu::paths;

use super::outcome;
use crate::suite::Count;

/// The check.
pub(super) fn check() -> Result<Count> {
    let mut texts = Vec::new();
    for file in sources()? {
        let path = paths::workspace().join(&file);
        // A file that is removed and not committed yet is still listed.
        if path.is_file() {
            texts.push((fs::read_to_string(&path).with_context(|| format!("cannot read {file}"))?, file));
        }
    }
    let mut occurrences: HashMap<&str, usize> = HashMap::new();
    for word in texts.iter().flat_map(|(text, _)| words(text)) {
        *occurrences.entry(word).or_default() += 1;
    }
    let unused = texts.iter().flat_map(|(text, file)| {
        let names = public_functions(text).filter(|name| occurrences.get(name) == Some(&1));
        names.map(move |name| format!("{file}: nothing uses `{name}`"))
    });
    Ok(outcome("unused functions", &unused.collect::<Vec<_>>()))
}

/// Rust sources that git knows, those not yet added included.
pub(super) fn sources() -> Result<Vec<String>> {
    files_like("*.rs")
}

/// Files that git knows, those not yet added included.
pub(super) fn files_like(pattern: &str) -> Result<Vec<String>> {
    let mut command = std::process::Command::new("git");
    command.args(["ls-files", "--cached", "--others", "--exclude-standard", pattern]);
    let output = command.current_dir(paths::workspace()).stdin(Stdio::null()).output();
    let output = output.context("cannot start `git ls-files`")?;
    ensure!(output.status.success(), "`git ls-files` failed");
    Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).filter(|word| !word.is_empty())
}

/// Names of functions declared `pub`, with any words between.
fn public_functions(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim_start).filter(|line| line.starts_with("pub ")).filter_map(|line| {
        let mut words = words(line);
        words.find(|word| *word == "fn")?;
        words.next()
    })
}

#[cfg(test)]
mod tests {
    use super::public_functions;

    #[test]
    fn what_is_a_public_function() {
        let text =
            "pub fn a() {}\n    pub const unsafe fn b() {}\nfn c() {}\npub(crate) fn d() {}\npub struct E;\n";
        assert_eq!(public_functions(text).collect::<Vec<_>>(), ["a", "b"]);
    }
}
