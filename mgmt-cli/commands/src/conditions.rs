//! Conditions on the values of nodes: `item==v`, `!=`, `=~`, `!~`, as `nodels` and `nodech` take them.

use dawn_bootd::caller::View;
use dawn_bootd::items::{column, split_operator};
use dawn_bootd::output::Stop;
use dawn_cluster::{Col, Snapshot};
use regex::{Regex, RegexBuilder};

/// Bytes a compiled expression may take; a larger one is refused.
const REGEX_BYTES_MAX: usize = 1 << 20;

/// One condition.
#[derive(Debug)]
pub struct Condition {
    /// What it looks at.
    pub col: Col,
    /// As typed, without operator and value.
    pub name: String,
    test: Test,
}

#[derive(Debug)]
enum Test {
    Equal(String),
    Differs(String),
    Matches(Regex),
    MatchesNot(Regex),
}

impl Condition {
    /// Reads a word of a caller; `None` if it has no operator of a condition.
    pub fn parse(word: &str, view: &View) -> Result<Option<Condition>, Stop> {
        let Some((name, operator, value)) = split_operator(word, &["==", "!=", "=~", "!~"]) else {
            return Ok(None);
        };
        // In `a.b=x==y` the first operator is an assignment.
        if name.contains('=') {
            return Ok(None);
        }
        let col = column(name).map_err(Stop::usage)?;
        view.may_compare(col)?;
        let test = match operator {
            "==" => Test::Equal(value.to_owned()),
            "!=" => Test::Differs(value.to_owned()),
            "=~" => Test::Matches(expression(value)?),
            _ => Test::MatchesNot(expression(value)?),
        };
        Ok(Some(Condition { col, name: name.to_owned(), test }))
    }

    /// Every row of the node satisfies it; a missing value is an empty text.
    pub fn holds(&self, snapshot: &Snapshot, node: &str) -> bool {
        let rows = snapshot.attr_rows(node, self.col.table, &[self.col]);
        if rows.is_empty() {
            return self.accepts("");
        }
        rows.iter().all(|row| {
            let value = row.first().and_then(Option::as_ref).map(|found| found.value.as_ref());
            self.accepts(value.unwrap_or_default())
        })
    }

    fn accepts(&self, value: &str) -> bool {
        match &self.test {
            Test::Equal(text) => value == text,
            Test::Differs(text) => value != text,
            Test::Matches(regex) => regex.is_match(value),
            Test::MatchesNot(regex) => !regex.is_match(value),
        }
    }
}

/// An unanchored expression, one pair of slashes around it taken off.
pub fn expression(text: &str) -> Result<Regex, Stop> {
    let text = text.strip_prefix('/').unwrap_or(text);
    let text = text.strip_suffix('/').unwrap_or(text);
    RegexBuilder::new(text)
        .size_limit(REGEX_BYTES_MAX)
        .build()
        .map_err(|_| Stop::usage(format!("{text} is not a valid regular expression")))
}
