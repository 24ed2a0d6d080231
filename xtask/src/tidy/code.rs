//! The lines of code of all sources but tests: no comments.

use std::fs;

use anyhow::{Context, Result};
use dawn_qemu::paths;

use super::functions::files_like;

/// Calls `look` with file, number and text of each line. Files of tests and modules of tests are left out.
pub(super) fn each_line(look: &mut dyn FnMut(&str, usize, &str)) -> Result<()> {
    let is_test = |file: &String| file.contains("tests/") || file.ends_with("tests.rs");
    for file in files_like("*.rs")?.into_iter().filter(|file| !is_test(file)) {
        let path = paths::workspace().join(&file);
        if !path.is_file() {
            continue;
        }
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {file}"))?;
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        let lines = (1..).zip(code.lines()).filter(|(_, line)| !line.trim_start().starts_with("//"));
        lines.for_each(|(number, line)| look(&file, number, line));
    }
    Ok(())
}
