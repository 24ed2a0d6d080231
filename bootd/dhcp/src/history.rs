//! The last events of each node and machine, bounded, for `dawn leases` and the node's timeline.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use crate::event::{Event, Observer};
use crate::hwaddr::HwAddr;
use crate::time::Time;

/// Events kept for one machine.
pub const EVENTS_PER_MACHINE_MAX: usize = 64;
/// Machines remembered; the one that was silent longest is forgotten first.
pub const MACHINES_MAX: usize = 16_384;

/// An [`Observer`] that remembers.
#[derive(Debug, Default)]
pub struct History {
    machines: Mutex<Machines>,
}

#[derive(Debug, Default)]
struct Machines {
    by_hw: HashMap<HwAddr, VecDeque<Event>>,
    /// Machines by the time of their last event.
    by_time: BTreeMap<(Time, HwAddr), ()>,
}

impl History {
    /// Events of one machine, oldest first.
    pub fn of(&self, hw: &HwAddr) -> Vec<Event> {
        let machines = self.machines.lock().unwrap_or_else(PoisonError::into_inner);
        machines.by_hw.get(hw).into_iter().flatten().cloned().collect()
    }

    /// Events of a node over all its interfaces, oldest first.
    pub fn of_node(&self, node: &str) -> Vec<Event> {
        let machines = self.machines.lock().unwrap_or_else(PoisonError::into_inner);
        let all = machines.by_hw.values().flatten();
        let mut events: Vec<Event> =
            all.filter(|event| event.node.as_deref() == Some(node)).cloned().collect();
        events.sort_by_key(|event| event.at);
        events
    }
}

impl Observer for History {
    fn event(&self, event: &Event) {
        let Some(hw) = event.hw else { return };
        self.machines.lock().unwrap_or_else(PoisonError::into_inner).note(hw, event);
    }
}

impl Machines {
    fn note(&mut self, hw: HwAddr, event: &Event) {
        let events = self.by_hw.entry(hw).or_default();
        if let Some(last) = events.back() {
            self.by_time.remove(&(last.at, hw));
        }
        if events.len() >= EVENTS_PER_MACHINE_MAX {
            events.pop_front();
        }
        events.push_back(event.clone());
        self.by_time.insert((event.at, hw), ());
        if self.by_hw.len() > MACHINES_MAX
            && let Some(((_, silent), ())) = self.by_time.pop_first()
        {
            self.by_hw.remove(&silent);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::What;

    #[test]
    fn both_bounds_hold() {
        let history = History::default();
        let hw = |n: usize| HwAddr::new(1, &n.to_be_bytes()).unwrap();
        for n in 0..MACHINES_MAX + 10 {
            history.event(&Event { hw: Some(hw(n)), ..Event::of_server(Time::from_millis(5), What::Ack) });
        }
        for ms in 0..100 {
            let event =
                Event { hw: Some(hw(20)), ..Event::of_server(Time::from_millis(100 + ms), What::Ack) };
            history.event(&event);
        }
        assert!(history.machines.lock().unwrap().by_hw.len() <= MACHINES_MAX);
        assert_eq!(history.of(&hw(20)).len(), EVENTS_PER_MACHINE_MAX);
        assert_eq!(history.of(&hw(20)).last().unwrap().at, Time::from_millis(199));
    }
}
