//! Whole conversations as text files: `tests/conversations/*.txt`.
//!
//! | line | meaning |
//! |---|---|
//! | `credentials v1 C`, `credentials v2c C` | a community |
//! | `credentials v3 USER [AUTH PASSWORD [PRIVACY PASSWORD]] [context=C]` | a user |
//! | `agent ENGINE [USER AUTH PASSWORD [PRIVACY PASSWORD]]` | the agent's engine in hexadecimal digits; other secrets than the client's |
//! | `limit attempts N`, `limit rows N`, `limit seconds N`, `limit repetitions N` | settings, and bounds of walks |
//! | `ask get OID…`, `ask walk OID` | a question begins |
//! | `> PDU` | the client sends |
//! | `< PDU` | the agent sends |
//! | `+ MS` | time passes, and timers run |
//! | `= done OID=VALUE…`, `= failed TEXT` | the end of the question |
//!
//! A PDU is `get OID…`, `next OID…`, `bulk N OID…`, `response OID=VALUE…`, `error STATUS INDEX`, `report N`
//! (a number of the USM statistics, or an OID), or `raw HEX`. Words in front of it are, of v3, `auth`,
//! `priv`, `boots=N`, `time=N`, `context=C`, and `engine=…` if it is another than the agent's; of answers
//! `id=old` (another request), `msg=old` (another message), `digest=bad`, `user=U`, `version=v1`. `#` begins
//! a comment.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::collections::VecDeque;
use std::time::Duration;

use dawn_snmp::credentials::{Community, User, Version};
use dawn_snmp::limits::Settings;
use dawn_snmp::message::{AUTHENTICATED, ENCRYPTED, Message};
use dawn_snmp::pdu::{Kind, Pdu};
use dawn_snmp::walk::Bounds;
use dawn_snmp::{Credentials, Oid, Session, Step, Task, Value, VarBind};
use dawn_texts::{Text, texts};
use support::{Around, Engine, seal_community};

struct Play {
    credentials: Option<Credentials>,
    version: Option<Version>,
    words: Vec<String>,
    engine: Option<Engine>,
    settings: Settings,
    bounds: Bounds,
    session: Option<Session>,
    now: Duration,
    sent: VecDeque<String>,
    end: Option<String>,
    /// Numbers of the last request.
    last: (i32, i32),
}

fn oid(text: &str) -> Oid {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn hex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn value(text: &str) -> Value {
    match text.split_once(':').unwrap_or((text, "")) {
        ("int", number) => Value::Integer(number.parse().unwrap()),
        ("str", text) => Value::Octets(text.as_bytes().to_vec()),
        ("gauge", number) => Value::Gauge(number.parse().unwrap()),
        ("c64", number) => Value::Counter64(number.parse().unwrap()),
        ("nosuchobject", _) => Value::NoSuchObject,
        ("end", _) => Value::EndOfMibView,
        _ => panic!("no such value: {text}"),
    }
}

fn show_value(value: &Value) -> String {
    match value {
        Value::Integer(number) => format!("int:{number}"),
        Value::Octets(bytes) => format!("str:{}", String::from_utf8_lossy(bytes)),
        Value::Gauge(number) => format!("gauge:{number}"),
        Value::Counter64(number) => format!("c64:{number}"),
        Value::NoSuchObject => "nosuchobject".to_owned(),
        other => format!("{other:?}"),
    }
}

fn bind(text: &str) -> VarBind {
    let (name, text) = text.split_once('=').expect("OID=VALUE");
    VarBind { name: oid(name), value: value(text) }
}

fn show_request(pdu: &Pdu) -> String {
    let names = pdu.bindings.iter().map(|bind| format!(" {}", bind.name)).collect::<String>();
    match pdu.kind {
        Kind::Get => format!("get{names}"),
        Kind::GetNext => format!("next{names}"),
        Kind::GetBulk => format!("bulk {}{names}", pdu.index),
        other => panic!("the client never sends {other:?}"),
    }
}

impl Play {
    fn line(&mut self, line: &str, at: &str) {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let words: Vec<&str> = rest.split_whitespace().collect();
        match verb {
            "credentials" => self.set_credentials(&words),
            "agent" => {
                let ours = self.words.clone();
                let secrets = if words.len() > 1 {
                    words[1..].to_vec()
                } else {
                    ours.iter().map(String::as_str).collect()
                };
                self.engine = Some(engine(&hex(words[0]), &secrets));
            }
            "limit" => self.set_limit(words[0], words[1].parse().unwrap()),
            "ask" => self.ask(&words),
            ">" => assert_eq!(self.sent.pop_front().as_deref(), Some(rest), "{at}"),
            "<" => {
                assert!(self.sent.is_empty(), "{at}: unexpected {:?}", self.sent);
                let bytes = self.datagram(&words);
                let step = self.session.as_mut().unwrap().on_datagram(self.now, &bytes);
                self.take(step);
            }
            "+" => {
                assert!(self.sent.is_empty(), "{at}: unexpected {:?}", self.sent);
                self.pass(Duration::from_millis(rest.parse().unwrap()));
            }
            "=" => assert_eq!(self.end.take().as_deref(), Some(rest), "{at}"),
            _ => panic!("{at}: no such line"),
        }
    }

    fn set_credentials(&mut self, words: &[&str]) {
        let version = match words[0] {
            "v1" => Some(Version::V1),
            "v2c" => Some(Version::V2c),
            _ => None,
        };
        self.version = version;
        self.credentials = Some(match version {
            Some(version) => Credentials::Community(version, Community::new(words[1])),
            None => {
                let vlan = words.last().and_then(|word| word.strip_prefix("context=vlan-"));
                let secrets = if vlan.is_some() { &words[1..words.len() - 1] } else { &words[1..] };
                self.words = secrets.iter().map(|word| (*word).to_owned()).collect();
                let user = User::new(words[1]).unwrap();
                let credentials = Credentials::User(match secrets {
                    [_] => user,
                    [_, auth, word] => user.authenticated(auth.parse().unwrap(), word).unwrap(),
                    [_, auth, word, privacy, other] => user
                        .authenticated(auth.parse().unwrap(), word)
                        .and_then(|user| user.private(privacy.parse().unwrap(), other))
                        .unwrap(),
                    _ => panic!("{words:?}"),
                });
                vlan.map_or(credentials.clone(), |vlan| credentials.for_vlan(vlan.parse().unwrap()))
            }
        });
    }

    fn set_limit(&mut self, name: &str, value: u16) {
        match name {
            "attempts" => self.settings.attempts = u32::from(value),
            "repetitions" => self.settings.repetitions = value,
            "rows" => self.bounds.rows_max = usize::from(value),
            "seconds" => self.bounds.time_max = Duration::from_secs(u64::from(value)),
            _ => panic!("no limit {name}"),
        }
    }

    fn ask(&mut self, words: &[&str]) {
        let task = match words {
            ["walk", root] => Task::Walk(oid(root), self.bounds),
            ["get", names @ ..] => Task::Get(names.iter().map(|name| oid(name)).collect()),
            _ => panic!("{words:?}"),
        };
        let (credentials, settings) = (self.credentials.clone().unwrap(), self.settings);
        let session = self.session.get_or_insert_with(|| Session::new(credentials, settings, 1));
        let step = session.start(self.now, task);
        self.take(step);
    }

    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(at) = self.session.as_ref().and_then(Session::deadline).filter(|at| *at <= until) {
            self.now = self.now.max(at);
            let step = self.session.as_mut().unwrap().on_timer(self.now);
            self.take(step);
        }
        self.now = until;
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Wait => {}
            Step::Send(bytes) => {
                let text = self.show(&bytes);
                self.sent.push_back(text);
            }
            Step::Done(rows) => {
                let rows = rows.iter().map(|row| format!(" {}={}", row.name, show_value(&row.value)));
                self.end = Some(format!("done{}", rows.collect::<String>()));
            }
            Step::Failed(failure) => self.end = Some(format!("failed {failure}")),
        }
    }

    fn show(&mut self, bytes: &[u8]) -> String {
        match Message::read(bytes).expect("what the client sends can be read") {
            Message::Community(version, pdu) => {
                assert_eq!(Some(version), self.version);
                self.last = (pdu.request_id, 0);
                show_request(&pdu)
            }
            Message::V3(message) => {
                let engine = self.engine.as_ref().unwrap();
                let (around, user, scoped) = engine.open(bytes);
                self.last = (scoped.pdu.request_id, around.msg_id);
                let mut text = String::new();
                if message.engine.is_empty() {
                    assert!(user.is_empty());
                    text.push_str("discover ");
                } else if message.engine != engine.id {
                    text.push_str("other-engine ");
                }
                for (flag, name) in [(AUTHENTICATED, "auth "), (ENCRYPTED, "priv ")] {
                    if around.flags & flag != 0 {
                        text.push_str(name);
                    }
                }
                if around.flags & AUTHENTICATED != 0 {
                    text.push_str(&format!("boots={} time={} ", around.boots, around.time_s));
                }
                if !around.context.is_empty() {
                    text.push_str(&format!("context={} ", String::from_utf8_lossy(&around.context)));
                }
                text + &show_request(&scoped.pdu)
            }
        }
    }

    fn datagram(&mut self, words: &[&str]) -> Vec<u8> {
        let (mut request_id, mut msg_id) = self.last;
        let mut around = Around { msg_id, flags: 0, boots: 0, time_s: 0, context: Vec::new() };
        let (mut engine, mut version, mut is_broken) = (self.engine.clone(), self.version, false);
        let mut words = words.iter();
        let mut bindings = Vec::new();
        let (mut kind, mut status, mut index) = (Kind::Response, 0, 0);
        while let Some(word) = words.next() {
            match word.split_once('=').unwrap_or((word, "")) {
                ("raw", _) => return hex(words.next().unwrap()),
                ("auth", _) => around.flags |= AUTHENTICATED,
                ("priv", _) => around.flags |= ENCRYPTED,
                ("boots", number) => around.boots = number.parse().unwrap(),
                ("time", number) => around.time_s = number.parse().unwrap(),
                ("id", _) => request_id ^= 1,
                ("msg", _) => msg_id ^= 1,
                ("digest", _) => is_broken = true,
                ("user", name) => engine.as_mut().unwrap().user = name.to_owned(),
                ("engine", id) => engine.as_mut().unwrap().id = hex(id),
                ("version", "v1") => version = Some(Version::V1),
                ("response", _) => bindings = words.by_ref().map(|word| bind(word)).collect(),
                ("error", _) => {
                    status = words.next().unwrap().parse().unwrap();
                    index = words.next().unwrap().parse().unwrap();
                }
                ("report", _) => {
                    kind = Kind::Report;
                    let which = words.next().unwrap();
                    let name = if which.contains('.') {
                        oid(which)
                    } else {
                        oid(&format!("1.3.6.1.6.3.15.1.1.{which}.0"))
                    };
                    bindings = vec![VarBind { name, value: Value::Counter(1) }];
                }
                _ => panic!("no such word: {word}"),
            }
        }
        around.msg_id = msg_id;
        let pdu = Pdu { kind, request_id, status, index, bindings };
        let mut bytes = match version {
            Some(version) => seal_community(version, &pdu),
            None => engine.as_mut().unwrap().seal(&around, pdu),
        };
        if is_broken {
            // Somewhere in the content, after the digest.
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
        }
        bytes
    }
}

fn engine(id: &[u8], words: &[&str]) -> Engine {
    match words {
        [user] => Engine::new(id, user, None, None),
        [user, auth, word] => Engine::new(id, user, Some((auth.parse().unwrap(), word)), None),
        [user, auth, word, privacy, other] => {
            let privacy = Some((privacy.parse().unwrap(), *other));
            Engine::new(id, user, Some((auth.parse().unwrap(), word)), privacy)
        }
        _ => panic!("{words:?}"),
    }
}

fn run(name: &str, text: &str) {
    let mut play = Play {
        credentials: None,
        version: None,
        words: Vec::new(),
        engine: None,
        settings: Settings::default(),
        bounds: Bounds::default(),
        session: None,
        now: Duration::ZERO,
        sent: VecDeque::new(),
        end: None,
        last: (0, 0),
    };
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.split(" #").next().unwrap_or_default().trim();
        if !line.is_empty() && !line.starts_with('#') {
            play.line(line, &format!("{name}:{number}: {line}"));
        }
    }
    assert!(play.sent.is_empty(), "{name}: at the end: {:?}", play.sent);
    assert_eq!(play.end, None, "{name}: at the end");
}

#[test]
fn conversations() {
    for Text { name, text, .. } in texts(env!("CARGO_MANIFEST_DIR"), "tests/conversations") {
        run(&name, &text);
    }
}
