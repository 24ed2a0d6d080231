//! Many agents behind a network that loses, doubles, delays and reorders, in virtual time. Every walk ends;
//! what it brings is exactly the table, or a failure that says so. A seed reproduces a run.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use std::collections::{BTreeMap, BinaryHeap};
use std::sync::LazyLock;
use std::time::Duration;

use dawn_snmp::credentials::{Community, User, Version};
use dawn_snmp::limits::Settings;
use dawn_snmp::message::{AUTHENTICATED, ENCRYPTED, Message};
use dawn_snmp::pdu::{Kind, NO_SUCH_NAME, Pdu};
use dawn_snmp::walk::Bounds;
use dawn_snmp::{Authentication, Credentials, Failure, Oid, Privacy, Session, Step, Task, Value, VarBind};
use support::{Around, Engine, seal_community};

const ROOT: [u32; 7] = [1, 3, 6, 1, 2, 1, 17];
const AGENTS: usize = 30;

/// Without and with privacy; made once, because a key takes a while.
static USERS: LazyLock<[User; 2]> = LazyLock::new(|| {
    let user = User::new("dawn").unwrap();
    let user = user.authenticated(Authentication::Sha256, "maplesyrup").unwrap();
    [user.clone(), user.private(Privacy::Aes128, "syrupmaple").unwrap()]
});

struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// An agent with a table.
struct Fake {
    table: BTreeMap<Oid, Value>,
    version: Option<Version>,
    engine: Engine,
    boots: u32,
    started: Duration,
}

impl Fake {
    fn new(number: usize, random: &mut Random) -> Self {
        let rows = random.below(200);
        let row = |at: u64, random: &mut Random| {
            let mut parts = ROOT.to_vec();
            parts.extend([u32::try_from(random.below(3)).unwrap(), u32::try_from(at).unwrap()]);
            (Oid::new(&parts).unwrap(), Value::Integer(i64::try_from(random.below(1000)).unwrap()))
        };
        let mut table: BTreeMap<Oid, Value> = (0..rows).map(|at| row(at, random)).collect();
        // Something follows, and is not part of the walk.
        table.insert("1.3.6.1.2.1.18.1".parse().unwrap(), Value::Integer(-1));
        let version = [Some(Version::V1), Some(Version::V2c), None, None][number % 4];
        let id = [0x80, 0, 0, 0, u8::try_from(number).unwrap()];
        let privacy = (number % 8 < 4).then_some((Privacy::Aes128, "syrupmaple"));
        let engine = Engine::new(&id, "dawn", Some((Authentication::Sha256, "maplesyrup")), privacy);
        Self { table, version, engine, boots: 1, started: Duration::ZERO }
    }

    fn credentials(&self) -> Credentials {
        match self.version {
            Some(version) => Credentials::Community(version, Community::new("public")),
            None => {
                let [plain, private] = &*USERS;
                Credentials::User(if self.engine.privacy.is_some() { private } else { plain }.clone())
            }
        }
    }

    fn expected(&self) -> Vec<VarBind> {
        let root = Oid::new(&ROOT).unwrap();
        let rows = self.table.iter().filter(|(name, _)| name.below(&root).is_some());
        rows.map(|(name, value)| VarBind { name: name.clone(), value: value.clone() }).collect()
    }

    fn answer(&mut self, now: Duration, bytes: &[u8]) -> Vec<u8> {
        let time_s = u32::try_from((now - self.started).as_secs()).unwrap();
        match Message::read(bytes).unwrap() {
            Message::Community(version, pdu) => seal_community(version, &self.rows(&pdu)),
            Message::V3(message) => {
                let (around, _, scoped) = self.engine.open(bytes);
                let report = |number: u32| Pdu {
                    kind: Kind::Report,
                    request_id: scoped.pdu.request_id,
                    status: 0,
                    index: 0,
                    bindings: vec![VarBind {
                        name: format!("1.3.6.1.6.3.15.1.1.{number}.0").parse().unwrap(),
                        value: Value::Counter(1),
                    }],
                };
                let plain = Around { flags: 0, boots: self.boots, time_s, ..around.clone() };
                let is_timely = message.boots == self.boots && message.time_s.abs_diff(time_s) <= 150;
                if message.engine != self.engine.id {
                    self.engine.seal(&plain, report(4))
                } else if !is_timely {
                    self.engine.seal(&Around { flags: AUTHENTICATED, ..plain }, report(2))
                } else {
                    let flags = around.flags & (AUTHENTICATED | ENCRYPTED);
                    let answer = self.rows(&scoped.pdu);
                    self.engine.seal(&Around { flags, ..plain }, answer)
                }
            }
        }
    }

    fn rows(&self, asked: &Pdu) -> Pdu {
        let after = asked.bindings[0].name.clone();
        let count = if asked.kind == Kind::GetBulk { usize::try_from(asked.index).unwrap() } else { 1 };
        let rows = self.table.range((std::ops::Bound::Excluded(after), std::ops::Bound::Unbounded));
        let mut bindings: Vec<VarBind> = rows
            .take(count)
            .map(|(name, value)| VarBind { name: name.clone(), value: value.clone() })
            .collect();
        let mut pdu = Pdu {
            kind: Kind::Response,
            request_id: asked.request_id,
            status: 0,
            index: 0,
            bindings: Vec::new(),
        };
        if bindings.is_empty() && self.version == Some(Version::V1) {
            (pdu.status, pdu.index) = (NO_SUCH_NAME, 1);
        } else if bindings.is_empty() {
            bindings.push(VarBind { name: asked.bindings[0].name.clone(), value: Value::EndOfMibView });
        }
        pdu.bindings = bindings;
        pdu
    }
}

/// Earliest first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Flight(std::cmp::Reverse<(Duration, u64)>, usize, bool, Vec<u8>);

struct World {
    random: Random,
    loss: u64,
    now: Duration,
    flights: BinaryHeap<Flight>,
    sent: u64,
}

impl World {
    fn fly(&mut self, agent: usize, is_request: bool, bytes: &[u8]) {
        let copies = if self.random.chance(self.loss) { 0 } else { 1 + u64::from(self.random.chance(5)) };
        for _ in 0..copies {
            self.sent += 1;
            // Now and then a datagram arrives after the next attempt was sent.
            let slow = if self.random.chance(3) { 1500 } else { 20 };
            let at = self.now + Duration::from_millis(1 + self.random.below(slow));
            self.flights.push(Flight(std::cmp::Reverse((at, self.sent)), agent, is_request, bytes.to_vec()));
        }
    }
}

/// Rows that arrived, and how many walks failed.
fn run(seed: u64, loss: u64) -> (usize, usize) {
    let mut world =
        World { random: Random(seed), loss, now: Duration::ZERO, flights: BinaryHeap::new(), sent: 0 };
    let mut agents: Vec<Fake> = (0..AGENTS).map(|number| Fake::new(number, &mut world.random)).collect();
    let mut sessions: Vec<Session> = agents
        .iter()
        .zip(seed * 1000..)
        .map(|(agent, seed)| Session::new(agent.credentials(), Settings::default(), seed))
        .collect();
    let mut ends: Vec<Option<Result<Vec<VarBind>, Failure>>> = vec![None; AGENTS];
    let bounds = Bounds { rows_max: 1000, time_max: Duration::from_secs(600) };
    for (at, session) in sessions.iter_mut().enumerate() {
        let step = session.start(Duration::ZERO, Task::Walk(Oid::new(&ROOT).unwrap(), bounds));
        take(&mut world, &mut ends, at, step);
    }
    while ends.iter().any(Option::is_none) {
        let flight = world.flights.peek().map(|flight| flight.0.0.0);
        let timer = sessions.iter().filter_map(Session::deadline).min();
        world.now = world.now.max(flight.into_iter().chain(timer).min().unwrap());
        assert!(world.now < Duration::from_secs(3600), "seed {seed}: it does not end");
        while world.flights.peek().is_some_and(|flight| flight.0.0.0 <= world.now) {
            let Flight(_, at, is_request, bytes) = world.flights.pop().unwrap();
            if is_request {
                if world.random.chance(1) {
                    (agents[at].boots, agents[at].started) = (agents[at].boots + 1, world.now);
                }
                let answer = agents[at].answer(world.now, &bytes);
                world.fly(at, false, &answer);
            } else {
                let step = sessions[at].on_datagram(world.now, &bytes);
                take(&mut world, &mut ends, at, step);
            }
        }
        for (at, session) in sessions.iter_mut().enumerate() {
            if session.deadline().is_some_and(|deadline| deadline <= world.now) {
                let step = session.on_timer(world.now);
                take(&mut world, &mut ends, at, step);
            }
        }
    }
    let mut counts = (0, 0);
    for (agent, end) in agents.iter().zip(ends) {
        match end.unwrap() {
            Ok(rows) => {
                assert_eq!(rows, agent.expected(), "seed {seed}");
                counts.0 += rows.len();
            }
            Err(Failure::NoAnswer { .. } | Failure::Unsettled) if loss > 0 => counts.1 += 1,
            Err(other) => panic!("seed {seed}: {other}"),
        }
    }
    counts
}

fn take(world: &mut World, ends: &mut [Option<Result<Vec<VarBind>, Failure>>], at: usize, step: Step) {
    match step {
        Step::Wait => {}
        Step::Send(bytes) => world.fly(at, true, &bytes),
        Step::Done(rows) => ends[at] = Some(Ok(rows)),
        Step::Failed(failure) => ends[at] = Some(Err(failure)),
    }
}

#[test]
fn every_walk_ends_with_the_table_or_a_failure() {
    for seed in 1..=5 {
        for loss in [0, 10, 30] {
            let (rows, failures) = run(seed, loss);
            assert!(rows > 1000, "seed {seed}, loss {loss} %: {rows} rows, {failures} failures");
            assert!(loss > 10 || failures <= AGENTS / 5, "seed {seed}, loss {loss} %: {failures} failures");
        }
    }
}
