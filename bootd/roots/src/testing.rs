//! Tables for tests.

use dawn_cluster::{Change, Edit, Model};

/// Table, key columns and other columns of one row.
pub(crate) type Row<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a [(&'a str, &'a str)]);

/// A model in memory with these rows.
pub(crate) fn model(rows: &[Row<'_>]) -> Model {
    let model = Model::in_memory().unwrap();
    let edits = rows.iter().map(|(table, keys, values)| Edit::set(table, keys, values).unwrap());
    model.apply(Change::new("root", "test", edits.collect())).unwrap();
    model
}
