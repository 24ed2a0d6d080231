//! Databases as earlier versions left them: each is opened, read, written, taken back and opened again.
//!
//! `states/VERSION.sql` is the text of a database (`.dump` of sqlite3), `states/VERSION.txt` what its tables
//! hold. Files of released versions are never changed; a version that changes the form of the database adds
//! one. Databases of later versions are made from them.

#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

use dawn_cluster::{Advised, Change, Edit, Model, ModelError, Snapshot, StoreError, csv, schema};
use std::path::{Path, PathBuf};

fn unchecked(_: &Snapshot, _: &[Edit]) -> Result<(), ModelError> {
    Ok(())
}

fn states() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/states");
    let mut files: Vec<PathBuf> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "sql"))
        .collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

/// A data directory with that database.
fn directory_of(state: &Path) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    run(directory.path(), &std::fs::read_to_string(state).unwrap());
    directory
}

fn run(directory: &Path, sql: &str) {
    rusqlite::Connection::open(directory.join("dawn.sqlite")).unwrap().execute_batch(sql).unwrap();
}

/// The form that the database says it has, and the oldest one whose programs may read it.
fn form(directory: &Path) -> (u64, u64) {
    let database = rusqlite::Connection::open(directory.join("dawn.sqlite")).unwrap();
    let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
    database.query_row("SELECT form, oldest_reader FROM dawn_meta", [], read).unwrap()
}

/// All rows of all tables, as `tabdump` writes them.
fn dump(snapshot: &Snapshot) -> String {
    let mut text = String::new();
    for table in schema().tables_by_name().filter(|table| snapshot.row_count(table.id) > 0) {
        let rows: String = snapshot.rows(table.id).map(|row| format!("{}\n", csv::row_line(row))).collect();
        text.push_str(&format!("{} {}\n{rows}", table.name, csv::header_line(table)));
    }
    text
}

#[test]
fn databases_of_earlier_versions_are_opened() {
    for file in states() {
        let directory = directory_of(&file);
        let model = Model::open(directory.path()).unwrap();
        let before = dump(&model.snapshot());
        expect_test::expect_file![file.with_extension("txt")].assert_eq(&before);
        let last = model.snapshot().seq();
        assert_eq!(model.log(100, None, |_| true).unwrap().len() as u64, last);
        let edits = vec![Edit::set("nodelist", &[("node", "cn2")], &[("groups", "all")]).unwrap()];
        model.apply(Change::new("root", "mkdef cn2", edits)).unwrap();
        let newest = model.newest_undoable().unwrap();
        assert_eq!(newest.seq, last + 1);
        model.undo(&newest, "root", unchecked).unwrap();
        // And a change that the earlier version made.
        let earlier = model.change(last).unwrap();
        model.undo(&earlier, "root", unchecked).unwrap();
        assert_ne!(dump(&model.snapshot()), before);
        drop(model);
        assert_eq!(Model::open(directory.path()).unwrap().snapshot().seq(), last + 3);
    }
}

/// A later version may leave data that this one understands, and data that it would misread.
#[test]
fn databases_of_later_versions_are_opened_only_if_they_say_so() {
    for state in states() {
        let directory = directory_of(&state);
        let directory = directory.path();
        drop(Model::open(directory).unwrap());
        let (own, _) = form(directory);
        let later = own + 1;
        run(
            directory,
            &format!("UPDATE dawn_meta SET form={later}; ALTER TABLE site ADD COLUMN newer TEXT;"),
        );
        let model = Model::open(directory).unwrap();
        let edits = vec![Edit::set_site("domain", "changed").unwrap()];
        model.apply(Change::new("root", "chdef", edits)).unwrap();
        drop(model);
        assert_eq!(form(directory).0, later, "an earlier version takes nothing back");

        run(directory, &format!("UPDATE dawn_meta SET oldest_reader={later}; DROP TABLE zone;"));
        let refused = Model::open(directory).err().unwrap();
        assert!(matches!(refused, ModelError::Store(StoreError::Later { form, .. }) if form == later));
        let (text, hint) = (refused.to_string(), refused.hint().unwrap_or_default());
        assert!(text.contains("was written by a later version of Dawn"), "{text}");
        assert!(hint.starts_with("install that version again"), "{hint}");
        let database = rusqlite::Connection::open(directory.join("dawn.sqlite")).unwrap();
        assert!(database.prepare("SELECT * FROM zone").is_err(), "a refused database is left as it is");
    }
}
