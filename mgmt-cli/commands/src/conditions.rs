//! Conditions on the values of nodes: `item==v`, `!=`, `=~`, `!~`, as `nodels` and `nodech` take them.

use dawn_bootd::caller::View;
use dawn_bootd::items::column;
use dawn_bootd::output::Stop;
use dawn_cluster::condition::{self, OF_ITEMS, split_operator};
use dawn_cluster::{Col, ConditionError, Snapshot};

/// One condition.
#[derive(Debug)]
pub struct Condition {
    /// What it looks at.
    pub col: Col,
    /// As typed, without operator and value.
    pub name: String,
    test: condition::Condition,
}

impl Condition {
    /// Reads a word of a caller; `None` if it has no operator of a condition.
    pub fn parse(word: &str, view: &View) -> Result<Option<Condition>, Stop> {
        let Some((name, ..)) = split_operator(word, OF_ITEMS) else { return Ok(None) };
        // In `a.b=x==y` the first operator is an assignment.
        if name.contains('=') {
            return Ok(None);
        }
        let col = column(name)?;
        view.may_compare(col)?;
        let test = condition::Condition::parse(word, OF_ITEMS).map_err(|error| match error {
            ConditionError::Regex { pattern, .. } => {
                Stop::usage(format!("{pattern} is not a valid regular expression"))
            }
            other => Stop::usage(other.to_string()),
        })?;
        Ok(Some(Condition { col, name: name.to_owned(), test }))
    }

    /// How many of the words may be conditions.
    pub fn count(words: &[String]) -> usize {
        words.iter().filter(|word| split_operator(word, OF_ITEMS).is_some()).count()
    }

    /// Every row of the node satisfies it; a missing value is an empty text.
    pub fn holds(&self, snapshot: &Snapshot, node: &str) -> bool {
        let rows = snapshot.attr_rows(node, self.col.table, &[self.col]);
        if rows.is_empty() {
            return self.test.holds("");
        }
        rows.iter().all(|row| {
            let value = row.first().and_then(Option::as_ref).map(|found| found.value.as_ref());
            self.test.holds(value.unwrap_or_default())
        })
    }
}
