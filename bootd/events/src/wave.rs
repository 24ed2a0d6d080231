//! Waves: many nodes that boot at about the same time, looked at as one.
//!
//! Each node that begins to boot is remembered for a minute. When enough nodes are, they are a wave, which
//! takes in the nodes that follow until none has for a minute, and ends when all are up, or after an hour.
//! Everything is computed from the events, so that the events of the file bring the waves back.

use crate::{Event, Step};
use serde::Serialize;
use std::collections::{BTreeMap, VecDeque};

/// Fewest nodes of a wave.
const NODES_MIN: usize = 10;
/// And one in so many of the nodes with a history.
const NODES_PART: usize = 200;
/// Nodes that begin within this time of each other, in milliseconds, boot together.
const TOGETHER_MS: u64 = 60_000;
/// A wave in which not all nodes come up ends after this time, in milliseconds.
const WAVE_MS_MAX: u64 = 3_600_000;
/// Waves that are kept; the oldest is dropped first.
pub const WAVES_MAX: usize = 8;
/// Nodes that a report names.
pub const NODES_NAMED_MAX: usize = 50;
/// The steps of a boot that are counted, in their order.
const STAGES: [Step; 10] = [
    Step::Discover,
    Step::Offer,
    Step::Ack,
    Step::Loader,
    Step::Script,
    Step::Kernel,
    Step::Initrd,
    Step::Root,
    Step::Init,
    Step::Booted,
];

/// One node's boot.
#[derive(Debug, Clone)]
struct Boot {
    began_ms: u64,
    /// Milliseconds from `began_ms` to each stage, as far as it came.
    reached: [Option<u32>; STAGES.len()],
    attempts: u32,
    last_ms: u64,
}

impl Boot {
    fn begin(now_ms: u64) -> Self {
        Self { began_ms: now_ms, reached: [None; STAGES.len()], attempts: 1, last_ms: now_ms }
    }

    fn has(&self, step: Step) -> bool {
        place(step).and_then(|at| self.reached.get(at).copied().flatten()).is_some()
    }

    /// Takes the first arrival at each stage. A node that asks for an address after it had its root has begun
    /// again; its time still counts from its first beginning.
    fn take(&mut self, step: Step, now_ms: u64) {
        if self.has(Step::Booted) {
            return;
        }
        if step == Step::Discover && (self.has(Step::Root) || self.has(Step::Init)) {
            self.attempts = self.attempts.saturating_add(1);
            self.reached = [None; STAGES.len()];
        }
        self.last_ms = now_ms.max(self.last_ms);
        let after = u32::try_from(now_ms.saturating_sub(self.began_ms)).unwrap_or(u32::MAX);
        if let Some(slot) = place(step).and_then(|at| self.reached.get_mut(at)) {
            slot.get_or_insert(after);
        }
    }

    /// The stage it has come to.
    fn stage(&self) -> Option<Step> {
        STAGES.iter().zip(&self.reached).rev().find_map(|(step, at)| at.is_some().then_some(*step))
    }
}

fn place(step: Step) -> Option<usize> {
    STAGES.iter().position(|stage| *stage == step)
}

/// A boot may begin with any of these: another server may have given the address.
fn begins(step: Step) -> bool {
    step <= Step::Kernel
}

/// Nodes that boot together.
#[derive(Debug, Clone)]
struct Wave {
    number: u64,
    began_ms: u64,
    joined_ms: u64,
    ended_ms: Option<u64>,
    boots: BTreeMap<String, Boot>,
    up: usize,
}

impl Wave {
    fn takes(&self, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.joined_ms) < TOGETHER_MS
    }

    fn take(&mut self, event: &Event) -> bool {
        let Some(boot) = self.boots.get_mut(&event.node) else { return false };
        let was_up = boot.has(Step::Booted);
        boot.take(event.step, event.time_ms);
        self.up += usize::from(!was_up && boot.has(Step::Booted));
        true
    }

    fn is_over(&self, now_ms: u64) -> bool {
        let all_up = self.up == self.boots.len() && !self.takes(now_ms);
        all_up || now_ms.saturating_sub(self.began_ms) > WAVE_MS_MAX
    }

    /// When the last node came up, or the time was over.
    fn end_ms(&self) -> u64 {
        match self.up == self.boots.len() {
            true => self.boots.values().map(|boot| boot.last_ms).max().unwrap_or(self.began_ms),
            false => self.began_ms.saturating_add(WAVE_MS_MAX),
        }
    }
}

/// The waves of a daemon.
#[derive(Debug, Default)]
pub(crate) struct Waves {
    /// Boots that began within the last minute, and are of no wave yet.
    recent: BTreeMap<String, Boot>,
    order: VecDeque<(u64, String)>,
    waves: VecDeque<Wave>,
    count: u64,
}

impl Waves {
    /// Takes an event of a node. `nodes` have a history.
    pub(crate) fn take(&mut self, event: &Event, nodes: usize) {
        let now_ms = event.time_ms;
        self.forget(now_ms);
        if let Some(open) = self.open(now_ms)
            && open.take(event)
        {
            return;
        }
        if let Some(boot) = self.recent.get_mut(&event.node) {
            return boot.take(event.step, now_ms);
        }
        if !begins(event.step) {
            return;
        }
        let mut boot = Boot::begin(now_ms);
        boot.take(event.step, now_ms);
        if let Some(open) = self.open(now_ms).filter(|open| open.takes(now_ms)) {
            open.joined_ms = now_ms;
            open.boots.insert(event.node.clone(), boot);
            return;
        }
        self.order.push_back((now_ms, event.node.clone()));
        self.recent.insert(event.node.clone(), boot);
        if self.recent.len() >= NODES_MIN.max(nodes / NODES_PART) {
            self.begin(now_ms);
        }
    }

    /// Forgets beginnings that are older than a minute.
    fn forget(&mut self, now_ms: u64) {
        while let Some((_, name)) =
            self.order.pop_front_if(|(began, _)| now_ms.saturating_sub(*began) >= TOGETHER_MS)
        {
            self.recent.remove(&name);
        }
    }

    /// The current wave, if there is one.
    fn open(&mut self, now_ms: u64) -> Option<&mut Wave> {
        let latest = self.waves.back_mut()?;
        if latest.ended_ms.is_none() && latest.is_over(now_ms) {
            latest.ended_ms = Some(latest.end_ms());
        }
        latest.ended_ms.is_none().then_some(latest)
    }

    fn begin(&mut self, now_ms: u64) {
        // A wave that some nodes never left does not keep others from being one.
        if let Some(before) = self.waves.back_mut().filter(|wave| wave.ended_ms.is_none()) {
            before.ended_ms = Some(now_ms);
        }
        self.order.clear();
        let boots = std::mem::take(&mut self.recent);
        let began_ms = boots.values().map(|boot| boot.began_ms).min().unwrap_or(now_ms);
        let up = boots.values().filter(|boot| boot.has(Step::Booted)).count();
        self.count += 1;
        let wave = Wave { number: self.count, began_ms, joined_ms: now_ms, ended_ms: None, boots, up };
        self.waves.push_back(wave);
        if self.waves.len() > WAVES_MAX {
            self.waves.pop_front();
        }
    }

    /// Each wave, the oldest first, with the nodes that `sees` allows.
    pub(crate) fn reports(&mut self, now_ms: u64, sees: &dyn Fn(&str) -> bool) -> Vec<WaveReport> {
        self.open(now_ms);
        self.waves.iter().map(|wave| report(wave, sees)).filter(|wave| wave.nodes > 0).collect()
    }
}

/// What is known of a wave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WaveReport {
    /// Its number, from 1, in the order in which waves began.
    pub number: u64,
    /// Milliseconds since 1970 at which its first node began.
    pub began_ms: u64,
    /// When its last node came up, or it was given up; nothing while the wave lasts.
    pub ended_ms: Option<u64>,
    /// Nodes that are part of it.
    pub nodes: usize,
    /// Those that are up.
    pub booted: usize,
    /// Stages that at least one node came to, in the order of a boot.
    pub stages: Vec<StageReport>,
    /// Nodes that are not up, those without events for the longest time first; at most [`NODES_NAMED_MAX`].
    pub waiting: Vec<NodeReport>,
}

/// When the nodes of a wave came to a stage, in milliseconds since each one's beginning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StageReport {
    /// The stage.
    pub step: Step,
    /// Nodes that came to it.
    pub nodes: usize,
    /// Half of them were there by then.
    pub median_ms: u32,
    /// 95 of 100 were.
    pub most_ms: u32,
    /// The last one.
    pub slowest_ms: u32,
}

/// A node that is not up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodeReport {
    /// Its name.
    pub node: String,
    /// The stage it has come to.
    pub step: Option<Step>,
    /// When it did something that boots do, in milliseconds since 1970.
    pub last_ms: u64,
    /// How often it began.
    pub attempts: u32,
}

fn report(wave: &Wave, sees: &dyn Fn(&str) -> bool) -> WaveReport {
    let boots: Vec<(&String, &Boot)> = wave.boots.iter().filter(|(name, _)| sees(name)).collect();
    let is_up = |boot: &Boot| boot.has(Step::Booted);
    let mut waiting: Vec<NodeReport> = boots
        .iter()
        .filter(|(_, boot)| !is_up(boot))
        .map(|(name, boot)| NodeReport {
            node: (*name).clone(),
            step: boot.stage(),
            last_ms: boot.last_ms,
            attempts: boot.attempts,
        })
        .collect();
    waiting.sort_by_key(|node| node.last_ms);
    waiting.truncate(NODES_NAMED_MAX);
    WaveReport {
        number: wave.number,
        began_ms: wave.began_ms,
        ended_ms: wave.ended_ms,
        nodes: boots.len(),
        booted: boots.iter().filter(|(_, boot)| is_up(boot)).count(),
        stages: STAGES.iter().enumerate().filter_map(|(at, step)| stage(&boots, at, *step)).collect(),
        waiting,
    }
}

fn stage(boots: &[(&String, &Boot)], at: usize, step: Step) -> Option<StageReport> {
    let mut times: Vec<u32> =
        boots.iter().filter_map(|(_, boot)| boot.reached.get(at).copied().flatten()).collect();
    times.sort_unstable();
    // The smallest time by which this percentage had arrived.
    let by = |part: usize| times.get((times.len() * part).div_ceil(100).saturating_sub(1)).copied();
    Some(StageReport {
        step,
        nodes: times.len(),
        median_ms: by(50)?,
        most_ms: by(95)?,
        slowest_ms: *times.last()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(node: &str, step: Step, time_ms: u64) -> Event {
        Event { time_ms, node: node.to_owned(), step, bytes: 0, duration_ms: 0, detail: String::new() }
    }

    fn boot(waves: &mut Waves, count: u64, start_ms: u64, apart_ms: u64) {
        let steps =
            |n| [(Step::Discover, 0), (Step::Ack, 100), (Step::Kernel, 1_000 + n), (Step::Booted, 20_000)];
        let of =
            |n| steps(n).map(|(step, after)| event(&format!("cn{n}"), step, start_ms + n * apart_ms + after));
        let mut events: Vec<Event> = (0..count).flat_map(of).collect();
        events.sort_by_key(|event| event.time_ms);
        events.iter().for_each(|event| waves.take(event, 100));
    }

    #[test]
    fn nodes_that_boot_together_are_a_wave() {
        let mut waves = Waves::default();
        boot(&mut waves, 100, 5_000, 10);
        let report = waves.reports(200_000, &|_| true).pop().unwrap();
        assert_eq!((report.number, report.nodes, report.booted), (1, 100, 100));
        assert_eq!((report.began_ms, report.ended_ms), (5_000, Some(25_990)));
        let kernel = report.stages.iter().find(|stage| stage.step == Step::Kernel).unwrap();
        let times = (kernel.nodes, kernel.median_ms, kernel.most_ms, kernel.slowest_ms);
        assert_eq!(times, (100, 1_049, 1_094, 1_099));
        assert_eq!(report.waiting, []);
        let seen = waves.reports(200_000, &|name| name == "cn7").pop().unwrap();
        assert_eq!((seen.nodes, seen.booted), (1, 1));
        assert_eq!(waves.reports(200_000, &|_| false), []);
    }

    #[test]
    fn few_nodes_or_slow_ones_are_none() {
        let mut waves = Waves::default();
        boot(&mut waves, 9, 5_000, 10);
        boot(&mut waves, 50, 1_000_000, 6_700);
        assert_eq!(waves.reports(2_000_000, &|_| true), []);
        // One in two hundred of many nodes.
        for n in 0..99 {
            waves.take(&event(&format!("m{n}"), Step::Discover, 3_000_000), 20_000);
        }
        assert_eq!(waves.reports(3_000_000, &|_| true), []);
        waves.take(&event("m99", Step::Discover, 3_000_000), 20_000);
        assert_eq!(waves.reports(3_000_000, &|_| true).len(), 1);
    }

    #[test]
    fn a_node_that_hangs_is_named_and_the_wave_ends_without_it() {
        let mut waves = Waves::default();
        for n in 0..12 {
            waves.take(&event(&format!("cn{n}"), Step::Discover, 1_000), 12);
        }
        for n in 2..12 {
            waves.take(&event(&format!("cn{n}"), Step::Booted, 30_000), 12);
        }
        waves.take(&event("cn0", Step::Kernel, 4_000), 12);
        for (step, time) in [(Step::Root, 9_000), (Step::Discover, 20_000), (Step::Offer, 20_010)] {
            waves.take(&event("cn1", step, time), 12);
        }
        let report = waves.reports(100_000, &|_| true).pop().unwrap();
        assert_eq!((report.booted, report.ended_ms), (10, None));
        let waiting: Vec<_> =
            report.waiting.iter().map(|node| (node.node.as_str(), node.step, node.attempts)).collect();
        assert_eq!(waiting, [("cn0", Some(Step::Kernel), 1), ("cn1", Some(Step::Offer), 2)]);
        let end = 1_000 + WAVE_MS_MAX;
        assert_eq!(waves.reports(end + 1, &|_| true).pop().unwrap().ended_ms, Some(end));
        // A late arrival is of no use to a wave that is over.
        waves.take(&event("cn0", Step::Booted, end + 5), 12);
        assert_eq!(waves.reports(end + 9, &|_| true).pop().unwrap().booted, 10);
    }

    /// With any events in any order, what is kept is bounded and the counts agree.
    #[test]
    fn any_events_in_any_order() {
        let mut state = 1_u64;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let steps = [&STAGES[..], &[Step::Status, Step::Trouble, Step::File]].concat();
        let mut waves = Waves::default();
        let mut now = 0;
        for _ in 0..20_000 {
            now += random(400);
            let step = steps[usize::try_from(random(13)).unwrap()];
            let time = now.saturating_sub(random(2) * random(100_000));
            waves.take(&event(&format!("cn{}", random(40)), step, time), 40);
            assert!(waves.waves.len() <= WAVES_MAX && waves.recent.len() <= 40);
        }
        let reports = waves.reports(now, &|_| true);
        assert!(!reports.is_empty());
        for (wave, report) in waves.waves.iter().zip(&reports) {
            assert_eq!(report.nodes, report.booted + report.waiting.len());
            assert_eq!(report.booted, wave.up);
        }
    }
}
