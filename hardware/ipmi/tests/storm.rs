//! Storms in virtual time: one engine and thousands of BMCs, a network that loses, doubles and reorders,
//! BMCs that are dead, closed, slow or faulty.
//!
//! Everything follows from the seed, which a failure names.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::net::SocketAddr;
use std::time::Duration;

use dawn_ipmi::engine::error::{SessionError, Unreachable};
use dawn_ipmi::engine::{Engine, Event, Handle, Request};
use dawn_ipmi::limits::Budget;
use dawn_ipmi::sim::{Bmc, Habits};
use dawn_ipmi::wire::message::Code;
use dawn_ipmi::wire::v15::AuthType;
use dawn_ipmi::{Credentials, Fallback, Secret, Seed, SessionOptions, Suite};

/// One storm; rates are per mille.
#[derive(Clone, Copy, Debug)]
struct Storm {
    seed: u64,
    bmcs: u32,
    lost: u64,
    doubled: u64,
    dead: u64,
    closed: u64,
    /// Longest time on the way, ms; packets overtake each other.
    delay_ms: u64,
}

/// What became of the BMCs.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    done: u32,
    silent: u32,
    unreachable: u32,
    other: Vec<String>,
    /// When the last BMC that answers was done, and when the last unresponsive one was given up.
    last_done: Duration,
    last_silent: Duration,
    datagrams: u64,
}

struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end.max(1)
    }

    fn seed(&mut self) -> Seed {
        Seed(std::array::from_fn(|_| u8::try_from(self.below(256)).unwrap()))
    }

    fn habits(&mut self) -> Habits {
        let mut habits = Habits::default();
        match self.below(10) {
            0 => habits.suites = vec![Suite::Sha1],
            1 => habits.always_answers_suite_3 = true,
            2 => habits.v15_only = Some(vec![AuthType::Md5]),
            3 => habits.forgets_rakp1 = true,
            4 => habits.answers_rakp3_once = true,
            _ => {}
        }
        habits
    }
}

#[derive(PartialEq, Eq)]
enum Kind {
    Alive,
    Dead,
    Closed,
}

/// A datagram on its way: arrival time, a number that makes the order total, the peer, whether it is from the
/// BMC.
type Flight = (Duration, u64, SocketAddr, bool, Vec<u8>);

struct World {
    storm: Storm,
    dice: Dice,
    engine: Engine,
    bmcs: HashMap<SocketAddr, (Kind, Bmc)>,
    flights: BinaryHeap<Reverse<Flight>>,
    number: u64,
    now: Duration,
    step: BTreeMap<Handle, u8>,
    outcome: Outcome,
}

fn request(step: u8) -> Request {
    let (cmd, data) = if step == 1 { (0x02, vec![1]) } else { (0x01, Vec::new()) };
    Request { code: Code { netfn: 0, lun: 0, cmd }, data }
}

impl World {
    fn fly(&mut self, peer: SocketAddr, from_bmc: bool, bytes: &[u8]) {
        self.outcome.datagrams += 1;
        let copies = match self.dice.below(1000) {
            roll if roll < self.storm.lost => 0,
            roll if roll < self.storm.lost + self.storm.doubled => 2,
            _ => 1,
        };
        for _ in 0..copies {
            let delay = Duration::from_micros(100 + self.dice.below(1 + self.storm.delay_ms * 1000));
            self.number += 1;
            self.flights.push(Reverse((self.now + delay, self.number, peer, from_bmc, bytes.to_vec())));
        }
    }

    fn collect(&mut self) {
        while let Some((peer, bytes)) = self.engine.take_datagram() {
            self.fly(peer, false, &bytes);
        }
        while let Some(event) = self.engine.take_event() {
            self.on_event(event);
        }
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Open(handle, _) => drop(self.engine.request(self.now, handle, request(0))),
            Event::Answer(handle, _, Ok(answer)) => {
                let step = self.step.get_mut(&handle).unwrap();
                assert_eq!(answer.completion, 0);
                let on = answer.data.first().map(|byte| byte & 1);
                assert_eq!(on, [Some(0), None, Some(1)][usize::from(*step)], "step {step}");
                *step += 1;
                if *step == 3 {
                    self.outcome.done += 1;
                    self.outcome.last_done = self.now;
                    self.engine.close(handle);
                } else {
                    drop(self.engine.request(self.now, handle, request(*step)));
                }
            }
            Event::Ended(_, SessionError::Silent { .. }) => {
                self.outcome.silent += 1;
                self.outcome.last_silent = self.now;
            }
            Event::Ended(_, SessionError::Unreachable(Unreachable::Port)) => self.outcome.unreachable += 1,
            Event::Answer(handle, _, Err(error)) => {
                self.outcome.other.push(error.to_string());
                self.engine.close(handle);
            }
            other => self.outcome.other.push(format!("{other:?}")),
        }
    }

    fn arrive(&mut self, peer: SocketAddr, from_bmc: bool, bytes: &[u8]) {
        if from_bmc {
            return self.engine.on_datagram(self.now, peer, bytes);
        }
        let (kind, bmc) = self.bmcs.get_mut(&peer).unwrap();
        match kind {
            Kind::Alive => {
                for answer in bmc.on_datagram(bytes).answers {
                    self.fly(peer, true, &answer);
                }
            }
            Kind::Dead => {}
            Kind::Closed => self.engine.on_unreachable(peer, Unreachable::Port),
        }
    }

    fn run(&mut self) {
        loop {
            self.collect();
            let flight = self.flights.peek().map(|flight| flight.0.0);
            let Some(next) = [flight, self.engine.deadline()].into_iter().flatten().min() else { break };
            self.now = self.now.max(next);
            if flight.is_some_and(|at| at <= self.now) {
                let Reverse((_, _, peer, from_bmc, bytes)) = self.flights.pop().unwrap();
                self.arrive(peer, from_bmc, &bytes);
            } else {
                self.engine.on_timer(self.now);
            }
        }
    }
}

fn rage(storm: Storm) -> Outcome {
    let mut dice = Dice(storm.seed);
    let credentials = Credentials::new("ADMIN", Secret::new(*b"ADMINPW")).unwrap();
    let mut world = World {
        storm,
        dice: Dice(storm.seed ^ 0x5eed),
        engine: Engine::default(),
        bmcs: HashMap::new(),
        flights: BinaryHeap::new(),
        number: 0,
        now: Duration::ZERO,
        step: BTreeMap::new(),
        outcome: Outcome::default(),
    };
    // A lossy network is given the long budget, so that only dead BMCs do not answer.
    let setup = if storm.lost == 0 { Budget::SHORT } else { Budget::REFERENCE };
    let options = SessionOptions { setup, fallback: Fallback::Md5, ..SessionOptions::default() };
    for number in 0..storm.bmcs {
        let peer = SocketAddr::from((std::net::Ipv4Addr::from(0x0a02_0000 + number), 623));
        let kind = match dice.below(1000) {
            roll if roll < storm.dead => Kind::Dead,
            roll if roll < storm.dead + storm.closed => Kind::Closed,
            _ => Kind::Alive,
        };
        let bmc = Bmc::new(credentials.clone(), dice.habits(), dice.seed());
        world.bmcs.insert(peer, (kind, bmc));
        let handle =
            world.engine.open(world.now, peer, credentials.clone(), options.clone(), dice.seed()).unwrap();
        world.step.insert(handle, 0);
    }
    world.run();
    assert_eq!(world.engine.sessions(), 0, "{storm:?}");
    let alive = |bmc: &&(Kind, Bmc)| bmc.0 == Kind::Alive;
    assert!(
        world.bmcs.values().filter(alive).filter(|bmc| bmc.1.machine.on).count()
            >= world.outcome.done as usize
    );
    world.outcome
}

/// How many BMCs of each kind a storm has.
fn expected(storm: Storm) -> (u32, u32) {
    let mut dice = Dice(storm.seed);
    let mut counts = (0, 0);
    for _ in 0..storm.bmcs {
        match dice.below(1000) {
            roll if roll < storm.dead => counts.0 += 1,
            roll if roll < storm.dead + storm.closed => counts.1 += 1,
            _ => {}
        }
        dice.habits();
        dice.seed();
        dice.seed();
    }
    counts
}

#[test]
fn quiet_network() {
    for seed in 1..=2 {
        let storm = Storm { seed, bmcs: 1_500, lost: 0, doubled: 50, dead: 50, closed: 20, delay_ms: 20 };
        let (dead, closed) = expected(storm);
        let outcome = rage(storm);
        assert_eq!(outcome.other, Vec::<String>::new(), "{storm:?}");
        assert_eq!((outcome.silent, outcome.unreachable), (dead, closed), "{storm:?}");
        assert_eq!(outcome.done, storm.bmcs - dead - closed, "{storm:?}");
        assert!(outcome.last_done < Duration::from_secs(2), "{storm:?}: {outcome:?}");
        assert!(outcome.last_silent < Duration::from_secs(5), "{storm:?}: {outcome:?}");
    }
}

#[test]
fn lossy_network() {
    for seed in 11..=12 {
        let storm = Storm { seed, bmcs: 1_200, lost: 50, doubled: 50, dead: 30, closed: 10, delay_ms: 300 };
        let (dead, closed) = expected(storm);
        let outcome = rage(storm);
        assert_eq!(outcome.other, Vec::<String>::new(), "{storm:?}");
        // A closed port always answers, but the packet that asks may be lost; not five times, though.
        assert_eq!((outcome.silent, outcome.unreachable), (dead, closed), "{storm:?}: {outcome:?}");
        assert_eq!(outcome.done, storm.bmcs - dead - closed, "{storm:?}");
    }
}

#[test]
fn a_seed_repeats_a_storm() {
    let storm = Storm { seed: 5, bmcs: 200, lost: 100, doubled: 100, dead: 50, closed: 50, delay_ms: 200 };
    assert_eq!(rage(storm), rage(storm));
}
