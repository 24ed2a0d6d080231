//! The hub with consoles that live in the test, in virtual time; with the socket of a virtual machine; with a
//! simulated BMC; and what two thousand idle consoles cost.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dawn_hardware::Error;
use dawn_hardware::console::frames::{Decoder, Frame};
use dawn_hardware::console::place::Place;
use dawn_hardware::console::source::{Line, Said, Soon, Source};
use dawn_hardware::console::{AttachError, Heard, Hub, Mode, State, Wanted};
use dawn_hardware::limits::{CONSOLE_VIEWERS_MAX, CONSOLE_VIEWERS_PER_NODE_MAX};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

/// What was logged, and what became an event.
#[derive(Default)]
struct Book(Mutex<Vec<String>>);

impl Heard for Book {
    fn line(&self, _: &Arc<str>, line: &str) {
        self.0.lock().unwrap().push(line.to_owned());
    }

    fn event(&self, node: &str, text: &str) {
        self.0.lock().unwrap().push(format!("event of {node}: {text}"));
    }
}

/// Keeps nothing.
struct Nobody;

impl Heard for Nobody {
    fn line(&self, _: &Arc<str>, _: &str) {}

    fn event(&self, _: &str, _: &str) {}
}

impl Book {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// The machine's end of a console.
struct Machine {
    says: mpsc::Sender<Said>,
    typed: Arc<Mutex<Vec<u8>>>,
}

impl Machine {
    async fn writes(&self, text: &[u8]) {
        self.says.send(Said::Output(text.to_vec())).await.unwrap();
        settle().await;
    }

    async fn ends(&self, why: &str) {
        self.says.send(Said::End(why.to_owned())).await.unwrap();
        settle().await;
    }

    fn typed(&self) -> String {
        String::from_utf8(std::mem::take(&mut *self.typed.lock().unwrap())).unwrap()
    }
}

/// A console whose connections the test gets; attempts fail while `works` is not set.
#[derive(Default)]
struct Fake {
    works: Mutex<bool>,
    attempts: Mutex<Vec<(Instant, bool)>>,
    machines: Mutex<Vec<Machine>>,
}

struct FakeLine {
    heard: mpsc::Receiver<Said>,
    typed: Arc<Mutex<Vec<u8>>>,
}

impl Source for Fake {
    fn open(&self, insists: bool) -> Soon<'_, Result<Box<dyn Line>, Error>> {
        Box::pin(async move {
            self.attempts.lock().unwrap().push((Instant::now(), insists));
            if !*self.works.lock().unwrap() {
                return Err(Error::Machine("no answer".to_owned()));
            }
            let (says, heard) = mpsc::channel(8);
            let typed = Arc::<Mutex<Vec<u8>>>::default();
            self.machines.lock().unwrap().push(Machine { says, typed: Arc::clone(&typed) });
            Ok(Box::new(FakeLine { heard, typed }) as Box<dyn Line>)
        })
    }
}

impl Line for FakeLine {
    fn next(&mut self) -> Soon<'_, Said> {
        Box::pin(async { self.heard.recv().await.unwrap_or(Said::End("gone".to_owned())) })
    }

    fn send(&mut self, bytes: &[u8]) -> usize {
        self.typed.lock().unwrap().extend_from_slice(bytes);
        bytes.len()
    }

    fn send_break(&mut self) -> bool {
        self.typed.lock().unwrap().extend_from_slice(b"<break>");
        true
    }
}

/// A viewer's end of the connection.
struct Viewer {
    stream: DuplexStream,
    decoder: Decoder,
}

impl Viewer {
    fn attach(hub: &Hub, node: &str, name: &str, mode: Mode) -> Result<Self, AttachError> {
        let (stream, other) = tokio::io::duplex(64 << 10);
        hub.attach(node, name, mode, other)?;
        Ok(Self { stream, decoder: Decoder::default() })
    }

    async fn send(&mut self, frame: Frame) {
        self.stream.write_all(&frame.bytes()).await.unwrap();
        settle().await;
    }

    /// Everything shown since: output unchanged, notices in brackets.
    async fn sees(&mut self) -> String {
        let mut text = String::new();
        let mut chunk = [0; 4096];
        loop {
            while let Some(frame) = self.decoder.next_frame().unwrap() {
                match frame {
                    Frame::Data(bytes) => text.push_str(&String::from_utf8_lossy(&bytes)),
                    Frame::Notice(notice) => text.push_str(&format!("[{notice}]")),
                    Frame::End(why) => text.push_str(&format!("[end: {why}]")),
                    other => panic!("{other:?}"),
                }
            }
            match timeout(Duration::from_millis(20), self.stream.read(&mut chunk)).await {
                Ok(Ok(count @ 1..)) => self.decoder.push(&chunk[..count]),
                _ => return text,
            }
        }
    }
}

async fn settle() {
    sleep(Duration::from_millis(10)).await;
}

fn wanted(node: &str, on_demand: bool) -> Wanted {
    Wanted { node: node.to_owned(), place: Place::Socket(PathBuf::from("test")), on_demand }
}

/// A hub with the console `cn1`.
async fn hub(works: bool, on_demand: bool) -> (Hub, Arc<Book>, Arc<Fake>) {
    let (book, fake) = (Arc::<Book>::default(), Arc::<Fake>::default());
    *fake.works.lock().unwrap() = works;
    let hub = Hub::new(Arc::clone(&book) as Arc<dyn Heard>, PathBuf::new());
    let source = Arc::clone(&fake);
    hub.follow_with(vec![wanted("cn1", on_demand)], |_| Some(Arc::clone(&source) as Arc<dyn Source>));
    settle().await;
    (hub, book, fake)
}

fn machine(fake: &Fake) -> Machine {
    fake.machines.lock().unwrap().pop().expect("the console is connected")
}

#[tokio::test(start_paused = true)]
async fn one_writes_and_all_see() {
    let (hub, book, fake) = hub(true, false).await;
    let cn1 = machine(&fake);
    cn1.writes(b"boot\r\nlogin: ").await;
    let mut alice = Viewer::attach(&hub, "cn1", "alice", Mode::Write).unwrap();
    assert_eq!(alice.sees().await, "boot\r\nlogin: [you write]");
    alice.send(Frame::Data(b"root\r".to_vec())).await;
    assert_eq!(cn1.typed(), "root\r");

    let mut bob = Viewer::attach(&hub, "cn1", "bob", Mode::Write).unwrap();
    assert_eq!(bob.sees().await, "boot\r\nlogin: [read only: alice writes; ^Ecf takes over]");
    bob.send(Frame::Data(b"reboot\r".to_vec())).await;
    assert_eq!((cn1.typed().as_str(), bob.sees().await.as_str()), ("", "[read only: nothing was sent]"));
    bob.send(Frame::Take).await;
    assert_eq!(alice.sees().await, "[read only: bob has taken over]");
    bob.send(Frame::Break).await;
    alice.send(Frame::Data(b"x".to_vec())).await;
    assert_eq!(cn1.typed(), "<break>");

    // A viewer without the right never gets it, and does not inherit it.
    let mut eve = Viewer::attach(&hub, "cn1", "eve", Mode::Watch).unwrap();
    eve.send(Frame::Take).await;
    assert!(eve.sees().await.ends_with("[read only][read only: start rcons without -s to write]"));
    eve.send(Frame::Reopen).await;
    assert!(eve.sees().await.ends_with("[read only: start rcons without -s for that]"));
    eve.send(Frame::Who).await;
    assert_eq!(eve.sees().await, "[alice, bob (writes), eve]");
    alice.sees().await;
    drop(bob);
    settle().await;
    assert_eq!(alice.sees().await, "[you write]");
    drop(alice);
    settle().await;
    eve.send(Frame::Data(b"x".to_vec())).await;
    assert_eq!(cn1.typed(), "");

    cn1.writes(b"\x1b[31mhash\x1b[0m\r\n").await;
    assert!(eve.sees().await.ends_with("\x1b[31mhash\x1b[0m\r\n"));
    let log = book.take();
    assert_eq!(&log[..2], ["[-- Console up --]", "boot"]);
    assert_eq!(log.last().unwrap(), "login: hash");
    assert!(log.contains(&"[-- bob writes --]".to_owned()), "{log:?}");
}

#[tokio::test(start_paused = true)]
async fn lost_consoles_come_back() {
    let (hub, book, fake) = hub(true, false).await;
    let cn1 = machine(&fake);
    cn1.writes(b"[  12.3] Kernel panic - not syncing\r\nlast words").await;
    *fake.works.lock().unwrap() = false;
    cn1.ends("reset").await;
    assert_eq!(hub.shown("cn1").unwrap().state, State::Connecting);
    let events: Vec<String> = book.take().into_iter().filter(|line| line.starts_with("event")).collect();
    // One event in ten seconds: the panic matters more than what follows it.
    assert_eq!(events, ["event of cn1: console: [  12.3] Kernel panic - not syncing"]);
    sleep(Duration::from_secs(3_600)).await;
    let attempts = fake.attempts.lock().unwrap().clone();
    assert!((15..=40).contains(&attempts.len()), "{} attempts in an hour", attempts.len());
    assert!(attempts[0].1 && !attempts[1].1, "only the first attempt throws others out");
    let pauses: Vec<Duration> = attempts.windows(2).skip(1).map(|pair| pair[1].0 - pair[0].0).collect();
    assert!(pauses.iter().all(|pause| (1..=361).contains(&pause.as_secs())), "{pauses:?}");
    assert_eq!(hub.shown("cn1").unwrap().reason, "no answer");

    // A viewer does not wait for the pause.
    *fake.works.lock().unwrap() = true;
    let mut alice = Viewer::attach(&hub, "cn1", "alice", Mode::Write).unwrap();
    assert!(alice.sees().await.ends_with("last words[not connected (no answer)][you write][connected]"));
    let cn1 = machine(&fake);
    cn1.writes(b"\r\nagain\r\n").await;
    sleep(Duration::from_secs(20)).await;
    cn1.ends("reset").await;
    let log = book.take();
    assert!(
        log.contains(&"event of cn1: console lost: reset; the last line was: again".to_owned()),
        "{log:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn on_demand() {
    let (hub, book, fake) = hub(true, true).await;
    assert_eq!(hub.shown("cn1").unwrap().state, State::Available);
    assert!(fake.attempts.lock().unwrap().is_empty());
    let alice = Viewer::attach(&hub, "cn1", "alice", Mode::Watch).unwrap();
    settle().await;
    assert_eq!(hub.shown("cn1").unwrap().state, State::Connected);
    drop(alice);
    settle().await;
    assert_eq!(hub.shown("cn1").unwrap().state, State::Available);
    assert!(machine(&fake).says.is_closed(), "the console is let go");
    assert!(!book.take().iter().any(|line| line.starts_with("event")));
}

#[tokio::test(start_paused = true)]
async fn viewers_are_bounded_and_slow_ones_lose() {
    let (hub, _, fake) = hub(true, false).await;
    let cn1 = machine(&fake);
    let mut viewers: Vec<Viewer> = (0..CONSOLE_VIEWERS_PER_NODE_MAX)
        .map(|n| Viewer::attach(&hub, "cn1", &format!("v{n}"), Mode::Watch).unwrap())
        .collect();
    settle().await;
    let mut late = Viewer::attach(&hub, "cn1", "late", Mode::Watch).unwrap();
    assert_eq!(late.sees().await, "[end: 16 viewers look at this console already]");
    // Ten megabytes in lines of a megabyte: one viewer reads, the others do not, and memory stays bounded.
    let mut first = viewers.remove(0);
    first.sees().await;
    for _ in 0..2_560 {
        cn1.says.send(Said::Output(vec![b'x'; 4096])).await.unwrap();
    }
    settle().await;
    assert!(first.sees().await.len() < 2_000_000);
    cn1.writes(b"more\r\n").await;
    let lost = "[some output was lost: the connection is too slow]more\r\n";
    assert_eq!(first.sees().await, lost);
    assert_eq!(
        Viewer::attach(&hub, "cn2", "v", Mode::Write).err(),
        Some(AttachError::NoConsole("cn2".to_owned()))
    );
    drop((first, viewers, late));
    settle().await;
    assert_eq!(hub.shown("cn1").unwrap().viewers, 0);
    hub.follow_with((0..40).map(|n| wanted(&format!("n{n}"), true)).collect(), |_| None);
    let all: Vec<_> = (0..CONSOLE_VIEWERS_MAX + 1)
        .map(|n| Viewer::attach(&hub, &format!("n{}", n % 40), "v", Mode::Watch))
        .collect();
    assert_eq!(all.iter().filter(|viewer| viewer.is_ok()).count(), CONSOLE_VIEWERS_MAX);
}

/// A console that the tables take away ends for its viewers; one that is not changed stays connected.
#[tokio::test(start_paused = true)]
async fn tables_change() {
    let (hub, _, fake) = hub(true, false).await;
    let cn1 = machine(&fake);
    let mut alice = Viewer::attach(&hub, "cn1", "alice", Mode::Write).unwrap();
    alice.sees().await;
    hub.follow_with(vec![wanted("cn1", false), wanted("cn2", true)], |_| None);
    cn1.writes(b"still here").await;
    assert_eq!(alice.sees().await, "still here");
    hub.follow_with(vec![wanted("cn2", true)], |_| None);
    assert_eq!(alice.sees().await, "[end: the daemon does not hold this console any more]");
    assert_eq!(hub.shown("cn2").unwrap().state, State::Nowhere);
}

/// The socket of a virtual machine's serial port.
#[tokio::test]
async fn socket_of_a_virtual_machine() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cn1.serial");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let book = Arc::<Book>::default();
    let hub = Hub::new(Arc::clone(&book) as Arc<dyn Heard>, PathBuf::new());
    hub.follow(vec![Wanted { place: Place::Socket(path), ..wanted("cn1", false) }]);
    let (mut machine, _) = listener.accept().await.unwrap();
    machine.write_all(b"cn1 login: ").await.unwrap();
    let mut alice = Viewer::attach(&hub, "cn1", "alice", Mode::Write).unwrap();
    alice.stream.write_all(&Frame::Data(b"root\r".to_vec()).bytes()).await.unwrap();
    let mut typed = [0; 5];
    timeout(Duration::from_secs(20), machine.read_exact(&mut typed)).await.unwrap().unwrap();
    assert_eq!(&typed, b"root\r");
    let mut seen = String::new();
    for _ in 0..200 {
        seen.push_str(&alice.sees().await);
        if seen.contains("cn1 login: ") {
            break;
        }
    }
    assert!(seen.contains("cn1 login: "), "{seen}");
    hub.stop();
    assert!(timeout(Duration::from_secs(20), machine.read(&mut typed)).await.unwrap().unwrap() == 0);
}

/// Two thousand consoles that have filled their rings and say nothing: `cargo test … -- --nocapture` prints
/// what they cost.
#[tokio::test(start_paused = true)]
async fn two_thousand_idle_consoles() {
    let before = resident_bytes();
    let fake = Arc::<Fake>::default();
    *fake.works.lock().unwrap() = true;
    let hub = Hub::new(Arc::new(Nobody), PathBuf::new());
    let source = Arc::clone(&fake);
    let all = (0..2_000).map(|n| wanted(&format!("n{n}"), false)).collect();
    hub.follow_with(all, |_| Some(Arc::clone(&source) as Arc<dyn Source>));
    settle().await;
    let machines = std::mem::take(&mut *fake.machines.lock().unwrap());
    assert_eq!(machines.len(), 2_000);
    for machine in &machines {
        for _ in 0..5 {
            machine.says.send(Said::Output(vec![b'.'; 4096])).await.unwrap();
        }
    }
    settle().await;
    let used = resident_bytes().saturating_sub(before);
    println!("2,000 idle consoles with full rings: {} MB", used / 1_000_000);
    assert!(used < 150_000_000, "{used} bytes");
}

fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 4096
}
