//! Conversations as text: `tests/conversations/*.txt`.
//!
//! | line | meaning |
//! |---|---|
//! | `NAME> RS`, `NAME> RS bare`, `nobody> RS` | a machine solicits, with or without its link address, or without any address |
//! | `NAME> RA SECONDS`, `… prefix`, `… managed` | a router advertises |
//! | `NAME> … hops N` | with another hop limit than 255 |
//! | `+ MS` | time passes, and timers run |
//! | `< RS`, `< RA NAME`, `< RA all` | the engine sends |
//!
//! Everything that is sent must be expected; `#` begins a comment.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may panic")]

use std::collections::VecDeque;
use std::net::Ipv6Addr;
use std::time::Duration;

use dawn_ndp::engine::{Action, Engine};
use dawn_texts::{Text, texts};

/// `cn7` is fe80::7 at 02:00:00:00:00:07; a name without a number is a router, fe80::ff.
fn number(name: &str) -> u8 {
    name.trim_start_matches(|c: char| !c.is_ascii_digit()).parse().unwrap_or(255)
}

fn message(words: &[&str], number: u8) -> (u8, Vec<u8>) {
    let hops = words.iter().position(|word| *word == "hops").map_or(255, |at| words[at + 1].parse().unwrap());
    let mut bytes = match words[0] {
        "RS" => vec![133, 0, 0, 0, 0, 0, 0, 0],
        "RA" => {
            let [high, low] = words[1].parse::<u16>().unwrap().to_be_bytes();
            let flags = if words.contains(&"managed") { 0x80 } else { 0 };
            vec![134, 0, 0, 0, 64, flags, high, low, 0, 0, 0, 0, 0, 0, 0, 0]
        }
        other => panic!("no message {other}"),
    };
    if words[0] == "RS" && !words.contains(&"bare") {
        bytes.extend([1, 1, 2, 0, 0, 0, 0, number]);
    }
    if words.contains(&"prefix") {
        bytes.extend([3, 4]);
        bytes.extend([0; 30]);
    }
    (hops, bytes)
}

fn shown(action: Action) -> String {
    match action {
        Action::Solicit => "RS".to_owned(),
        Action::AnswerAll => "RA all".to_owned(),
        Action::Answer { mac, address } => {
            assert_eq!(mac[5], address.octets()[15]);
            format!("RA cn{}", mac[5])
        }
    }
}

fn play(name: &str, text: &str) {
    let mut now = Duration::ZERO;
    let mut engine = Engine::new(now);
    let mut sent: VecDeque<String> = VecDeque::new();
    for (line_number, line) in (1..).zip(text.lines()) {
        let line = line.split('#').next().unwrap().trim();
        let at = format!("{name}:{line_number}: {line}");
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [] => {}
            ["<", want @ ..] => assert_eq!(sent.pop_front(), Some(want.join(" ")), "{at}"),
            ["+", ms] => {
                assert!(sent.is_empty(), "{at}: unexpected {sent:?}");
                let until = now + Duration::from_millis(ms.parse().unwrap());
                while let Some(due) = engine.deadline().filter(|due| *due <= until) {
                    now = now.max(due);
                    sent.extend(engine.tick(now).into_iter().map(shown));
                }
                now = until;
            }
            [who, words @ ..] if who.ends_with('>') => {
                assert!(sent.is_empty(), "{at}: unexpected {sent:?}");
                let who = who.trim_end_matches('>');
                let from = match who {
                    "nobody" => Ipv6Addr::UNSPECIFIED,
                    name => Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, number(name).into()),
                };
                let words = if who == "nobody" { vec![words[0], "bare"] } else { words.to_vec() };
                let (hops, bytes) = message(&words, number(who));
                engine.handle(now, from, hops, &bytes);
            }
            _ => panic!("{at}: no such line"),
        }
    }
    assert!(sent.is_empty(), "{name}: at the end: {sent:?}");
}

#[test]
fn conversations() {
    for Text { name, text, .. } in texts(env!("CARGO_MANIFEST_DIR"), "tests/conversations") {
        play(&name, &text);
    }
}

/// A rack that is switched on at once costs one packet every three seconds, not one a machine.
#[test]
fn a_storm_is_answered_together() {
    let mut engine = Engine::new(Duration::ZERO);
    engine.tick(Duration::ZERO);
    let mut now = Duration::from_secs(5);
    engine.tick(now);
    let mut answers = Vec::new();
    for n in 0..10_000_u16 {
        let mut bytes = vec![133, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 0, 0, 0];
        bytes.extend(n.to_be_bytes());
        engine.handle(now, Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, n), 255, &bytes);
        now += Duration::from_micros(10);
    }
    now += Duration::from_secs(1);
    answers.extend(engine.tick(now));
    assert!(answers.contains(&Action::AnswerAll));
    assert!(answers.len() <= dawn_ndp::engine::WAITING_MAX + 1, "{}", answers.len());
    assert_eq!(engine.deadline(), None);
}

#[test]
fn any_bytes() {
    let mut state = 1_u64;
    let mut bytes = Vec::new();
    for _ in 0..200_000 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let byte = state.to_be_bytes()[0];
        // Likely enough to be a message.
        bytes.push(if byte < 64 {
            [255, 133, 134, 8, 16, 1, 0, 3][usize::from(byte % 8)]
        } else {
            byte % 40
        });
    }
    dawn_ndp::fuzz::fuzz_messages(&bytes);
    for start in 0..2000 {
        dawn_ndp::fuzz::fuzz_messages(&bytes[start * 90..(start + 1) * 90]);
    }
}
