//! Columns are constants of `dawn_cluster::col`: outside of that crate no code asks for one by a text. Keys
//! of `site` that code reads are declared as such, so that no command says that nothing reads them.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result};
use dawn_qemu::paths;

use super::{code, outcome};
use crate::suite::Count;

/// Calls that take a column.
const CALLS: [&str; 4] = [".attr(", ".attr_with_source(", "Col::known(", "find_col("];
/// Lines of one call that are looked at together, at most.
const CALL_LINES_MAX: usize = 8;
/// The call that takes the name of a column of an image, which a file says.
const NAMED: &str = ".named(\"";
/// Calls that take a key of `site`.
const SITE_CALLS: [&str; 2] = [".site(\"", ".site_flag(\""];
/// Where the keys are declared.
const SITE_KEYS: &str = "cluster/src/site.rs";
/// The crate that defines them, and this file.
const EXEMPT: [&str; 2] = ["cluster/", "xtask/src/tidy/columns.rs"];

/// All sources but tests, whose tables of cases are texts.
pub(super) fn check() -> Result<Count> {
    let (mut wrong, mut calls) = (Vec::new(), Calls::default());
    code::each_line(&mut |file, number, line| {
        let Some(whole) = calls.whole(line) else { return };
        if let Some(name) = found(&whole).filter(|_| !EXEMPT.iter().any(|one| file.starts_with(one))) {
            wrong.push(format!("{file}:{number}: \"{name}\": use dawn_cluster::col"));
        }
    })?;
    let columns = outcome("columns", &wrong);
    Ok(columns.plus(outcome("keys of site", &undeclared_keys()?)))
}

/// Keys of `site` that a source reads and the list of keys does not call used.
fn undeclared_keys() -> Result<Vec<String>> {
    let path = paths::workspace().join(SITE_KEYS);
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let declared: BTreeSet<&str> =
        text.split("used(").filter_map(|rest| rest.trim_start().split('"').nth(1)).collect();
    let mut wrong = Vec::new();
    code::each_line(&mut |file, number, line| {
        let keys = site_keys(line).filter(|key| !declared.contains(key) && !EXEMPT.contains(&file));
        wrong.extend(keys.map(|key| format!("{file}:{number}: {key} is not a used key of {SITE_KEYS}")));
    })?;
    Ok(wrong)
}

/// The keys of `site` that a line asks for by their texts.
fn site_keys(line: &str) -> impl Iterator<Item = &str> {
    SITE_CALLS.iter().flat_map(|call| line.split(call).skip(1)).filter_map(|rest| rest.split('"').next())
}

/// Lines of code, those of one call joined: the formatter breaks long ones.
#[derive(Default)]
struct Calls {
    text: String,
    lines: usize,
}

impl Calls {
    /// The line, together with those before it that belong to its call; `None` if the call goes on.
    fn whole(&mut self, line: &str) -> Option<String> {
        let line = if self.lines == 0 { line } else { line.trim() };
        self.text.push_str(line);
        self.lines += 1;
        let goes_on =
            CALLS.iter().filter_map(|call| self.text.split_once(call)).any(|(_, rest)| !is_closed(rest));
        if goes_on && self.lines < CALL_LINES_MAX {
            return None;
        }
        self.lines = 0;
        Some(std::mem::take(&mut self.text))
    }
}

fn is_closed(rest: &str) -> bool {
    within_call(rest).len() < rest.len()
}

/// The first text `table.column` in a call that takes a column, be it put together; or the name of a column.
fn found(line: &str) -> Option<&str> {
    let after = |call: &&str| Some(line.split_once(call)?.1);
    let dotted =
        CALLS.iter().filter_map(after).flat_map(|rest| within_call(rest).split('"').skip(1).step_by(2));
    let name = after(&NAMED).and_then(|rest| rest.split('"').next());
    dotted.filter(|text| is_column(text)).chain(name).next()
}

/// The part of the line up to the end of the call.
fn within_call(rest: &str) -> &str {
    let mut open = 1_usize;
    let end = rest.find(|letter| {
        match letter {
            '(' => open += 1,
            ')' => open -= 1,
            _ => {}
        }
        open == 0
    });
    end.and_then(|end| rest.get(..end)).unwrap_or(rest)
}

fn is_name(text: &str) -> bool {
    let is_letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_{}".contains(&b);
    !text.is_empty() && text.bytes().all(is_letter)
}

fn is_column(text: &str) -> bool {
    text.split_once('.').is_some_and(|(table, column)| is_name(table) && is_name(column))
}

#[cfg(test)]
mod tests {
    use super::{Calls, found, site_keys};

    #[test]
    fn keys_of_site_are_found() {
        let line = r#"snapshot.site("domain").or_else(|| snapshot.site("master"))"#;
        assert_eq!(site_keys(line).collect::<Vec<_>>(), ["domain", "master"]);
        assert_eq!(site_keys(r#"snapshot.site(key)"#).count(), 0);
    }

    #[test]
    fn calls_over_several_lines_are_found() {
        let find = |lines: &[&str]| {
            let mut calls = Calls::default();
            let whole: Vec<String> = lines.iter().filter_map(|line| calls.whole(line)).collect();
            whole.iter().find_map(|text| found(text).map(str::to_owned))
        };
        let broken = [
            "    let ip = snapshot.attr(",
            "        node,",
            "        &format!(\"noderes.{name}\"),",
            "    )?;",
        ];
        assert_eq!(find(&broken).as_deref(), Some("noderes.{name}"));
        let typed =
            ["snapshot.attr(", "    node,", "    col::hosts::IP,", ").map(|ip| format!(\"{node}.{ip}\"))"];
        assert_eq!(find(&typed), None);
        assert_eq!(find(&["snapshot.attr(", "\"mac.mac\""]), None, "a call that never ends");
    }

    #[test]
    fn texts_of_columns_are_found() {
        assert_eq!(found(r#"let ip = snapshot.attr(node, "hosts.ip")?;"#), Some("hosts.ip"));
        assert_eq!(found(r#"let key = Col::known("site.key");"#), Some("site.key"));
        assert_eq!(found(r#"snapshot.attr("cn1", col::hosts::IP)"#), None);
        assert_eq!(found(r#"format!("hosts.ip of {node}")"#), None);
        for (line, name) in [
            (
                r#"let own = snapshot.attr(node, format!("postscripts.{attr}").as_str());"#,
                "postscripts.{attr}",
            ),
            (
                r#"|column: &str| snapshot.attr(node, format!("{table}.{column}").as_str())"#,
                "{table}.{column}",
            ),
            (r#"let col = schema().find_col(&format!("discoverydata.{name}"))?;"#, "discoverydata.{name}"),
            (r#"let directory = image.named("pkgdir")?;"#, "pkgdir"),
        ] {
            assert_eq!(found(line), Some(name));
        }
        let other = r#"snapshot.attr(node, col::hosts::IP).map(|ip| format!("{node}.{ip}"))"#;
        assert_eq!(found(other), None);
        assert_eq!(found("schema().find_col(dotted)"), None);
    }
}
