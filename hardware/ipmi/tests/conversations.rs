//! Whole conversations with a BMC as text files: `tests/conversations/*.txt`.
//!
//! | line | meaning |
//! |---|---|
//! | `bmc WORD…` | a habit of the BMC, or `user`, `password`, `key` with a value |
//! | `open WORD…` | the client opens a session: `suites=17,3`, `fallback=…`, `keep-alive`, `user=`, `password=`, `key=` |
//! | `request NETFN/CMD BYTES` | it asks for something |
//! | `type TEXT` | it types on the console; `\r` and such are escapes |
//! | `break` | it sends a break |
//! | `machine TEXT` | the machine writes on its console: the BMC's next packet |
//! | `sol BYTES` | the BMC sends this packet of the console |
//! | `close` | it closes the session |
//! | `< TEXT` | the client sends, and the BMC reads it as TEXT |
//! | `>` | the BMC's answers arrive; `> twice`, `> lost`, `> damaged`, `> later` (with the next ones, in wrong order) |
//! | `>> BYTES` | these bytes arrive |
//! | `unreachable WHAT` | ICMP says `port` or `host` |
//! | `reset` | the BMC forgets its sessions |
//! | `+ MS` | time passes, and timers run |
//! | `= TEXT` | an event |
//!
//! Everything that the client sends and every event must be expected; `#` begins a comment.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use dawn_ipmi::engine::error::Unreachable;
use dawn_ipmi::engine::{ConsoleEvent, Engine, Event, Handle, Request};
use dawn_ipmi::sim::{Bmc, Habits};
use dawn_ipmi::wire::message::Code;
use dawn_ipmi::wire::v15::AuthType;
use dawn_ipmi::wire::v20::Payload;
use dawn_ipmi::{Credentials, Fallback, Protection, Secret, Seed, SessionOptions, Suite};
use dawn_texts::{Text, texts};

struct Play {
    engine: Engine,
    bmc: Bmc,
    peer: SocketAddr,
    now: Duration,
    handle: Option<Handle>,
    seen: VecDeque<String>,
    answers: Vec<Vec<u8>>,
    later: Vec<Vec<u8>>,
    events: VecDeque<String>,
    /// The number of the BMC's newest console packet.
    sol_sequence: u8,
}

fn credentials(words: &[&str]) -> Credentials {
    let value = |name: &str, or: &'static str| {
        let found = words.iter().find_map(|word| word.strip_prefix(&format!("{name}=")[..]));
        found.unwrap_or(or).to_owned()
    };
    let password = Secret::new(value("password", "ADMINPW").into_bytes());
    let key = Secret::new(value("key", "").into_bytes());
    Credentials::new(&value("user", "ADMIN"), password).unwrap().with_bmc_key(key).unwrap()
}

fn suites(text: &str) -> Vec<Suite> {
    let suite = |id| [Suite::Sha1, Suite::Sha256].into_iter().find(|suite| suite.id().to_string() == id);
    text.split(',').map(|id| suite(id).unwrap()).collect()
}

fn habits(words: &[&str]) -> Habits {
    let mut habits = Habits::default();
    for word in words {
        match word.split_once('=').unwrap_or((word, "")) {
            ("suites", list) => habits.suites = suites(list),
            ("v15", list) => {
                let kind = |name: &str| match name {
                    "none" => AuthType::None,
                    "password" => AuthType::Password,
                    "md5" => AuthType::Md5,
                    other => panic!("no such type: {other}"),
                };
                habits.v15_only = Some(list.split(',').map(kind).collect());
            }
            ("answers-suite-3", _) => habits.always_answers_suite_3 = true,
            ("bare-messages", _) => habits.v15_bare_messages = true,
            ("no-administrators", _) => habits.no_administrators = true,
            ("forgets-rakp1", _) => habits.forgets_rakp1 = true,
            ("rakp3-once", _) => habits.answers_rakp3_once = true,
            ("user" | "password" | "key", _) => {}
            other => panic!("no such habit: {other:?}"),
        }
    }
    habits
}

fn options(words: &[&str]) -> SessionOptions {
    let mut options = SessionOptions::default();
    for word in words {
        match word.split_once('=').unwrap_or((word, "")) {
            ("suites", list) => options.suites = suites(list),
            ("fallback", "md5") => options.fallback = Fallback::Md5,
            ("fallback", "unprotected") => options.fallback = Fallback::Unprotected,
            ("keep-alive", _) => options.keep_alive = true,
            ("user" | "password" | "key", _) => {}
            other => panic!("no such option: {other:?}"),
        }
    }
    options
}

fn bytes(text: &str) -> Vec<u8> {
    text.split_whitespace().map(|digits| u8::from_str_radix(digits, 16).unwrap()).collect()
}

fn show(event: &Event) -> String {
    match event {
        Event::Open(_, info) => match info.protection {
            Protection::RmcpPlus(suite) => format!("open suite {} as {:?}", suite.id(), info.privilege),
            Protection::V15(auth) => format!("open 1.5 {auth:?} as {:?}", info.privilege),
        },
        Event::Answer(_, _, Ok(answer)) => {
            let data: Vec<String> = answer.data.iter().map(|byte| format!(" {byte:02x}")).collect();
            format!("answer {:02x}{}", answer.completion, data.concat())
        }
        Event::Answer(_, _, Err(error)) => format!("no answer: {error}"),
        Event::Console(_, ConsoleEvent::Output(bytes)) => format!("console '{}'", bytes.escape_ascii()),
        Event::Console(_, event) => format!("console {event:?}"),
        Event::Ended(_, error) => format!("ended: {error}"),
        other => format!("{other:?}"),
    }
}

impl Play {
    fn new(bmc_words: &[&str]) -> Self {
        Self {
            engine: Engine::default(),
            bmc: Bmc::new(credentials(bmc_words), habits(bmc_words), Seed([7; 32])),
            peer: SocketAddr::from(([10, 2, 0, 5], 623)),
            now: Duration::ZERO,
            handle: None,
            seen: VecDeque::new(),
            answers: Vec::new(),
            later: Vec::new(),
            events: VecDeque::new(),
            sol_sequence: 0,
        }
    }

    fn collect(&mut self) {
        while let Some((peer, datagram)) = self.engine.take_datagram() {
            assert_eq!(peer, self.peer);
            let turn = self.bmc.on_datagram(&datagram);
            self.seen.push_back(turn.saw);
            self.answers.extend(turn.answers);
        }
        while let Some(event) = self.engine.take_event() {
            self.events.push_back(show(&event));
        }
    }

    fn arrive(&mut self, how: &str) {
        let mut answers = std::mem::take(&mut self.answers);
        match how {
            "" => {}
            "lost" => return,
            "later" => return self.later.extend(answers),
            "twice" => answers = answers.iter().flat_map(|answer| [answer.clone(), answer.clone()]).collect(),
            "damaged" => {
                answers.iter_mut().filter_map(|answer| answer.last_mut()).for_each(|byte| *byte ^= 1)
            }
            other => panic!("no such way to arrive: {other}"),
        }
        answers.append(&mut self.later);
        for answer in answers {
            self.engine.on_datagram(self.now, self.peer, &answer);
            self.collect();
        }
    }

    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(at) = self.engine.deadline().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.engine.on_timer(self.now);
            self.collect();
        }
        self.now = until;
    }

    fn request(&mut self, rest: &str) {
        let (code, data) = rest.split_once(' ').unwrap_or((rest, ""));
        let (netfn, cmd) = code.split_once('/').unwrap();
        let number = |digits| u8::from_str_radix(digits, 16).unwrap();
        let code = Code { netfn: number(netfn), lun: 0, cmd: number(cmd) };
        let request = Request { code, data: bytes(data) };
        match self.engine.request(self.now, self.handle.unwrap(), request) {
            Ok(_) => {}
            Err(error) => self.events.push_back(format!("refused: {error}")),
        }
    }

    fn step(&mut self, verb: &str, rest: &str, at: &str) {
        let words: Vec<&str> = rest.split_whitespace().collect();
        if !matches!(verb, "<" | "=") {
            assert!(self.seen.is_empty(), "{at}: unexpected {:?}", self.seen);
            assert!(self.events.is_empty(), "{at}: unexpected {:?}", self.events);
        }
        match verb {
            "open" => {
                let seed = Seed([9; 32]);
                let opened =
                    self.engine.open(self.now, self.peer, credentials(&words), options(&words), seed);
                self.handle = opened.ok();
            }
            "request" => self.request(rest),
            "type" => {
                let text = rest.replace("\\r", "\r");
                let count = self.engine.console_send(self.now, self.handle.unwrap(), text.as_bytes());
                if count < text.len() {
                    self.events.push_back(format!("room for {count}"));
                }
            }
            "break" => self.engine.console_break(self.now, self.handle.unwrap()),
            "machine" => {
                self.sol_sequence = self.sol_sequence % 15 + 1;
                let payload = [&[self.sol_sequence, 0, 0, 0][..], rest.as_bytes()].concat();
                self.answers.extend(self.bmc.send(Payload::Sol, &payload));
            }
            "sol" => self.answers.extend(self.bmc.send(Payload::Sol, &bytes(rest))),
            "close" => self.engine.close(self.handle.unwrap()),
            "<" => assert_eq!(self.seen.pop_front().as_deref(), Some(rest), "{at}"),
            "=" => assert_eq!(self.events.pop_front().as_deref(), Some(rest), "{at}"),
            ">" => self.arrive(rest),
            ">>" => self.engine.on_datagram(self.now, self.peer, &bytes(rest)),
            "unreachable" => {
                let why = if rest == "port" { Unreachable::Port } else { Unreachable::Host };
                self.engine.on_unreachable(self.peer, why);
            }
            "reset" => self.bmc.reset(),
            "+" => self.pass(Duration::from_millis(rest.parse().unwrap())),
            _ => panic!("{at}: no such line"),
        }
        self.collect();
    }
}

fn run(name: &str, text: &str) {
    let lines = || {
        text.lines()
            .map(|line| line.split('#').next().unwrap_or_default().trim())
            .zip(1..)
            .filter(|l| !l.0.is_empty())
    };
    let bmc: Vec<&str> =
        lines().filter_map(|(line, _)| line.strip_prefix("bmc ")).flat_map(str::split_whitespace).collect();
    let mut play = Play::new(&bmc);
    for (line, number) in lines().filter(|(line, _)| !line.starts_with("bmc ")) {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        play.step(verb, rest, &format!("{name}:{number}: {line}"));
    }
    assert!(play.seen.is_empty(), "{name}: at the end: {:?}", play.seen);
    assert!(play.events.is_empty(), "{name}: events at the end: {:?}", play.events);
}

#[test]
fn conversations() {
    for Text { name, text, .. } in texts(env!("CARGO_MANIFEST_DIR"), "tests/conversations") {
        run(&name, &text);
    }
}
