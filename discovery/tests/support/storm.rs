//! Unknown machines by the thousand, in virtual time: all are switched on together, send their packets over a
//! network that loses, doubles and delays, and repeat them until the server says that they are nodes. What
//! reads packets and switches, decides, and says what is written is the real code; the daemon around it is
//! killed, its switches are silent, its writes fail. Everything follows from the seed.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use dawn_cluster::{Snapshot, Text, col, parse_mac_column};
use dawn_discovery::fabric::Answer;
use dawn_discovery::limits::HIT_TIME;
use dawn_discovery::sequential::{Options, Run};
use dawn_discovery::{Arrival, Assignment, Desk, Directory, Fabric, Surroundings, Verdict, assign, findme};

use super::network;
use super::random::Random;
use super::tables;

/// Pauses of a machine between two packets, seconds.
const SEND_SECONDS: std::ops::RangeInclusive<u64> = 5..=60;
/// How long a machine waits after `processing` and `processed`, seconds.
const WORD_SECONDS: u64 = 60;
/// A switch that does not answer costs this.
const SILENCE: Duration = Duration::from_secs(3);
/// Writes under way at once. The daemon has one; the desk must hold with more.
const WRITES_MAX: usize = 8;
/// How long the daemon is away when it is killed.
const AWAY: Duration = Duration::from_secs(2);
/// Who has no name after this much virtual time is stuck.
const LIMIT: Duration = Duration::from_secs(3600);

/// How machines are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// By the order in which they come.
    Sequence,
    /// By the ports of switches.
    Ports,
}

/// What the storm is like. Chances are of 1000.
#[derive(Clone, Debug)]
pub(crate) struct Storm {
    pub seed: u64,
    pub machines: u32,
    pub way: Way,
    pub loss: u64,
    pub doubled: u64,
    pub failed_writes: u64,
    /// How often the daemon is killed.
    pub kills: u64,
    /// Switches that never answer; the serial numbers behind them are in the tables.
    pub dead_switches: u32,
    /// Switches that answer after a while only.
    pub late_switches: u32,
    /// All machines are switched on within this time.
    pub spread: Duration,
}

impl Default for Storm {
    fn default() -> Self {
        Self {
            seed: 1,
            machines: 2000,
            way: Way::Sequence,
            loss: 20,
            doubled: 20,
            failed_writes: 10,
            kills: 2,
            dead_switches: 0,
            late_switches: 0,
            spread: Duration::from_secs(20),
        }
    }
}

impl Storm {
    pub(crate) fn switches(&self) -> u32 {
        if self.way == Way::Ports { network::switches(self.machines) } else { 0 }
    }

    /// Dead ones come first, then late ones.
    fn answers(&self, switch: u32, now: Duration) -> bool {
        let is_late = switch < self.dead_switches + self.late_switches && now < self.spread * 4;
        switch >= self.dead_switches && !is_late
    }
}

/// One machine.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    /// When it sends its first packet.
    pub on: Duration,
    pause: u64,
    /// Counts timers, of which only the newest counts.
    timer: u32,
    named: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Word {
    Processing,
    Processed,
    Restart,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A machine sends its packet, if this is its newest timer.
    Send(u32, u32),
    Packet(u32),
    Word(u32, Word),
    /// The daemon has read switches, if it is the same daemon.
    Read(u64),
    /// A write ends.
    Written(u64, u64),
    Kill,
    Start,
}

/// An assignment that is being written.
#[derive(Debug)]
struct Write {
    machine: u32,
    assignment: Assignment,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// When each machine had its name, sorted.
    pub times: Vec<Duration>,
    pub packets: u64,
    /// How often a switch was read.
    pub reads: u64,
    /// Machines that were decided on again after they waited.
    pub queued: u64,
    /// Equal for equal seeds.
    pub fingerprint: u64,
}

struct World<'a> {
    storm: &'a Storm,
    random: Random,
    now: Duration,
    events: BinaryHeap<Reverse<(Duration, u64, Event)>>,
    count: u64,
    machines: Vec<Machine>,
    packets: Vec<Vec<u8>>,
    snapshot: Snapshot,
    directory: Directory,
    /// `None` while the daemon is away.
    daemon: Option<Daemon>,
    /// How often the daemon was started.
    life: u64,
    outcome: Outcome,
    hasher: DefaultHasher,
}

struct Daemon {
    desk: Desk,
    fabric: Fabric,
    inbox: VecDeque<u32>,
    /// The machine whose packet is looked at, and the switches that are being read for it.
    looking: Option<(u32, Vec<u32>)>,
    writes: BTreeMap<u64, Write>,
}

/// Runs to the end.
///
/// # Panics
/// A machine has no name at the end, or the wrong one; a node has two machines.
pub(crate) fn run(storm: &Storm) -> Outcome {
    let mut random = Random::new(storm.seed);
    let spread_ms = u64::try_from(storm.spread.as_millis()).unwrap();
    let machine = |random: &mut Random| Machine {
        on: Duration::from_millis(random.below(spread_ms)),
        pause: *SEND_SECONDS.start(),
        timer: 0,
        named: None,
    };
    let snapshot = tables::tables(storm);
    let mut world = World {
        storm,
        machines: (0..storm.machines).map(|_| machine(&mut random)).collect(),
        packets: (0..storm.machines).map(network::packet).collect(),
        random,
        now: Duration::ZERO,
        events: BinaryHeap::new(),
        count: 0,
        directory: Directory::of(&snapshot),
        snapshot,
        daemon: None,
        life: 0,
        outcome: Outcome { times: Vec::new(), packets: 0, reads: 0, queued: 0, fingerprint: 0 },
        hasher: DefaultHasher::new(),
    };
    world.start_daemon();
    for number in 0..storm.machines {
        world.at(world.machines[number as usize].on, Event::Send(number, 0));
    }
    for kill in 1..=storm.kills {
        let time = storm.spread * u32::try_from(kill).unwrap() / u32::try_from(storm.kills + 1).unwrap();
        world.at(time, Event::Kill);
    }
    world.run();
    world.finish()
}

impl World<'_> {
    fn at(&mut self, time: Duration, event: Event) {
        self.count += 1;
        self.events.push(Reverse((time, self.count, event)));
    }

    fn run(&mut self) {
        while let Some(Reverse((time, _, event))) = self.events.pop() {
            assert!(time < LIMIT, "seed {}: {} machines are stuck", self.storm.seed, self.unnamed());
            self.now = time;
            match event {
                Event::Send(machine, timer) => self.send(machine, timer),
                Event::Packet(machine) => self.packet(machine),
                Event::Word(machine, word) => self.word(machine, word),
                Event::Read(life) if life == self.life => self.read(),
                Event::Written(life, number) if life == self.life => self.written(number),
                Event::Kill => {
                    self.daemon = None;
                    self.at(self.now + AWAY, Event::Start);
                }
                Event::Start => self.start_daemon(),
                // Of a daemon that was killed.
                Event::Read(_) | Event::Written(..) => {}
            }
        }
    }

    fn unnamed(&self) -> usize {
        self.machines.iter().filter(|machine| machine.named.is_none()).count()
    }

    /// What is sent may be lost, doubled and delayed.
    fn over_the_network(&mut self, event: Event) {
        if self.random.happens(self.storm.loss) {
            return;
        }
        let copies = 1 + u32::from(self.random.happens(self.storm.doubled));
        for _ in 0..copies {
            let delay = Duration::from_micros(100 + self.random.below(5000));
            self.at(self.now + delay, event);
        }
    }

    // Machines.

    fn send(&mut self, number: u32, timer: u32) {
        let machine = &mut self.machines[number as usize];
        if machine.named.is_some() || machine.timer != timer {
            return;
        }
        let pause = machine.pause;
        machine.pause = (pause * 2).min(*SEND_SECONDS.end());
        self.outcome.packets += 1;
        self.over_the_network(Event::Packet(number));
        self.wait(number, pause);
    }

    /// Sends again after about so many seconds.
    fn wait(&mut self, number: u32, seconds: u64) {
        let pause = Duration::from_millis(seconds * 750 + self.random.below(seconds * 500));
        let machine = &mut self.machines[number as usize];
        machine.timer += 1;
        let event = Event::Send(number, machine.timer);
        self.at(self.now + pause, event);
    }

    fn word(&mut self, number: u32, word: Word) {
        if self.machines[number as usize].named.is_some() {
            return;
        }
        if word != Word::Restart {
            return self.wait(number, WORD_SECONDS);
        }
        let node = self.snapshot.node_by_mac(network::mac(number));
        let node = node.unwrap_or_else(|| panic!("seed {}: {number} was called too early", self.storm.seed));
        self.machines[number as usize].named = Some(self.now);
        (self.now, number, node).hash(&mut self.hasher);
    }

    // The daemon.

    fn start_daemon(&mut self) {
        let mut desk = Desk::default();
        if self.storm.way == Way::Sequence {
            let last = self.storm.machines.saturating_sub(1);
            let words = [
                format!("noderange=cn[00000-{last:05}]"),
                format!("hostiprange={}-{}", tables::address(0), tables::address(last)),
            ];
            let options = Options::of_words(words.iter().map(String::as_str)).unwrap();
            desk.set_run(Some(Run::new(&self.snapshot, options).unwrap()));
        }
        self.life += 1;
        let (fabric, writes) = (Fabric::default(), BTreeMap::new());
        self.daemon = Some(Daemon { desk, fabric, inbox: VecDeque::new(), looking: None, writes });
        self.directory = Directory::of(&self.snapshot);
    }

    fn packet(&mut self, number: u32) {
        let Some(daemon) = &mut self.daemon else { return };
        if !daemon.inbox.contains(&number) {
            daemon.inbox.push_back(number);
        }
        self.look();
    }

    /// Takes the next packet if nothing else is under way.
    fn look(&mut self) {
        let storm = self.storm;
        let Some(daemon) = &mut self.daemon else { return };
        if daemon.looking.is_some() || daemon.writes.len() >= WRITES_MAX {
            return;
        }
        let Some(number) = daemon.inbox.pop_front() else { return };
        let due = daemon.fabric.due(self.now, HIT_TIME, [network::mac(number)], &self.directory);
        let due: Vec<u32> = due.iter().map(|name| name.trim_start_matches("sw").parse().unwrap()).collect();
        let is_anyone_silent = due.iter().any(|switch| !storm.answers(*switch, self.now));
        let time = match (due.is_empty(), is_anyone_silent) {
            (true, _) => Duration::from_micros(500),
            (_, true) => SILENCE,
            (_, false) => Duration::from_millis(20 + self.random.below(200)),
        };
        self.outcome.reads += due.len() as u64;
        daemon.looking = Some((number, due));
        let life = self.life;
        self.over_the_network(Event::Word(number, Word::Processing));
        self.at(self.now + time, Event::Read(life));
    }

    fn read(&mut self) {
        let Some(daemon) = &mut self.daemon else { return };
        let Some((number, switches)) = daemon.looking.take() else { return };
        for switch in switches {
            let answers = self.storm.answers(switch, self.now);
            let table = answers.then(|| network::read(switch, self.now, &self.machines));
            let table = table.map_or_else(|| Answer::Nothing("no answer".to_owned()), Answer::Tables);
            daemon.fabric.learn(self.now, &tables::switch(switch), table, &self.directory);
        }
        let packet = findme::parse(&self.packets[number as usize]).unwrap();
        let arrival = Arrival { machine: &packet.machine, from: None };
        let around = Surroundings::usual(&self.snapshot, &self.directory, &daemon.fabric);
        match daemon.desk.arrive(self.now, &around, &arrival).verdict {
            Verdict::Assign(assignment) => {
                let write = self.count;
                daemon.writes.insert(write, Write { machine: number, assignment });
                let time = Duration::from_micros(500 + self.random.below(20_000));
                self.at(self.now + time, Event::Written(self.life, write));
            }
            Verdict::Queue(_) => {
                self.outcome.queued += 1;
                self.over_the_network(Event::Word(number, Word::Processed));
            }
        }
        self.look();
    }

    fn written(&mut self, write: u64) {
        let is_lost = self.random.happens(self.storm.failed_writes);
        let Some(daemon) = &mut self.daemon else { return };
        let Some(Write { machine: number, assignment }) = daemon.writes.remove(&write) else { return };
        daemon.desk.release(&assignment.node);
        let machine = findme::parse(&self.packets[number as usize]).unwrap().machine;
        let run = daemon.desk.run().cloned();
        let mac = Some(network::mac(number));
        let edits = assign::edits(&self.snapshot, &machine, mac, &assignment, run.as_deref());
        let mut edits = edits.unwrap_or_else(|why| panic!("seed {}: {number}: {why}", self.storm.seed));
        let (node, method) = (&assignment.node, assignment.method.word());
        edits.extend(assign::record(&self.snapshot, &machine, node, method, "11-30-2026 12:00:00").unwrap());
        let word = if is_lost {
            Word::Processed
        } else {
            let changes = self.snapshot.preview(&edits).unwrap();
            self.snapshot = self.snapshot.with(&edits).unwrap();
            self.directory.follow(&self.snapshot, &changes);
            Word::Restart
        };
        self.over_the_network(Event::Word(number, word));
        self.look();
    }

    /// Looks at what stands in the tables, whatever the machines were told.
    fn finish(mut self) -> Outcome {
        let seed = self.storm.seed;
        assert_eq!(self.unnamed(), 0, "seed {seed}: machines without a name");
        assert!(self.directory == Directory::of(&self.snapshot), "seed {seed}: the directory went astray");
        let mut nodes: HashSet<Text> = HashSet::new();
        for number in 0..self.storm.machines {
            let node = self.snapshot.node_by_mac(network::mac(number)).unwrap();
            if self.storm.way == Way::Ports {
                assert_eq!(*node, *tables::node(number), "seed {seed}: the wrong node");
            }
            let macs = parse_mac_column(&self.snapshot.attr(&node, col::mac::MAC).unwrap());
            assert_eq!(macs.len(), 1, "seed {seed}: {node} has several machines");
            assert!(nodes.insert(node.clone()), "seed {seed}: {node} was given twice");
            assert!(
                self.snapshot.attr(&node, col::hosts::IP).is_some(),
                "seed {seed}: {node} has no address"
            );
        }
        self.outcome.times = self.machines.iter().filter_map(|machine| machine.named).collect();
        self.outcome.times.sort_unstable();
        self.outcome.fingerprint = self.hasher.finish();
        self.outcome
    }
}
