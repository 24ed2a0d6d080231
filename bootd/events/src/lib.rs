//! Boot events: what every node did, in order, with times and bytes.
//!
//! Each service reports to one [`Bus`]; status, timeline, log and `dawn events` are its readers. History
//! lives in memory, bounded per node and in total, and that of nodes in a file too ([`file`]):
//! events explain a boot, they are not a record that anything depends on. A reader that falls behind loses
//! the oldest events, never the service its time.
//!
//! Times are given by the caller, so that a simulated boot has a timeline like a real one.

mod file;
mod wave;

pub use wave::{NODES_NAMED_MAX, NodeReport, StageReport, WAVES_MAX, WaveReport};

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use wave::Waves;

/// Events kept per node (or per stranger, by MAC or address). Enough for some ten boots.
pub const EVENTS_PER_SUBJECT_MAX: usize = 256;
/// Subjects (nodes and strangers) with a history. The subject without events for the longest time is removed
/// first.
pub const SUBJECTS_MAX: usize = 100_000;
/// Strangers with a history: hostile packets must not push nodes out.
pub const STRANGERS_MAX: usize = 1_024;
/// Events of strangers that are written to the log in one second; all others are counted. Any machine on the
/// wire can send packets under as many names as it likes, and the log must not fill the disk that the tables
/// are on.
pub const STRANGERS_LOGGED_PER_SECOND_MAX: u32 = 50;
/// Events of one stranger that are written to the log in one second.
pub const STRANGER_LOGGED_PER_SECOND_MAX: u32 = 10;
/// Events of all nodes that are written to the log in one second.
pub const NODES_LOGGED_PER_SECOND_MAX: u32 = 20_000;
/// Events of one node that are written to the log in one second: a boot has fewer, and a process on a node
/// can ask for missing files at any rate.
pub const NODE_LOGGED_PER_SECOND_MAX: u32 = 20;
/// Of the latest events one in so many may be a stranger's while nodes have events to show.
const STRANGERS_SHARE: usize = 4;
/// When there are too many subjects, one in so many leaves at once: to look for the oldest costs a look at
/// all, and hostile packets can make each event one of a new subject.
const EVICTED_PART: usize = 64;
/// Length of the free text of one event, in bytes.
pub const DETAIL_BYTES_MAX: usize = 256;

/// Now, as events have it: milliseconds since 1970.
#[must_use]
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A step of a boot, in the order in which a machine takes them; the last ones may come at
/// any time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// DHCP DISCOVER of a known machine.
    Discover,
    /// DHCP OFFER sent.
    Offer,
    /// DHCP ACK sent: the machine has its address.
    Ack,
    /// First file by TFTP or UEFI HTTP Boot: iPXE, GRUB or shim.
    Loader,
    /// Boot script or configuration rendered from the plan.
    Script,
    /// Kernel fetched.
    Kernel,
    /// Initial RAM file system fetched.
    Initrd,
    /// Root image fetched, or NFS root mounted.
    Root,
    /// `/init` reported that it runs.
    Init,
    /// The node reported that its system is up and runs its post scripts, or that one of them ended well.
    Post,
    /// The node reported that its system is up.
    Booted,
    /// Another status word of the node (`installstatus …`).
    Status,
    /// Any other file.
    File,
    /// A request that was refused; the detail says why.
    Refused,
    /// A request for something that does not exist.
    Missing,
    /// A machine that the tables do not know.
    Unknown,
    /// Something went wrong on our side or on the wire.
    Trouble,
}

impl Step {
    /// Its name in lists and labels.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Discover => "discover",
            Self::Offer => "offer",
            Self::Ack => "ack",
            Self::Loader => "loader",
            Self::Script => "script",
            Self::Kernel => "kernel",
            Self::Initrd => "initrd",
            Self::Root => "root",
            Self::Init => "init",
            Self::Post => "post",
            Self::Booted => "booted",
            Self::Status => "status",
            Self::File => "file",
            Self::Refused => "refused",
            Self::Missing => "missing",
            Self::Unknown => "unknown",
            Self::Trouble => "trouble",
        }
    }
}

/// One thing that one machine did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Milliseconds since the Unix epoch at which the step was finished.
    pub time_ms: u64,
    /// Node name, or the MAC or address of a stranger.
    pub node: String,
    /// What was done.
    pub step: Step,
    /// Bytes that were sent for it; 0 if it does not apply.
    pub bytes: u64,
    /// How long it took, in milliseconds; 0 if it does not apply.
    pub duration_ms: u64,
    /// File, address or reason; at most [`DETAIL_BYTES_MAX`] bytes.
    pub detail: String,
}

/// Who did it: strangers are counted apart, so that they cannot displace nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject<'a> {
    /// A node of the tables.
    Node(&'a str),
    /// A machine by its MAC or IP address.
    Stranger(&'a str),
}

/// How often a step was taken since the daemon started, and what it took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Total {
    /// Events.
    pub count: u64,
    /// Bytes that were sent.
    pub bytes: u64,
    /// Milliseconds.
    pub duration_ms: u64,
}

/// Collects events and keeps the latest of each subject.
#[derive(Debug, Default)]
pub struct Bus {
    inner: Arc<Mutex<Histories>>,
    /// What is written to disk.
    file: Option<SyncSender<Event>>,
}

#[derive(Debug, Default)]
struct Histories {
    nodes: BTreeMap<String, VecDeque<Event>>,
    strangers: BTreeMap<String, VecDeque<Event>>,
    totals: BTreeMap<(Step, bool), Total>,
    budgets: Budgets,
    waves: Waves,
}

/// How much may still be logged, by the kind of machine.
#[derive(Debug)]
struct Budgets {
    nodes: LogBudget,
    strangers: LogBudget,
}

impl Default for Budgets {
    fn default() -> Self {
        Self {
            nodes: LogBudget::new(NODES_LOGGED_PER_SECOND_MAX, NODE_LOGGED_PER_SECOND_MAX),
            strangers: LogBudget::new(STRANGERS_LOGGED_PER_SECOND_MAX, STRANGER_LOGGED_PER_SECOND_MAX),
        }
    }
}

/// How much of what machines of one kind do may still be logged.
#[derive(Debug)]
struct LogBudget {
    /// Events of all of them in one second.
    all_max: u32,
    /// Events of one of them in one second.
    each_max: u32,
    second: u64,
    spent: u32,
    /// Who spent it; never more than were logged in one second.
    spent_by: BTreeMap<String, u32>,
    silent: u64,
}

/// How one event is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Logged {
    /// Written, after the number of events that were left out before it.
    After(u64),
    /// Left out.
    No,
}

impl LogBudget {
    fn new(all_max: u32, each_max: u32) -> Self {
        Self { all_max, each_max, second: 0, spent: 0, spent_by: BTreeMap::new(), silent: 0 }
    }

    /// Takes one event of a machine out of the budget.
    fn take(&mut self, name: &str, time_ms: u64) -> Logged {
        let second = time_ms / 1000;
        if second != self.second {
            (self.second, self.spent) = (second, 0);
            self.spent_by.clear();
        }
        let own = self.spent_by.get(name).copied().unwrap_or(0);
        if self.spent >= self.all_max || own >= self.each_max {
            self.silent = self.silent.saturating_add(1);
            return Logged::No;
        }
        self.spent += 1;
        self.spent_by.insert(name.to_owned(), own + 1);
        Logged::After(std::mem::take(&mut self.silent))
    }
}

impl Bus {
    /// A bus that begins with the events of the file at `path`, and writes later ones to it. A file that
    /// cannot be read or written is reported in the log: the history begins empty then, or ends with the
    /// daemon.
    #[must_use]
    pub fn open(path: &Path, now_ms: u64) -> Self {
        let mut histories = Histories::default();
        match file::read(path, now_ms) {
            Ok(found) => {
                if found.damaged > 0 {
                    tracing::warn!(path = %path.display(), lines = found.damaged, "damaged events are left out");
                }
                found.events.into_iter().for_each(|event| histories.restore(event));
            }
            Err(error) => tracing::warn!(path = %path.display(), %error, "cannot read events"),
        }
        let inner = Arc::new(Mutex::new(histories));
        // The thread ends with the bus, so it must not keep the histories.
        let (all, count) = (Arc::downgrade(&inner), Arc::downgrade(&inner));
        let latest = Box::new(move |share| {
            all.upgrade().map(|inner| latest_of_nodes(&inner, share)).unwrap_or_default()
        });
        let nodes = Box::new(move || count.upgrade().map_or(0, |inner| lock(&inner).nodes.len()));
        let file = file::start(path.to_owned(), latest, nodes)
            .inspect_err(|error| tracing::warn!(%error, "events are in memory only"))
            .ok();
        Self { inner, file }
    }

    /// Records one event and writes it to the log.
    pub fn publish(
        &self,
        subject: Subject<'_>,
        step: Step,
        time_ms: u64,
        amount: Amount,
        detail: impl Into<String>,
    ) {
        let name = match subject {
            Subject::Node(name) | Subject::Stranger(name) => name,
        };
        let event = Event {
            time_ms,
            node: name.to_owned(),
            step,
            bytes: amount.bytes,
            duration_ms: amount.duration_ms,
            detail: shorten(detail.into()),
        };
        let logged = {
            let budgets = &mut self.lock().budgets;
            match subject {
                Subject::Node(name) => budgets.nodes.take(name, time_ms),
                Subject::Stranger(name) => budgets.strangers.take(name, time_ms),
            }
        };
        // Not under the lock: anyone who reads the log may be slow.
        log(&event, logged);
        let mut histories = self.lock();
        let total = histories.totals.entry((step, matches!(subject, Subject::Node(_)))).or_default();
        total.count += 1;
        total.bytes = total.bytes.saturating_add(event.bytes);
        total.duration_ms = total.duration_ms.saturating_add(event.duration_ms);
        // In the order in which they are in memory; a full queue drops the event instead of delaying the
        // reporter.
        if let (Some(file), Subject::Node(_)) = (&self.file, subject) {
            let _ = file.try_send(event.clone());
        }
        match subject {
            Subject::Node(_) => histories.keep(event),
            Subject::Stranger(_) => keep(&mut histories.strangers, STRANGERS_MAX, event),
        }
    }

    /// The totals since the start, by step, and whether it was a node's or a stranger's.
    #[must_use]
    pub fn totals(&self) -> BTreeMap<(Step, bool), Total> {
        self.lock().totals.clone()
    }

    /// Events of one node or stranger, oldest first.
    #[must_use]
    pub fn of(&self, name: &str) -> Vec<Event> {
        let histories = self.lock();
        let history = histories.nodes.get(name).or_else(|| histories.strangers.get(name));
        history.map(|events| events.iter().cloned().collect()).unwrap_or_default()
    }

    /// Whether a node has reported that its system is up, and, by its events, has not begun to boot since.
    #[must_use]
    pub fn is_up(&self, node: &str) -> bool {
        let boots = |step| matches!(step, Step::Script | Step::Kernel | Step::Initrd | Step::Init);
        let histories = self.lock();
        let mut steps = histories.nodes.get(node).into_iter().flatten().rev().map(|event| event.step);
        let latest = steps.find(|step| matches!(step, Step::Booted | Step::Post) || boots(*step));
        latest.is_some_and(|step| !boots(step))
    }

    /// The latest `count` events of all subjects, oldest first.
    #[must_use]
    pub fn latest(&self, count: usize) -> Vec<Event> {
        let histories = self.lock();
        let mut events = newest(histories.nodes.values().flatten(), count);
        let room = count.saturating_sub(events.len()).max(count / STRANGERS_SHARE).max(1);
        let mut strangers = fairly(&histories.strangers, room);
        // If only a few events are asked for, none are set aside for strangers: the latest are shown.
        if count >= STRANGERS_SHARE {
            events.drain(..(events.len() + strangers.len()).saturating_sub(count));
        }
        events.append(&mut strangers);
        events.sort_by_key(|event| event.time_ms);
        events.drain(..events.len().saturating_sub(count));
        events
    }

    /// The latest waves of boots, oldest first, as far as `sees` lets nodes be seen. Times are those of
    /// `now_ms`.
    pub fn waves(&self, now_ms: u64, sees: &dyn Fn(&str) -> bool) -> Vec<WaveReport> {
        self.lock().waves.reports(now_ms, sees)
    }

    fn lock(&self) -> MutexGuard<'_, Histories> {
        lock(&self.inner)
    }
}

impl Histories {
    /// Takes an event of a node.
    fn keep(&mut self, event: Event) {
        self.waves.take(&event, self.nodes.len());
        keep(&mut self.nodes, SUBJECTS_MAX, event);
    }

    /// Takes an event of the file; one that was written twice counts once.
    fn restore(&mut self, event: Event) {
        let known = self.nodes.get(&event.node).is_some_and(|history| history.contains(&event));
        if !known {
            self.keep(event);
        }
    }
}

fn lock(inner: &Mutex<Histories>) -> MutexGuard<'_, Histories> {
    inner.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The latest `share` events of each node. The lock is taken for one node at a time.
fn latest_of_nodes(inner: &Mutex<Histories>, share: usize) -> Vec<Event> {
    let names: Vec<String> = lock(inner).nodes.keys().cloned().collect();
    let of = |name: &String| -> Vec<Event> {
        let histories = lock(inner);
        let history = histories.nodes.get(name);
        history.into_iter().flat_map(|all| all.range(all.len().saturating_sub(share)..)).cloned().collect()
    };
    names.iter().flat_map(of).collect()
}

/// The latest `count` events, oldest first, of which no subject has more than others that have as many.
fn fairly(histories: &BTreeMap<String, VecDeque<Event>>, count: usize) -> Vec<Event> {
    let mut lengths: Vec<usize> = histories.values().map(VecDeque::len).collect();
    lengths.sort_unstable();
    let (mut left, mut share) = (count, 1);
    for (number, length) in lengths.iter().enumerate() {
        share = (left / (lengths.len() - number)).max(1);
        if *length > share {
            break;
        }
        share = *length;
        left = left.saturating_sub(*length);
    }
    let latest = |history: &'_ VecDeque<Event>| history.len().saturating_sub(share);
    newest(histories.values().flat_map(|history| history.range(latest(history)..)), count)
}

/// The latest `count` of these events, oldest first.
fn newest<'a>(events: impl Iterator<Item = &'a Event>, count: usize) -> Vec<Event> {
    let mut events: Vec<&Event> = events.collect();
    events.sort_by_key(|event| event.time_ms);
    events.drain(..events.len().saturating_sub(count));
    events.into_iter().cloned().collect()
}

/// Size and duration of a step; `Amount::default()` where neither means anything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amount {
    /// Bytes sent.
    pub bytes: u64,
    /// Milliseconds taken.
    pub duration_ms: u64,
}

fn log(event: &Event, logged: Logged) {
    let Logged::After(left_out) = logged else { return };
    if left_out > 0 {
        tracing::warn!(target: "dawn::event", "{left_out} events were not logged: their machines had too many in one second");
    }
    let Event { node, step, bytes, detail, .. } = event;
    tracing::info!(target: "dawn::event", node, step = ?step, bytes, "{detail}");
}

fn keep(histories: &mut BTreeMap<String, VecDeque<Event>>, subjects_max: usize, event: Event) {
    if !histories.contains_key(&event.node) && histories.len() >= subjects_max {
        make_room(histories, (subjects_max / EVICTED_PART).max(1));
    }
    let history = histories.entry(event.node.clone()).or_default();
    if history.len() >= EVENTS_PER_SUBJECT_MAX {
        history.pop_front();
    }
    history.push_back(event);
}

/// Removes the histories of the `count` subjects without events for the longest time.
fn make_room(histories: &mut BTreeMap<String, VecDeque<Event>>, count: usize) {
    let latest = |events: &VecDeque<Event>| events.back().map_or(0, |event| event.time_ms);
    let mut times: Vec<u64> = histories.values().map(latest).collect();
    if count == 0 || times.len() < count {
        return;
    }
    let (older, limit, _) = times.select_nth_unstable(count - 1);
    let mut ties = count - older.iter().filter(|time| *time < limit).count();
    let limit = *limit;
    histories.retain(|_, events| {
        let tie = latest(events) == limit && ties > 0;
        ties -= usize::from(tie);
        latest(events) >= limit && !tie
    });
}

fn shorten(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(DETAIL_BYTES_MAX));
    text
}

/// The last boot in a history: everything since the first DISCOVER that no later boot
/// step precedes. `events` are one node's, oldest first.
#[must_use]
pub fn last_boot(events: &[Event]) -> &[Event] {
    let mut start = 0;
    let mut beyond_discover = false;
    for (index, event) in events.iter().enumerate() {
        match event.step {
            Step::Discover if beyond_discover => {
                start = index;
                beyond_discover = false;
            }
            Step::Root | Step::Init | Step::Post | Step::Booted => beyond_discover = true,
            _ => {}
        }
    }
    events.get(start..).unwrap_or_default()
}

/// For fuzzers: a file of events with any damage. What is read is written and read again as the
/// same.
///
/// # Panics
/// When a record comes out that was not in the file.
pub fn fuzz_journal(data: &[u8]) {
    if let Ok(found) = file::read_from(data, 0) {
        let lines: String = found.events.iter().filter_map(file::render).collect();
        let again = file::read_from(lines.as_bytes(), 0).unwrap_or_default();
        assert_eq!((again.events, again.damaged), (found.events, 0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publish(bus: &Bus, subject: Subject<'_>, step: Step, time_ms: u64) {
        bus.publish(subject, step, time_ms, Amount::default(), "");
    }

    #[test]
    fn strangers_do_not_fill_the_log() {
        let Budgets { strangers: mut budget, nodes: mut of_nodes } = Budgets::default();
        let mut written = |time_ms: u64, count: u32| -> Vec<Logged> {
            let names = (0..count).map(|n| n.to_string());
            names.map(|name| budget.take(&name, time_ms)).filter(|logged| *logged != Logged::No).collect()
        };
        let max = usize::try_from(STRANGERS_LOGGED_PER_SECOND_MAX).unwrap();
        assert_eq!(written(5_000, 1_000).len(), max);
        assert_eq!(written(5_999, 1_000).len(), 0);
        let after = 2_000 - u64::from(STRANGERS_LOGGED_PER_SECOND_MAX);
        assert_eq!(written(6_000, 2), [Logged::After(after), Logged::After(0)]);
        let loud = (0..100).filter(|_| budget.take("loud", 7_000) != Logged::No).count();
        assert_eq!(loud, usize::try_from(STRANGER_LOGGED_PER_SECOND_MAX).unwrap());
        assert_eq!(budget.take("quiet", 7_000), Logged::After(90));
        let loud = (0..100).filter(|_| of_nodes.take("cn1", 7_000) != Logged::No).count();
        assert_eq!(loud, usize::try_from(NODE_LOGGED_PER_SECOND_MAX).unwrap());
        assert_eq!(of_nodes.take("cn2", 7_000), Logged::After(80));
    }

    #[test]
    fn one_stranger_does_not_displace_others() {
        let bus = Bus::default();
        for time in 0..20 {
            publish(&bus, Subject::Stranger("quiet"), Step::Unknown, time);
        }
        publish(&bus, Subject::Stranger("single"), Step::Unknown, 20);
        for time in 100..400 {
            publish(&bus, Subject::Stranger("loud"), Step::Unknown, time);
            publish(&bus, Subject::Node("cn1"), Step::File, time);
        }
        let of = |name: &str, count| bus.latest(count).iter().filter(|event| event.node == name).count();
        let all = |count| ["cn1", "loud", "quiet", "single"].map(|name| of(name, count));
        assert_eq!(all(100), [75, 12, 12, 1]);
        assert_eq!(all(200), [150, 29, 20, 1]);
        assert_eq!(all(4), [3, 1, 0, 0]);
    }

    #[test]
    fn a_history_is_bounded_and_keeps_the_latest() {
        let bus = Bus::default();
        for time in 0..EVENTS_PER_SUBJECT_MAX as u64 + 5 {
            publish(&bus, Subject::Node("cn1"), Step::File, time);
        }
        let events = bus.of("cn1");
        assert_eq!(events.len(), EVENTS_PER_SUBJECT_MAX);
        assert_eq!(events[0].time_ms, 5);
    }

    #[test]
    fn those_silent_for_longest_make_room() {
        for (count, left) in [(0, "a b c d e"), (1, "a c d e"), (2, "c d e"), (3, "d e"), (9, "a b c d e")] {
            let mut histories = BTreeMap::new();
            for (name, time_ms) in [("a", 2), ("b", 1), ("c", 2), ("d", 2), ("e", 3)] {
                let event = Event {
                    time_ms,
                    node: name.to_owned(),
                    step: Step::Unknown,
                    bytes: 0,
                    duration_ms: 0,
                    detail: String::new(),
                };
                keep(&mut histories, SUBJECTS_MAX, event);
            }
            make_room(&mut histories, count);
            assert_eq!(histories.into_keys().collect::<Vec<_>>().join(" "), left, "{count}");
        }
    }

    #[test]
    fn strangers_do_not_displace_nodes() {
        let bus = Bus::default();
        publish(&bus, Subject::Node("cn1"), Step::Discover, 1);
        for n in 0..STRANGERS_MAX + 10 {
            publish(&bus, Subject::Stranger(&format!("10.0.{}.{}", n / 256, n % 256)), Step::Unknown, 2);
        }
        assert_eq!(bus.of("cn1").len(), 1);
        let strangers = bus.lock().strangers.len();
        assert!((STRANGERS_MAX / 2..=STRANGERS_MAX).contains(&strangers), "{strangers}");
        let latest = bus.latest(100);
        assert_eq!((latest.len(), latest.first().map(|event| &*event.node)), (100, Some("cn1")));
        for time in 0..200 {
            publish(&bus, Subject::Node("cn2"), Step::File, time);
        }
        let newest = |count: usize| {
            bus.latest(count).iter().map(|event| event.node.clone()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(newest(2), "cn2 cn2");
        for n in 0..100 {
            publish(&bus, Subject::Stranger(&format!("10.1.0.{n}")), Step::Unknown, 300 + n);
        }
        assert_eq!(newest(1), "10.1.0.99");
        assert_eq!(newest(3), "cn2 cn2 10.1.0.99");
        let nodes = bus.latest(100).iter().filter(|event| event.node == "cn2").count();
        assert_eq!(nodes, 75);
    }

    #[test]
    fn the_last_boot_begins_at_its_own_discover() {
        let bus = Bus::default();
        // Firmware and iPXE both discover within one boot.
        let steps = [
            Step::Discover,
            Step::Loader,
            Step::Discover,
            Step::Init,
            Step::Booted,
            Step::Discover,
            Step::Offer,
        ];
        for (time, step) in steps.into_iter().enumerate() {
            publish(&bus, Subject::Node("cn1"), step, time as u64);
        }
        let events = bus.of("cn1");
        assert_eq!(last_boot(&events).first().map(|event| event.time_ms), Some(5));
        assert_eq!(last_boot(&events[..5]).first().map(|event| event.time_ms), Some(0));
    }

    #[test]
    fn detail_is_cut_at_a_character() {
        let text = shorten("é".repeat(DETAIL_BYTES_MAX));
        assert!(text.len() <= DETAIL_BYTES_MAX);
    }
}
