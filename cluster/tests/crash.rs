//! What a SQLite model survives: being killed at any moment, a full disk, two hundred writers at once.

#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

use dawn_cluster::{Change, Edit, Model, ModelError, Snapshot, StoreError};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Says to this test program, started by itself, where to write until it is killed.
const DIRECTORY: &str = "DAWN_CRASH_DIRECTORY";
const WRITERS: usize = 4;
const ROUNDS: u64 = 10;

fn head() -> Change {
    Change::new("root", "count", vec![])
}

fn number(snapshot: &Snapshot, key: &str) -> u64 {
    snapshot.site(key).map_or(0, |text| text.parse().unwrap())
}

/// Counts up in two tables at once; a half change would show as a difference.
fn count_up(model: &Model, key: &str) -> u64 {
    let compute = |now: &Snapshot| {
        let next = number(now, key) + 1;
        let text = next.to_string();
        let twin = Edit::set("nodegroup", &[("groupname", key)], &[("comments", &text)])?;
        Ok::<_, ModelError>((vec![Edit::set_site(key, &text)?, twin], next))
    };
    model.transact(head(), compute).unwrap().1
}

#[test]
#[ignore = "the part of the killed program; started by the test below"]
#[allow(clippy::disallowed_methods, reason = "the way this program is told that it is the child")]
fn writer() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    let model = Model::open(Path::new(&directory)).unwrap();
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let model = &model;
            scope.spawn(move || {
                let key = format!("w{writer}");
                loop {
                    let n = count_up(model, &key);
                    // Only acknowledged changes are reported.
                    writeln!(std::io::stdout(), "\nACK {key} {n}").unwrap();
                }
            });
        }
    });
}

/// Lets the child write for a while and kills it; what it said was acknowledged.
fn killed_after(directory: &Path, time: Duration) -> BTreeMap<String, u64> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "writer", "--nocapture"])
        .env(DIRECTORY, directory)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let reader = std::thread::spawn(move || {
        let mut last = BTreeMap::new();
        for line in lines.map_while(Result::ok) {
            let words: Vec<&str> = line.split(' ').collect();
            if let ["ACK", key, n] = words[..] {
                let n: u64 = n.parse().unwrap();
                let seen = last.entry(key.to_owned()).or_insert(0);
                *seen = n.max(*seen);
            }
        }
        last
    });
    std::thread::park_timeout(time);
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap()
}

#[test]
fn killed_at_any_moment() {
    let directory = tempfile::tempdir().unwrap();
    let mut acknowledged_in_all = 0;
    for round in 0..ROUNDS {
        let acknowledged = killed_after(directory.path(), Duration::from_millis(150 + 83 * round));
        let snapshot = Model::open(directory.path()).unwrap().snapshot();
        for (key, n) in &acknowledged {
            assert!(number(&snapshot, key) >= *n, "round {round}: {key} lost what was acknowledged");
        }
        let comment = dawn_cluster::Col::known("nodegroup.comments");
        let group = dawn_cluster::Col::known("nodegroup.groupname");
        for writer in 0..WRITERS {
            let key = format!("w{writer}");
            let twin = snapshot.find_row(&[(group, &key)]).and_then(|row| row.get(comment).cloned());
            assert_eq!(twin, snapshot.site(&key), "round {round}: half a change");
        }
        let counted: u64 = (0..WRITERS).map(|w| number(&snapshot, &format!("w{w}"))).sum();
        assert_eq!(counted, snapshot.seq(), "round {round}: every change is in the log, once");
        acknowledged_in_all = counted;
    }
    assert!(acknowledged_in_all > ROUNDS, "the writers wrote");
}

/// A small file system in memory, gone with the value. Needs root.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn new(directory: &Path, size: &str) -> Self {
        let options = format!("size={size}");
        let status =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "dawn-test"]).arg(directory).status();
        assert!(status.is_ok_and(|s| s.success()), "mount needs root");
        Self(directory.to_owned())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_keeps_the_old_state() {
    let directory = tempfile::tempdir().unwrap();
    let disk = SmallDisk::new(directory.path(), "4m");
    let model = Model::open(&disk.0).unwrap();
    let big = "x".repeat(200_000);
    let fill = |n: usize| {
        model.apply(Change::new("root", "fill", vec![Edit::set_site(&format!("k{n}"), &big).unwrap()]))
    };
    let stored = (0..100).find(|n| fill(*n).is_err()).unwrap();
    let error = fill(stored).unwrap_err();
    assert!(matches!(error, ModelError::Store(StoreError::Full)), "{error}");
    let before = model.snapshot();
    assert_eq!(before.row_count("site"), stored);
    drop(model);
    let again = Model::open(&disk.0).unwrap();
    assert_eq!(again.snapshot().row_count("site"), stored);
    assert_eq!(again.snapshot().seq(), before.seq());
}

#[test]
fn two_hundred_writers() {
    let directory = tempfile::tempdir().unwrap();
    let model = Model::open(directory.path()).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..200 {
            scope.spawn(|| (0..3).map(|_| count_up(&model, "all")).max());
        }
    });
    assert_eq!(number(&model.snapshot(), "all"), 600);
    drop(model);
    assert_eq!(number(&Model::open(directory.path()).unwrap().snapshot(), "all"), 600);
}
