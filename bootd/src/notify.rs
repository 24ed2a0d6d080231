//! Programs that are notified of table changes (table `notification`, commands `regnotif` and `unregnotif`).
//!
//! A program gets on its standard input: the kind of change (`a`, `d` or `u`), the table, `[old data]` with
//! a header line and rows (comma joined), `[new data]` with names and values. It is started without a shell
//! and without arguments, one after the other, by one thread that follows the model; a program that is
//! slow delays other programs, never a command. Perl modules of xCAT (`.pm`) are left out.
//!
//! A program is started only if it is a regular file that only its owner can write and the owner is root or
//! this process's user: the table decides who is notified, not who becomes root.

use dawn_cluster::{Col, LogEntry, Model, RowChange, RowChangeKind, Snapshot, TableId, Text, col};
use dawn_serving::bounded_read;
use rustix::fs::MemfdFlags;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Time a program has before it is ended.
const PROGRAM_TIME_MAX: Duration = Duration::from_secs(60);
/// How often a running program is looked at.
const PROGRAM_POLL: Duration = Duration::from_millis(20);
/// Rows reported of one change and table at most.
const ROWS_MAX: usize = 100_000;

/// Starts the thread. It ends when the model does.
pub fn start(model: &Arc<Model>) {
    let events = model.subscribe();
    let started = std::thread::Builder::new().name("notification".into()).spawn(move || {
        while let Some(published) = events.wait() {
            for (program, text) in tellings(&published.snapshot, &published.change) {
                if let Err(error) = tell(&program, &text) {
                    tracing::warn!(program = %program.display(), %error, "a notification failed");
                }
            }
        }
    });
    if let Err(error) = started {
        tracing::error!(%error, "no program is notified of table changes");
    }
}

/// What each program gets of a change.
pub fn tellings(snapshot: &Snapshot, change: &LogEntry) -> Vec<(PathBuf, String)> {
    let mut list = Vec::new();
    for row in snapshot.enabled_rows("notification") {
        let get = |name| row.get(name).map(AsRef::as_ref).unwrap_or_default();
        let file: &str = get(col::notification::FILENAME);
        if !file.starts_with('/') || file.ends_with(".pm") {
            continue;
        }
        let tables: Vec<&str> = get(col::notification::TABLES).split(',').map(str::trim).collect();
        for ((table, word), rows) in by_table(&change.rows) {
            if tables.contains(&table.name()) && get(col::notification::TABLEOPS).contains(word) {
                list.push((PathBuf::from(file), text_of(table, word, &rows)));
            }
        }
    }
    list
}

fn by_table(rows: &[RowChange]) -> BTreeMap<(TableId, char), Vec<&RowChange>> {
    let mut map: BTreeMap<(TableId, char), Vec<&RowChange>> = BTreeMap::new();
    for row in rows {
        let word = match row.kind {
            RowChangeKind::Inserted => 'a',
            RowChangeKind::Updated => 'u',
            RowChangeKind::Deleted => 'd',
        };
        map.entry((row.table, word)).or_default().push(row);
    }
    map
}

fn text_of(table: TableId, word: char, rows: &[&RowChange]) -> String {
    let mut text = format!("{word}\n{}\n[old data]\n", table.name());
    let clean = |value: Option<&Text>| value.map(|v| v.replace('\n', " ")).unwrap_or_default();
    if word != 'a' {
        let names: Vec<&str> = table.info().columns.iter().map(|column| column.name).collect();
        text.push_str(&format!("{}\n", names.join(",")));
        for row in rows.iter().take(ROWS_MAX) {
            let cells: Vec<String> =
                table.info().cols().map(|col| clean(old_cell(row, col).as_ref())).collect();
            text.push_str(&format!("{}\n", cells.join(",")));
        }
    }
    text.push_str("[new data]\n");
    if word != 'd' {
        for row in rows.iter().take(ROWS_MAX) {
            let names: Vec<&str> = row.cells.iter().map(|(col, ..)| col.name()).collect();
            let values: Vec<String> = row.cells.iter().map(|(_, _, new)| clean(new.as_ref())).collect();
            text.push_str(&format!("{}\n{}\n", names.join(","), values.join(",")));
        }
    }
    text
}

/// A cell before the change, as far as the change records it: the key, and the differing cells.
fn old_cell(row: &RowChange, col: Col) -> Option<Text> {
    if let Some((_, old, _)) = row.cells.iter().find(|(changed, ..)| *changed == col) {
        return old.clone();
    }
    let place = row.table.info().keys.iter().position(|key| *key == col.index())?;
    row.key.get(place).cloned()
}

fn tell(program: &Path, text: &str) -> std::io::Result<()> {
    check(program)?;
    let input = in_memory(text)?;
    let mut child = Command::new(program).stdin(input).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let end = Instant::now() + PROGRAM_TIME_MAX;
    while child.try_wait()?.is_none() {
        if Instant::now() > end {
            child.kill()?;
            child.wait()?;
            return Err(std::io::Error::new(std::io::ErrorKind::TimedOut, "the program took too long"));
        }
        pause();
    }
    Ok(())
}

/// The text as a file without a name: unlike a pipe it never waits for a program that does not read.
fn in_memory(text: &str) -> std::io::Result<File> {
    let mut file = File::from(rustix::fs::memfd_create("notification", MemfdFlags::CLOEXEC)?);
    file.write_all(text.as_bytes())?;
    file.rewind()?;
    Ok(file)
}

#[allow(clippy::disallowed_methods, reason = "a separate thread that waits for a child process")]
fn pause() {
    std::thread::sleep(PROGRAM_POLL);
}

/// Whether the daemon starts a program for anyone who changes a table.
///
/// # Errors
/// It is not there, others than root can write it, or it is not executable.
pub fn check(program: &Path) -> std::io::Result<()> {
    let metadata = bounded_read::look(program).map_err(std::io::Error::other)?;
    let own = rustix::process::geteuid().as_raw();
    let trusted =
        metadata.mode() & 0o022 == 0 && metadata.mode() & 0o100 != 0 && [0, own].contains(&metadata.uid());
    if trusted {
        return Ok(());
    }
    Err(std::io::Error::new(
        std::io::ErrorKind::PermissionDenied,
        "it must be an executable file that belongs to root and that no other user can write",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use dawn_cluster::{Change, Edit};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_program_reads_it_all() {
        let dir = tempfile::tempdir().expect("a directory");
        let (program, out) = (dir.path().join("program"), dir.path().join("out"));
        let script = format!("#!/bin/sh\nsleep 5 <&0 &\nwc -c > {}\n", out.display());
        std::fs::write(&program, script).expect("write");
        let mode =
            |bits| std::fs::set_permissions(&program, std::fs::Permissions::from_mode(bits)).expect("chmod");
        mode(0o722);
        let error = tell(&program, "x").expect_err("anybody may write it").to_string();
        assert!(error.contains("no other user can write"), "{error}");
        assert!(tell(dir.path(), "x").expect_err("a directory").to_string().contains("not a regular file"));
        mode(0o700);
        // More than a pipe holds.
        tell(&program, &"x".repeat(1 << 20)).expect("told");
        assert_eq!(std::fs::read_to_string(out).expect("read").trim(), "1048576");
    }

    #[test]
    fn what_is_told() {
        let model = Model::in_memory().expect("a model");
        let set = |table: &str, keys: &[(&str, &str)], values: &[(&str, &str)]| {
            Edit::set(table, keys, values).expect("an edit")
        };
        let program = [("tables", "hosts"), ("tableops", "a,u,d")];
        let apply = |edits| model.apply(Change::new("t", "t", edits)).expect("a change");
        apply(vec![set("notification", &[("filename", "/bin/true")], &program)]);
        let told = |edits: Vec<Edit>| -> String {
            apply(edits);
            let entry = model.log(1, None, |_| true).expect("log").remove(0);
            tellings(&model.snapshot(), &entry).into_iter().map(|(_, text)| text).collect()
        };
        assert_eq!(
            told(vec![set("hosts", &[("node", "n1")], &[("ip", "10.0.0.1")])]),
            "a\nhosts\n[old data]\n[new data]\nnode,ip\nn1,10.0.0.1\n"
        );
        assert_eq!(
            told(vec![set("hosts", &[("node", "n1")], &[("ip", "10.0.0.2")])]),
            "u\nhosts\n[old data]\nnode,ip,hostnames,otherinterfaces,comments,disable\nn1,10.0.0.1,,,,\n\
             [new data]\nip\n10.0.0.2\n"
        );
        assert_eq!(told(vec![set("nodehm", &[("node", "n1")], &[("mgt", "x")])]), "");
    }
}
