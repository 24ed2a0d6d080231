//! Columns are constants of `dawn_cluster::col`: outside of that crate no code asks for one by a text.

use anyhow::Result;

use super::{code, outcome};
use crate::suite::Count;

/// Calls that take a column.
const CALLS: [&str; 3] = [".attr(", ".attr_with_source(", "Col::known("];
/// The crate that defines them, and this file.
const EXEMPT: [&str; 2] = ["cluster/", "xtask/src/tidy/columns.rs"];

/// All sources but tests, whose tables of cases are texts.
pub(super) fn check() -> Result<Count> {
    let mut wrong = Vec::new();
    code::each_line(&mut |file, number, line| {
        if let Some(name) = found(line).filter(|_| !EXEMPT.iter().any(|one| file.starts_with(one))) {
            wrong.push(format!("{file}:{number}: \"{name}\": use dawn_cluster::col"));
        }
    })?;
    Ok(outcome("columns", &wrong))
}

/// The first text `table.column` after a call that takes a column.
fn found(line: &str) -> Option<&str> {
    let at = CALLS.iter().filter_map(|call| Some(line.find(call)? + call.len())).min()?;
    line.get(at..)?.split('"').skip(1).step_by(2).find(|text| is_column(text))
}

fn is_column(text: &str) -> bool {
    let is_name = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    text.split_once('.').is_some_and(|(table, column)| is_name(table) && is_name(column))
}

#[cfg(test)]
mod tests {
    use super::found;

    #[test]
    fn texts_of_columns_are_found() {
        assert_eq!(found(r#"let ip = snapshot.attr(node, "hosts.ip")?;"#), Some("hosts.ip"));
        assert_eq!(found(r#"let key = Col::known("site.key");"#), Some("site.key"));
        assert_eq!(found(r#"snapshot.attr("cn1", col::hosts::IP)"#), None);
        assert_eq!(found(r#"format!("hosts.ip of {node}")"#), None);
    }
}
