//! Selection by attribute: `nodehm.mgt==ipmi`, `groups=~/rack1/`.

use super::NoderangeError;
use crate::condition::{Condition, ConditionError, OF_ATTRIBUTES};
use crate::row::Text;
use crate::schema::{Col, schema};
use crate::secrets::is_secret;
use crate::snapshot::Snapshot;

/// Short names of columns.
const SHORT: &[(&str, &str)] =
    &[("groups", "nodelist.groups"), ("tags", "nodelist.groups"), ("mgt", "nodehm.mgt")];

/// The column that an item of a node command means: `table.column` or a short name.
pub fn node_item_col(item: &str) -> Option<Col> {
    let dotted = SHORT.iter().find(|(short, _)| *short == item).map_or(item, |(_, dotted)| dotted);
    schema().find_col(dotted)
}

/// A node's values of the column, one a row; an unset value is empty text, and there is at least one.
fn values(snapshot: &Snapshot, node: &str, col: Col) -> Vec<Text> {
    let table = col.table.info();
    if table.keys.len() == 1 {
        return vec![snapshot.attr(node, col).unwrap_or_default()];
    }
    let rows = snapshot.attr_rows(node, col.table, &[col]);
    let value =
        |row: crate::ResolvedRow| row.into_iter().next().flatten().map(|v| v.value).unwrap_or_default();
    let values: Vec<Text> = rows.into_iter().map(value).collect();
    if values.is_empty() { vec![Text::default()] } else { values }
}

/// The nodes among `nodes` of which any row meets the condition.
pub(super) fn select<'a>(
    snapshot: &Snapshot,
    nodes: impl Iterator<Item = &'a Text>,
    secrets: bool,
    text: &str,
) -> Result<Vec<Text>, NoderangeError> {
    let condition = Condition::parse(text, OF_ATTRIBUTES).map_err(|e| match e {
        ConditionError::Malformed => NoderangeError::Syntax(text.to_owned()),
        ConditionError::Regex { pattern, reason } => NoderangeError::Regex { pattern, reason },
    })?;
    let col = node_item_col(&condition.subject)
        .filter(|col| col.table.info().node_column.is_some())
        .ok_or_else(|| NoderangeError::NoSuchColumn(condition.subject.clone()))?;
    if !secrets && is_secret(col) {
        return Err(NoderangeError::SecretColumn(condition.subject));
    }
    let meets = |node: &&Text| values(snapshot, node, col).iter().any(|value| condition.holds(value));
    Ok(nodes.filter(meets).cloned().collect())
}
