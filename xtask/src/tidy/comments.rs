//! Comments stay within the width of the code. rustfmt does not break them.

use anyhow::Result;

use super::{files, outcome};
use crate::suite::Count;

/// Columns, `max_width` of `rustfmt.toml`.
const COLUMNS_MAX: usize = 110;

/// Every comment on separate lines; rows of tables and addresses cannot be broken.
pub(super) fn check() -> Result<Count> {
    let mut wrong = Vec::new();
    for (file, text) in files::like("*.rs")? {
        let long = (1..).zip(text.lines()).filter(|(_, line)| is_too_long(line));
        wrong.extend(
            long.map(|(number, line)| format!("{file}:{number} has {} columns", line.chars().count())),
        );
    }
    Ok(outcome("comments", &wrong))
}

fn is_too_long(line: &str) -> bool {
    let Some(comment) = line.trim_start().strip_prefix("//") else { return false };
    let text = comment.trim_start_matches(['/', '!']).trim_start();
    line.chars().count() > COLUMNS_MAX && !text.starts_with('|') && text.contains(' ')
}

#[cfg(test)]
mod tests {
    use super::is_too_long;

    #[test]
    fn what_is_too_long() {
        let words = "word ".repeat(22);
        assert!(is_too_long(&format!("    /// {words}")));
        assert!(!is_too_long(&format!("/// | {words}")), "a table's row");
        assert!(!is_too_long(&format!("let x = \"{words}\"; // short")), "code is rustfmt's");
        assert!(!is_too_long(&format!("// {}", "x".repeat(120))), "nothing to break at");
        assert!(!is_too_long("// short"));
    }
}
