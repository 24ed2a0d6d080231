//! Whole conversations as text files: `tests/conversations/*.txt`.
//!
//! | line | meaning |
//! |---|---|
//! | `file NAME BYTES` | the server has such a file, with known content |
//! | `disk NAME BYTES` | the same on a disk, which answers when the script says `found` |
//! | `refuse NAME WHY` | the source refuses it |
//! | `limit NAME N` | `transfers`, `per-address`, `waiting`, `turn` (strangers admitted at one), `blksize`, `window` |
//! | `mtu N` | MTU of the interface |
//! | `stranger NAME`, `node NAME` | who a client is; others are programs of this machine |
//! | `> PACKET`, `cn2> PACKET` | a client sends |
//! | `< PACKET`, `cn2< PACKET` | the server sends; DATA is `DATA block bytes`, its content is checked too |
//! | `at-once` | what clients send from here on arrives in one batch, and `turn` ends it: timers run once |
//! | `found` | the disk answers the oldest request that waits for it |
//! | `+ MS` | time passes, and timers run |
//! | `= TEXT` | an event |
//!
//! Everything that the server sends and every event must be expected; `#` begins a comment.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dawn_serving::shares::Kind;
use dawn_serving::{Answer, Event, EventKind, Rendered, Request, Source};
use dawn_texts::{Text, texts};
use dawn_tftp::limits::Limits;
use dawn_tftp::outbox::{Outbox, PortId, Route};
use dawn_tftp::server::{Ask, Incoming, Server};

const LOCAL: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);

#[derive(Default)]
struct Script {
    files: HashMap<String, usize>,
    on_disk: HashSet<String>,
    refused: HashMap<String, String>,
    hidden: HashMap<String, String>,
    limits: Limits,
    mtu: usize,
    kinds: HashMap<Ipv4Addr, Kind>,
    steps: Vec<(usize, String)>,
}

fn content(size: usize) -> Vec<u8> {
    (0..size).map(|i| (i * 7 + i / 255).to_le_bytes()[0]).collect()
}

fn parse(text: &str) -> Script {
    let mut script = Script { mtu: 1500, ..Script::default() };
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.split(" #").next().unwrap_or_default().trim();
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [] => {}
            [first, ..] if first.starts_with('#') => {}
            ["file", name, size] => drop(script.files.insert((*name).to_owned(), size.parse().unwrap())),
            ["disk", name, size] => {
                script.files.insert((*name).to_owned(), size.parse().unwrap());
                script.on_disk.insert((*name).to_owned());
            }
            ["refuse", name, why @ ..] => drop(script.refused.insert((*name).to_owned(), why.join(" "))),
            ["stranger", client] => drop(script.kinds.insert(*address(client).ip(), Kind::Stranger)),
            ["node", client] => drop(script.kinds.insert(*address(client).ip(), Kind::Node)),
            ["hide", name, why @ ..] => drop(script.hidden.insert((*name).to_owned(), why.join(" "))),
            ["mtu", mtu] => script.mtu = mtu.parse().unwrap(),
            ["limit", name, value] => {
                let value: usize = value.parse().unwrap();
                match *name {
                    "transfers" => script.limits.transfers_max = value,
                    "per-address" => script.limits.transfers_per_address_max = value,
                    "waiting" => script.limits.waiting_max = value,
                    "turn" => script.limits.strangers_per_turn = value,
                    "blksize" => script.limits.blksize_max = value,
                    "window" => script.limits.window_max = u16::try_from(value).unwrap(),
                    other => panic!("line {number}: no limit {other}"),
                }
            }
            _ => script.steps.push((number, line.to_owned())),
        }
    }
    script
}

fn run(name: &str, text: &str) {
    let script = parse(text);
    let events = Arc::new(Mutex::new(VecDeque::new()));
    let events_in = Arc::clone(&events);
    let observer = move |event: &Event<'_>| {
        events_in
            .lock()
            .unwrap()
            .push_back(format!("{} {}", event.path, describe(&event.kind)).trim().to_owned());
    };
    let source = Files {
        sizes: script.files.clone(),
        on_disk: script.on_disk.clone(),
        refused: script.refused.clone(),
        hidden: script.hidden.clone(),
    };
    let kinds = script.kinds.clone();
    let callers = move |ip: IpAddr| match ip {
        IpAddr::V4(ip) => kinds.get(&ip).copied().unwrap_or(Kind::Local),
        IpAddr::V6(_) => Kind::Stranger,
    };
    let mut play = Play {
        name,
        server: Server::new(script.limits, vec![PortId(1), PortId(2)], &source, &observer)
            .with_callers(&callers),
        out: Outbox::default(),
        now: Duration::ZERO,
        mtu: script.mtu,
        ports: HashMap::new(),
        sent: VecDeque::new(),
        asked: HashMap::new(),
        sizes: script.files.clone(),
        gathers: false,
    };
    for (number, line) in &script.steps {
        let at = format!("{name}:{number}: {line}");
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        if let Some(client) = verb.strip_suffix('>') {
            assert!(play.sent.is_empty(), "{at}: unexpected {:?}", play.sent);
            play.client_sends(client, rest, &at);
        } else if let Some(client) = verb.strip_suffix('<') {
            let want = format!("{client}< {rest}");
            assert_eq!(play.sent.pop_front().as_deref(), Some(want.as_str()), "{at}");
        } else if verb == "at-once" {
            play.gathers = true;
        } else if verb == "turn" {
            play.gathers = false;
            play.server.on_timer(play.now, &mut play.out);
            play.collect();
        } else if verb == "found" {
            play.disk_answers(&source, &at);
        } else if verb == "+" {
            assert!(play.sent.is_empty(), "{at}: unexpected {:?}", play.sent);
            play.pass(Duration::from_millis(rest.parse().unwrap()));
        } else if verb == "=" {
            assert_eq!(events.lock().unwrap().pop_front().as_deref(), Some(rest), "{at}");
        } else {
            panic!("{at}: no such line");
        }
    }
    assert!(play.sent.is_empty(), "{}: at the end: {:?}", play.name, play.sent);
    assert!(events.lock().unwrap().is_empty(), "{name}: events at the end: {:?}", events.lock().unwrap());
}

struct Files {
    sizes: HashMap<String, usize>,
    on_disk: HashSet<String>,
    refused: HashMap<String, String>,
    hidden: HashMap<String, String>,
}

impl Source for Files {
    fn at_once(&self, request: &Request<'_>) -> Option<Answer> {
        (!self.on_disk.contains(request.path.as_str())).then(|| self.resolve(request))
    }

    fn place(&self, _: &Request<'_>) -> PathBuf {
        PathBuf::new()
    }

    fn resolve(&self, request: &Request<'_>) -> Answer {
        let path = request.path.as_str();
        match (self.sizes.get(path), self.refused.get(path)) {
            (Some(size), _) => Answer::Bytes(Rendered::new(content(*size), "")),
            (_, Some(why)) => Answer::Refused(why.clone()),
            _ => self.hidden.get(path).map_or(Answer::NotFound, |why| Answer::Hidden(why.clone())),
        }
    }
}

fn describe(kind: &EventKind<'_>) -> String {
    match kind {
        EventKind::Started { size } => format!("started {size}"),
        EventKind::Done { bytes, duration, repeats } => {
            format!("done {bytes} in {duration:?}, {repeats} repeats")
        }
        EventKind::Probed => "probed".to_owned(),
        EventKind::NotFound => "not found".to_owned(),
        EventKind::Refused { reason } => format!("refused: {reason}"),
        EventKind::TimedOut { bytes, duration } => format!("timed out with {bytes} after {duration:?}"),
        EventKind::Aborted { reason, bytes } => format!("aborted with {bytes}: {reason}"),
        EventKind::Failed { reason, bytes } => format!("failed with {bytes}: {reason}"),
        EventKind::Malformed { reason } => format!("malformed: {reason}"),
        EventKind::Limited { reason } => format!("limited: {reason}"),
    }
}

struct Play<'a> {
    name: &'a str,
    server: Server<'a>,
    out: Outbox,
    now: Duration,
    mtu: usize,
    ports: HashMap<SocketAddrV4, PortId>,
    sent: VecDeque<String>,
    asked: HashMap<SocketAddrV4, (usize, usize)>,
    sizes: HashMap<String, usize>,
    gathers: bool,
}

impl Play<'_> {
    fn client_sends(&mut self, client: &str, packet: &str, at: &str) {
        let peer = address(client);
        let words: Vec<&str> = packet.split_whitespace().collect();
        let mut bytes = Vec::new();
        let mut port = self.ports.get(&peer).copied().unwrap_or(PortId::LISTEN);
        match words.as_slice() {
            [kind @ ("RRQ" | "WRQ"), name, mode, options @ ..] => {
                port = PortId::LISTEN;
                bytes.extend_from_slice(&[0, if *kind == "RRQ" { 1 } else { 2 }]);
                let options = options.iter().flat_map(|option| option.split('='));
                for word in [*name, *mode].into_iter().chain(options) {
                    bytes.extend_from_slice(word.as_bytes());
                    bytes.push(0);
                }
                self.asked.insert(peer, (512, self.sizes.get(*name).copied().unwrap_or(0)));
            }
            ["ACK", block] => dawn_tftp::packet::put_ack(&mut bytes, block.parse().unwrap()),
            ["ERROR", code, text @ ..] => {
                bytes.extend_from_slice(&5_u16.to_be_bytes());
                bytes.extend_from_slice(&code.parse::<u16>().unwrap().to_be_bytes());
                bytes.extend_from_slice(text.join(" ").as_bytes());
                bytes.push(0);
            }
            ["RAW", digits @ ..] => {
                bytes.extend(digits.iter().map(|digit| u8::from_str_radix(digit, 16).unwrap()));
            }
            _ => panic!("{at}: no such packet"),
        }
        let route = Route { peer, local: LOCAL, port };
        self.server.on_datagram(self.now, Incoming { route, mtu: self.mtu }, &bytes, &mut self.out);
        self.collect();
        if !self.gathers {
            self.pass(Duration::ZERO);
        }
    }

    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(at) = self.server.deadline().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.server.on_timer(self.now, &mut self.out);
            self.collect();
        }
        self.now = until;
    }

    fn disk_answers(&mut self, source: &Files, at: &str) {
        match self.server.take_ask() {
            Some(Ask::Find { ticket, request, .. }) => {
                let answer = source.resolve(&request.request());
                self.server.on_found(self.now, &ticket, answer, &mut self.out);
            }
            other => panic!("{at}: {other:?}"),
        }
        self.collect();
        self.pass(Duration::ZERO);
    }

    fn collect(&mut self) {
        for packet in self.out.packets() {
            assert_eq!(packet.route.local, LOCAL);
            let peer = packet.route.peer;
            self.ports.insert(peer, packet.route.port);
            for bytes in self.out.split(packet) {
                let asked = self.asked.entry(peer).or_insert((512, 0));
                let text = show(bytes, asked);
                self.sent.push_back(format!("{}< {text}", client_name(peer)));
            }
        }
        self.out.clear();
    }
}

fn show(bytes: &[u8], asked: &mut (usize, usize)) -> String {
    let number = u16::from_be_bytes([bytes[2], bytes[3]]);
    match bytes[1] {
        3 => {
            let (blksize, size) = *asked;
            let from = (usize::from(number) - 1) * blksize;
            let until = (from + blksize).min(size);
            assert_eq!(&bytes[4..], &content(size)[from..until], "content of block {number}");
            format!("DATA {number} {}", bytes.len() - 4)
        }
        5 => format!("ERROR {number} {}", String::from_utf8_lossy(&bytes[4..bytes.len() - 1])),
        6 => {
            let words: Vec<_> = bytes[2..].split(|b| *b == 0).map(String::from_utf8_lossy).collect();
            let mut text = "OACK".to_owned();
            for pair in words.chunks_exact(2) {
                if pair[0] == "blksize" {
                    asked.0 = pair[1].parse().unwrap();
                }
                text.push_str(&format!(" {}={}", pair[0], pair[1]));
            }
            text
        }
        other => panic!("the server never sends operation {other}"),
    }
}

/// `` is 10.1.0.5:2070; `cn2` is 10.1.0.6:2070; `cn1b` is 10.1.0.5:2071.
fn address(client: &str) -> SocketAddrV4 {
    let (host, port) = match client {
        "" => (5, 2070),
        "cn1b" => (5, 2071),
        name => (4 + name.strip_prefix("cn").unwrap().parse::<u8>().unwrap(), 2070),
    };
    SocketAddrV4::new(Ipv4Addr::new(10, 1, 0, host), port)
}

fn client_name(peer: SocketAddrV4) -> String {
    match (peer.ip().octets()[3], peer.port()) {
        (5, 2070) => String::new(),
        (5, _) => "cn1b".to_owned(),
        (host, _) => format!("cn{}", host - 4),
    }
}

#[test]
fn conversations() {
    for Text { name, text, .. } in texts(env!("CARGO_MANIFEST_DIR"), "tests/conversations") {
        run(&name, &text);
    }
}
