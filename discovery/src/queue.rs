//! Machines that wait for a person: bounded in number and bytes, one entry a machine, the newest news of it.
//!
//! When it is full, a machine that nothing is known of makes place first, the oldest of them; so a stranger
//! who invents machines displaces invented ones.

use std::time::Duration;

use crate::evidence::{Doubt, Evidence};
use crate::limits::{QUEUE_BYTES_MAX, QUEUE_MAX, WAITING_TIME};
use crate::machine::Machine;

/// A machine that waits.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// Its packet.
    pub machine: Machine,
    /// Why it waits.
    pub doubt: Doubt,
    /// What is known.
    pub evidence: Evidence,
    /// When it came first.
    pub since: Duration,
    /// When it was heard last.
    pub last: Duration,
}

/// The machines that wait for a person.
#[derive(Clone, Debug, Default)]
pub struct Queue {
    waiting: Vec<Waiting>,
    dropped: u64,
}

impl Queue {
    /// All that wait, in the order in which they came.
    pub fn waiting(&self) -> &[Waiting] {
        &self.waiting
    }

    /// Whether the machine waits.
    pub fn has(&self, machine: &Machine) -> bool {
        self.waiting.iter().any(|known| is_same(&known.machine, machine))
    }

    /// How many had to make place.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Adds a machine, or the news of one.
    pub(crate) fn put(&mut self, now: Duration, machine: &Machine, doubt: Doubt, evidence: Evidence) {
        self.waiting.retain(|known| now.saturating_sub(known.last) < WAITING_TIME);
        let machine = machine.clone();
        match self.waiting.iter_mut().find(|known| is_same(&known.machine, &machine)) {
            Some(known) => *known = Waiting { machine, doubt, evidence, since: known.since, last: now },
            None => self.waiting.push(Waiting { machine, doubt, evidence, since: now, last: now }),
        }
        let mut bytes: usize = self.waiting.iter().map(|known| known.machine.bytes()).sum();
        while self.waiting.len() > QUEUE_MAX || (bytes > QUEUE_BYTES_MAX && self.waiting.len() > 1) {
            let first = |is_it: fn(&Doubt) -> bool| self.waiting.iter().position(|known| is_it(&known.doubt));
            let forged = first(|doubt| matches!(doubt, Doubt::ForeignMac(_)));
            let victim = forged.or_else(|| first(|doubt| *doubt == Doubt::NoEvidence));
            bytes -= self.waiting.remove(victim.unwrap_or(0)).machine.bytes();
            self.dropped += 1;
        }
    }

    /// Takes out all machines that are not kept.
    pub fn retain(&mut self, is_kept: impl Fn(&Machine) -> bool) {
        self.waiting.retain(|known| is_kept(&known.machine));
    }

    /// Takes a machine out: it was assigned, approved or rejected.
    pub fn remove(&mut self, machine: &Machine) -> Option<Waiting> {
        let at = self.waiting.iter().position(|known| is_same(&known.machine, machine))?;
        Some(self.waiting.remove(at))
    }
}

/// Two packets are of one machine: they share a MAC, and do not differ in the UUID.
fn is_same(one: &Machine, other: &Machine) -> bool {
    let is_uuid_same = one.uuid.is_empty() || other.uuid.is_empty() || one.uuid == other.uuid;
    is_uuid_same && one.macs().any(|mac| other.macs().any(|their| their == mac))
}
