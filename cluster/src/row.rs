//! A row: one optional text per column, shared and immutable.
//!
//! All values are text for every consumer. `None` is SQL NULL. Equal texts within one load or one change are
//! shared through an [`Interner`], because in a cluster nearly all cells repeat (`compute`, `x86_64`, node
//! names).

use crate::schema::{Col, TableId};
use std::collections::HashSet;
use std::sync::Arc;

/// A shared, immutable text: what a cell holds.
pub type Text = Arc<str>;

/// A row of a table. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    cells: Arc<[Option<Text>]>,
}

impl Row {
    /// From cells in schema order; short rows are filled with NULL, surplus cells dropped.
    pub fn new(table: TableId, mut cells: Vec<Option<Text>>) -> Self {
        cells.resize(table.info().columns.len(), None);
        Self { cells: cells.into() }
    }

    /// The raw cell; `None` is SQL NULL (and a column of another table).
    pub fn cell(&self, col: Col) -> Option<&Text> {
        self.cells.get(col.index()).and_then(Option::as_ref)
    }

    /// The cell as readers see it: an empty text is the same as NULL, namely not set.
    pub fn get(&self, col: Col) -> Option<&Text> {
        self.cell(col).filter(|t| !t.is_empty())
    }

    /// All cells in schema order.
    pub fn cells(&self) -> &[Option<Text>] {
        &self.cells
    }

    pub(crate) fn at(&self, position: usize) -> Option<&Text> {
        self.cells.get(position).and_then(Option::as_ref)
    }

    /// Takes part in lookups: `disable` is NULL, `0` or `no` in any case. An empty text disables.
    pub fn enabled(&self, table: TableId) -> bool {
        match table.info().disable.and_then(|d| self.at(d)) {
            None => true,
            Some(text) => &**text == "0" || text.eq_ignore_ascii_case("no"),
        }
    }

    pub(crate) fn to_cells(&self) -> Vec<Option<Text>> {
        self.cells.to_vec()
    }
}

/// Makes equal texts share one allocation. Lives for one load or one change.
#[derive(Default, Debug)]
pub(crate) struct Interner {
    known: HashSet<Text>,
}

impl Interner {
    pub(crate) fn text(&mut self, text: &str) -> Text {
        match self.known.get(text) {
            Some(found) => Arc::clone(found),
            None => {
                let new: Text = text.into();
                self.known.insert(Arc::clone(&new));
                new
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::AsTable;

    #[test]
    fn which_rows_are_enabled() {
        let site = "site".as_table().unwrap();
        let disable = site.info().disable.unwrap();
        for (value, enabled) in [
            (None, true),
            (Some("0"), true),
            (Some("no"), true),
            (Some("NO"), true),
            (Some("nO"), true),
            (Some(""), false),
            (Some("1"), false),
            (Some("yes"), false),
            (Some("nope"), false),
        ] {
            let mut cells = vec![None; disable + 1];
            cells[disable] = value.map(Text::from);
            assert_eq!(Row::new(site, cells).enabled(site), enabled, "{value:?}");
        }
    }
}
