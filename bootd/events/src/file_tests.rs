#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::*;
use crate::{Amount, Bus, Step, Subject};

const DAY_MS: u64 = 24 * 3600 * 1000;
const NOW: u64 = 100 * DAY_MS;
/// How often, and how long each time, a test waits for a writer that ends by itself: a minute in all.
const WAITS_MAX: u32 = 3000;
const WAIT: std::time::Duration = std::time::Duration::from_millis(20);

fn event(node: &str, time_ms: u64) -> Event {
    Event { time_ms, node: node.into(), step: Step::Booted, bytes: 1, duration_ms: 2, detail: "ü\n".into() }
}

#[test]
fn damage_costs_what_is_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.journal");
    assert_eq!(read(&path, NOW).unwrap(), Found::default());
    let all: Vec<Event> = (0..4).map(|n| event("cn1", NOW + n)).collect();
    let good: Vec<u8> = all.iter().filter_map(render).collect::<String>().into_bytes();
    let line = good.len() / 4;
    for place in 0..good.len() {
        let mut bytes = good.clone();
        bytes[place] ^= 0x15;
        fs::write(&path, &bytes).unwrap();
        let found = read(&path, NOW).unwrap();
        assert_eq!((found.events.len(), found.damaged > 0), (3, true), "{place}");
        fs::write(&path, &good[..place]).unwrap();
        assert_eq!(read(&path, NOW).unwrap().events, all[..place / line], "{place}");
    }
    fs::write(&path, [&vec![b'x'; 3 * LINE_BYTES_MAX as usize][..], b"\n", &good].concat()).unwrap();
    assert_eq!(read(&path, NOW).unwrap().events, all);
    fs::write(&path, &good).unwrap();
    assert_eq!(read(&path, NOW + (KEPT_DAYS + 1) * DAY_MS).unwrap(), Found::default(), "too old");
}

/// Waits until the writer has written everything: it ends when nothing can come any more.
fn write_all(path: &Path, events: impl Iterator<Item = Event>) {
    let (sender, receiver) = sync_channel(QUEUE_MAX);
    events.for_each(|event| sender.try_send(event).unwrap());
    drop(sender);
    let latest: Box<Latest> = Box::new(|share| vec![event("kept", NOW); share]);
    let (path, nodes) = (path.to_owned(), Box::new(|| 2));
    Writer { path, latest, nodes, file: None, failed: false, bytes_max: 8192 }.run(&receiver);
}

#[test]
fn the_file_is_bounded_and_an_unfinished_line_is_ended() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.journal");
    fs::write(&path, "12345678 {\"time").unwrap();
    write_all(&path, [event("cn1", NOW)].into_iter());
    assert_eq!(read(&path, NOW).unwrap(), Found { events: vec![event("cn1", NOW)], damaged: 1 });
    write_all(&path, (0..500).map(|n| event("cn1", NOW + n)));
    assert!(fs::metadata(&path).unwrap().len() <= 8192 + LINE_BYTES_MAX);
    let found = read(&path, NOW).unwrap();
    assert_eq!(found.damaged, 0);
    assert_eq!(found.events.last(), Some(&event("cn1", NOW + 499)));
    assert_eq!(found.events.iter().filter(|event| event.node == "kept").count(), 8);
}

#[test]
fn a_place_that_cannot_be_written_stops_nobody() {
    let dir = tempfile::tempdir().unwrap();
    write_all(&dir.path().join("nowhere/events.journal"), (0..3).map(|n| event("cn1", NOW + n)));
    let bus = Bus::open(dir.path(), NOW);
    bus.publish(Subject::Node("cn1"), Step::Booted, NOW, Amount::default(), "");
    assert_eq!(bus.of("cn1").len(), 1);
}

#[test]
#[allow(clippy::disallowed_methods, reason = "another thread ends by itself; the wait is bounded")]
fn the_history_of_nodes_outlives_the_bus() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.journal");
    let bus = Bus::open(&path, NOW);
    for time in 0..EVENTS_PER_SUBJECT_MAX as u64 + 5 {
        bus.publish(Subject::Node("cn1"), Step::File, NOW + time, Amount::default(), "x");
    }
    bus.publish(Subject::Stranger("10.0.0.9"), Step::Unknown, NOW, Amount::default(), "");
    let before = bus.of("cn1");
    // As after a kill: the old writer ends by itself, and what it wrote twice counts once.
    drop(bus);
    let mut bus = Bus::open(&path, NOW);
    for _ in 0..WAITS_MAX {
        if bus.of("cn1") == before {
            break;
        }
        std::thread::sleep(WAIT);
        bus = Bus::open(&path, NOW);
    }
    assert_eq!(bus.of("cn1"), before, "the writer of the first bus has not ended");
    assert!(bus.of("10.0.0.9").is_empty());
    let twice = fs::read(&path).unwrap();
    fs::write(&path, [&twice[..], &twice[..]].concat()).unwrap();
    assert_eq!(Bus::open(&path, NOW).of("cn1"), before);
}
