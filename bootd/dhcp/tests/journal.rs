//! The lease journal on a real file system: restart, torn ends, self-compaction, a full disk, and the size of a
//! large cluster.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may panic")]

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant};

use dawn_dhcp::lease::journal::{COMPACT_BYTES_MIN, Journal, JournalError};
use dawn_dhcp::lease::record::Record;
use dawn_dhcp::lease::{Lease, State};
use dawn_dhcp::{HwAddr, Time};

fn lease(n: u32, expires: u64) -> Record {
    let [a, b, c, d] = n.to_be_bytes();
    Record::Lease(Lease {
        address: Ipv4Addr::from(0x0a00_0000 + n),
        hw: HwAddr::ethernet([2, 0, a, b, c, d]),
        state: State::Bound,
        since: Time::from_millis(1),
        expires: Time::from_millis(expires),
        promised: Time::from_millis(expires),
        node: None,
        hostname: Some(format!("node{n}").into()),
    })
}

fn reopen(path: &Path) -> (Journal, Vec<Lease>) {
    Journal::open(path).unwrap()
}

#[test]
fn what_was_committed_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("leases");
    let (mut journal, leases) = reopen(&path);
    assert!(leases.is_empty());
    journal.commit(&[lease(1, 10), lease(2, 10)]).unwrap();
    journal.commit(&[lease(1, 20), Record::Forget(Ipv4Addr::from(0x0a00_0002)), lease(3, 30)]).unwrap();
    drop(journal);
    let (_, leases) = reopen(&path);
    let ends: Vec<_> = leases.iter().map(|l| (u32::from(l.address) & 0xff, l.expires.millis())).collect();
    assert_eq!(ends, [(1, 20), (3, 30)]);
}

#[test]
fn a_torn_end_is_cut_off_and_writing_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("leases");
    let (mut journal, _) = reopen(&path);
    journal.commit(&[lease(1, 10), lease(2, 10)]).unwrap();
    let end = journal.bytes() as usize;
    drop(journal);
    let whole = fs::read(&path).unwrap();
    for cut in 0..end {
        fs::write(&path, &whole[..cut]).unwrap();
        let (mut journal, leases) = reopen(&path);
        assert!(leases.len() < 2, "cut at {cut}");
        journal.commit(&[lease(9, 10)]).unwrap();
        drop(journal);
        assert_eq!(reopen(&path).1.len(), leases.len() + 1, "cut at {cut}");
    }
}

#[test]
fn another_kind_of_file_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("leases");
    fs::write(&path, "lease 10.0.0.1 {\n}\n").unwrap();
    assert!(matches!(Journal::open(&path), Err(JournalError::Foreign { .. })));
    assert_eq!(fs::read(&path).unwrap(), b"lease 10.0.0.1 {\n}\n");
}

#[test]
fn the_file_stays_in_proportion_to_what_lives() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("leases");
    let (mut journal, _) = reopen(&path);
    for round in 0..200 {
        let batch: Vec<Record> = (0..500).map(|n| lease(n, round)).collect();
        journal.commit(&batch).unwrap();
        assert!(fs::metadata(&path).unwrap().len() <= COMPACT_BYTES_MIN + 64_000);
    }
    drop(journal);
    let (_, leases) = reopen(&path);
    assert_eq!(leases.len(), 500);
    assert!(leases.iter().all(|lease| lease.expires.millis() == 199));
}

#[test]
fn a_hundred_thousand_leases_load_well_under_a_second() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("leases");
    let (mut journal, _) = reopen(&path);
    let batch: Vec<Record> = (0..100_000).map(|n| lease(n, 1 << 42)).collect();
    journal.commit(&batch).unwrap();
    drop(journal);
    let start = Instant::now();
    let (_, leases) = reopen(&path);
    let mut table = dawn_dhcp::lease::Table::default();
    leases.into_iter().for_each(|lease| table.put(lease));
    println!("100,000 leases in {:?}", start.elapsed());
    assert_eq!(table.len(), 100_000);
    // A debug build on a busy machine; a release build takes a tenth of it.
    assert!(start.elapsed() < Duration::from_secs(5));
}

/// Needs root for a small file system of its own; says so and passes otherwise.
#[test]
fn a_full_disk_is_an_error_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let size = c"size=64k";
    let flags = rustix::mount::MountFlags::empty();
    if rustix::mount::mount("tmpfs", folder.path(), "tmpfs", flags, size).is_err() {
        println!("skipped: cannot mount");
        return;
    }
    let path = folder.path().join("leases");
    let outcome = std::panic::catch_unwind(|| fill(&path));
    rustix::mount::unmount(folder.path(), rustix::mount::UnmountFlags::DETACH).unwrap();
    assert!(outcome.is_ok());
}

fn fill(path: &Path) {
    let (mut journal, _) = reopen(path);
    let mut committed = 0;
    while journal.commit(&[lease(committed, 1)]).is_ok() {
        committed += 1;
        assert!(committed < 10_000, "64 KiB never fill");
    }
    assert_eq!(reopen(path).1.len(), committed as usize);
    // Room appears: the journal goes on where it was.
    let spare = path.with_file_name("spare");
    assert!(fs::write(&spare, [0; 8192]).is_err() || fs::remove_file(&spare).is_ok());
    let forget: Vec<Record> =
        (0..committed).map(|n| Record::Forget(Ipv4Addr::from(0x0a00_0000 + n))).collect();
    assert!(journal.commit(&forget).is_err());
    assert_eq!(reopen(path).1.len(), committed as usize);
}
