//! The lease journal on a real file system: restart, torn ends, self-compaction, a full disk, and the size of
//! a large cluster.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may panic")]

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Instant;

use dawn_dhcp::lease::journal::{COMPACT_BYTES_MIN, Journal};
use dawn_dhcp::lease::record::{Format, Record, read_all};
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
    assert!(fs::read(&path).unwrap().starts_with(b"dawnlse2"), "the beginning of a new file stays");
    let (_, leases) = reopen(&path);
    assert!(!path.with_extension("damaged").exists());
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

/// An existing file had a beginning: without it, its leases are lost, which the copy next to it shows.
#[test]
fn a_file_without_its_beginning_is_damaged() {
    for rest in [&b""[..], b"dawn"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("leases.journal");
        drop(reopen(&path));
        assert_eq!(fs::read(&path).unwrap(), b"dawnlse2", "a new file has its beginning");
        assert!(!path.with_extension("damaged").exists());
        fs::write(&path, rest).unwrap();
        let (mut journal, leases) = reopen(&path);
        assert!(leases.is_empty());
        assert_eq!(fs::read(path.with_extension("damaged")).unwrap(), rest);
        journal.commit(&[lease(1, 10)]).unwrap();
        assert_eq!(reopen(&path).1.len(), 1);
    }
}

#[test]
fn another_kind_of_file_is_kept_beside() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("leases.journal");
    let texts = ["lease 10.0.0.1 {\n}\n", "dawnlse9", "\0\0\0\0\0\0\0\0\0"];
    let more: Vec<String> = (0..7).map(|number| format!("other {number}")).collect();
    let names: Vec<String> = (2..=8).map(|number| format!("damaged.{number}")).collect();
    let names = std::iter::once("damaged").chain(names.iter().map(String::as_str)).chain(["damaged.8"; 2]);
    for (text, name) in texts.into_iter().chain(more.iter().map(String::as_str)).zip(names) {
        fs::write(&path, text).unwrap();
        let (mut journal, leases) = reopen(&path);
        assert!(leases.is_empty());
        journal.commit(&[lease(1, 10)]).unwrap();
        assert_eq!(reopen(&path).1.len(), 1);
        assert_eq!(fs::read(path.with_extension(name)).unwrap(), text.as_bytes(), "{name}");
    }
}

/// Records, and where each begins and ends in a file of them.
fn file_of(count: u32) -> (Vec<Record>, Vec<u8>, Vec<std::ops::Range<usize>>) {
    let records: Vec<Record> = (0..count)
        .map(|n| if n % 5 == 4 { Record::Forget(Ipv4Addr::from(0x0b00_0000 + n)) } else { lease(n, 7) })
        .collect();
    let mut bytes = b"dawnlse2".to_vec();
    let mut places = Vec::new();
    for record in &records {
        let start = bytes.len();
        record.write(&mut bytes);
        places.push(start..bytes.len());
    }
    (records, bytes, places)
}

#[test]
fn a_flipped_byte_loses_its_record_alone() {
    let (records, bytes, places) = file_of(20);
    for at in 8..bytes.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut damaged = bytes[8..].to_vec();
            damaged[at - 8] ^= flip;
            let found = read_all(&damaged, Format::Marked);
            let whole = records.iter().zip(&places).filter(|(_, place)| !place.contains(&at));
            assert!(
                found.records.iter().map(|(record, _)| record).eq(whole.map(|(record, _)| record)),
                "{at} ^ {flip}"
            );
            let counted = found.gaps + usize::from(found.tail_bytes > 0);
            assert_eq!(counted, 1, "{at} ^ {flip}");
        }
    }
}

/// What may happen to a file: bytes from one place to another are flipped, become zeros, are cut out, or are
/// doubled.
fn damaged(bytes: &[u8], how: u8, place: std::ops::Range<usize>) -> Vec<u8> {
    let (before, rest) = bytes.split_at(place.start);
    let (hit, after) = rest.split_at(place.len());
    let hit = match how {
        0 => hit.iter().map(|byte| !byte).collect(),
        1 => vec![0; hit.len()],
        2 => Vec::new(),
        _ => [hit, &[0xd7; 3], hit].concat(),
    };
    [before, &hit, after].concat()
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(200))]
    /// Wherever a file is damaged, beginning and end included, every record that is whole is read, the
    /// journal can be written, and the next start finds the same.
    #[test]
    fn damage_loses_what_is_damaged(how in 0u8..4, a in 0usize..2000, b in 0usize..2000, old in proptest::bool::ANY) {
        let (records, marked, places) = file_of(20);
        let (bytes, places) = if old { unmarked(&marked, &places) } else { (marked, places) };
        let (a, b) = (a % bytes.len(), b % bytes.len());
        let hit = a.min(b)..a.max(b);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("leases.journal");
        fs::write(&path, damaged(&bytes, how, hit.clone())).unwrap();
        let (mut journal, leases) = reopen(&path);
        // Inserted bytes leave no record out but the one that they part.
        let is_whole = |place: &std::ops::Range<usize>| place.end <= hit.start || place.start >= hit.end;
        for (record, place) in records.iter().zip(&places) {
            let Record::Lease(lease) = record else { continue };
            let read = leases.iter().any(|read| read.address == lease.address && read.hw == lease.hw);
            assert!(read || !is_whole(place), "{record:?}");
        }
        journal.commit(&[lease(99, 10)]).unwrap();
        drop(journal);
        assert_eq!(reopen(&path).1.len(), leases.len() + 1);
    }
}

/// The same file in the format before: no mark, no mask, a checksum of the body alone.
fn unmarked(marked: &[u8], places: &[std::ops::Range<usize>]) -> (Vec<u8>, Vec<std::ops::Range<usize>>) {
    let mut bytes = b"dawnlse1".to_vec();
    let mut found = Vec::new();
    for place in places {
        let record = &marked[place.clone()];
        let body: Vec<u8> = record[11..].iter().map(|byte| byte ^ record[4]).collect();
        let start = bytes.len();
        bytes.extend(u16::try_from(body.len()).unwrap().to_le_bytes());
        bytes.extend(crc32fast::hash(&body).to_le_bytes());
        bytes.extend(body);
        found.push(start..bytes.len());
    }
    (bytes, found)
}

#[test]
fn a_file_of_the_format_before_is_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("leases.journal");
    let (_, marked, places) = file_of(20);
    let mut old = unmarked(&marked, &places).0;
    old.extend([0; 4096]);
    fs::write(&path, old).unwrap();
    assert_eq!(reopen(&path).1.len(), 16);
    assert!(fs::read(&path).unwrap().starts_with(b"dawnlse2"));
    assert!(!path.with_extension("damaged").exists());
    assert_eq!(reopen(&path).1.len(), 16);
}

/// A folder that cannot be written: the journal is read, commits fail, and work again when the folder is
/// writable.
#[test]
fn a_read_only_file_gives_its_leases() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("leases.journal");
    reopen(&path).0.commit(&[lease(1, 10)]).unwrap();
    let flags = rustix::mount::MountFlags::BIND;
    rustix::mount::mount(folder.path(), folder.path(), "", flags, None).expect("root");
    let remount = |flags| {
        rustix::mount::mount_remount(folder.path(), rustix::mount::MountFlags::BIND | flags, c"").unwrap();
    };
    remount(rustix::mount::MountFlags::RDONLY);
    let outcome = std::panic::catch_unwind(|| {
        let (mut journal, leases) = reopen(&path);
        assert_eq!(leases.len(), 1);
        assert!(journal.commit(&[lease(2, 10)]).is_err());
        assert!(reopen(&path.with_file_name("other")).0.commit(&[lease(2, 10)]).is_err());
        remount(rustix::mount::MountFlags::empty());
        journal.commit(&[lease(2, 10)]).unwrap();
        assert_eq!(reopen(&path).1.len(), 2);
    });
    rustix::mount::unmount(folder.path(), rustix::mount::UnmountFlags::DETACH).unwrap();
    outcome.unwrap();
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
fn a_hundred_thousand_leases_load() {
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
}

/// Needs root for a small separate file system; otherwise prints that and passes.
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
    // There is room again: the journal continues where it was.
    let spare = path.with_file_name("spare");
    assert!(fs::write(&spare, [0; 8192]).is_err() || fs::remove_file(&spare).is_ok());
    let forget: Vec<Record> =
        (0..committed).map(|n| Record::Forget(Ipv4Addr::from(0x0a00_0000 + n))).collect();
    assert!(journal.commit(&forget).is_err());
    assert_eq!(reopen(path).1.len(), committed as usize);
}
