//! Places against a simple model: a list, searched from its beginning at every step.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;

use dawn_serving::shares::{Kind, Limit, OnlyLocal, Place, Places, source_of};

const LIMIT: Limit = Limit { total: 20, per_stranger: 3, per_source: 5, local: 4 };

#[derive(Clone, Debug)]
enum Step {
    Enter(Kind, IpAddr),
    Keep(usize),
    Rest(usize),
    Leave(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let address = (0_u8..6, any::<bool>()).prop_map(|(host, v6)| match v6 {
        true => IpAddr::from([0xfd00, 0, 0, u16::from(host), 0, 0, 0, 1]),
        false => IpAddr::from([10, 0, 0, host]),
    });
    let enter = (proptest::sample::select(Kind::ALL.to_vec()), address);
    let step = prop_oneof![
        4 => enter.prop_map(|(kind, ip)| Step::Enter(kind, ip)),
        2 => any::<usize>().prop_map(Step::Keep),
        2 => any::<usize>().prop_map(Step::Rest),
        1 => any::<usize>().prop_map(Step::Leave),
    ];
    prop::collection::vec(step, 0..200)
}

#[derive(Debug)]
struct Holder {
    name: usize,
    kind: Kind,
    source: IpAddr,
    at_work: bool,
}

/// Holders; of those that are not at work, the one that has been idle longest comes first.
#[derive(Default)]
struct Model {
    holders: Vec<Holder>,
    sent_away: Vec<usize>,
}

impl Model {
    fn enter(&mut self, name: usize, kind: Kind, ip: IpAddr) -> bool {
        let source = source_of(ip);
        let of_source = match kind {
            Kind::Stranger => LIMIT.per_stranger,
            Kind::Local => LIMIT.local,
            Kind::Node | Kind::Certificate => LIMIT.per_source,
        };
        let own = |holder: &Holder| holder.source == source;
        if self.holders.iter().filter(|holder| own(holder)).count() >= of_source {
            if !self.send_away(own) {
                return false;
            }
        } else if self.holders.len() >= kind.part_of(LIMIT.total) {
            let mut kinds = Kind::ALL.into_iter().filter(|other| *other <= kind);
            if !kinds.any(|least| self.send_away(|holder| holder.kind == least)) {
                return false;
            }
        }
        self.holders.push(Holder { name, kind, source, at_work: false });
        true
    }

    fn send_away(&mut self, may_go: impl Fn(&Holder) -> bool) -> bool {
        let idlest = self.holders.iter().position(|holder| !holder.at_work && may_go(holder));
        self.sent_away.extend(idlest.map(|at| self.holders.remove(at).name));
        idlest.is_some()
    }

    fn set(&mut self, name: usize, at_work: bool) {
        let Some(at) = self.holders.iter().position(|holder| holder.name == name) else { return };
        let holder = self.holders.remove(at);
        self.holders.push(Holder { at_work, ..holder });
    }
}

proptest! {
    #[test]
    fn the_same_holders_are_let_in_and_sent_away(steps in steps()) {
        let places = Places::new(LIMIT, Arc::new(OnlyLocal));
        let sent_away = Arc::new(Mutex::new(Vec::new()));
        let mut model = Model::default();
        // Those that were sent away still have theirs, until they leave: it counts no more.
        let mut held: Vec<(usize, Place)> = Vec::new();
        for (name, step) in steps.into_iter().enumerate() {
            match step {
                Step::Enter(kind, ip) => {
                    let log = Arc::clone(&sent_away);
                    let place = places.enter_as(kind, ip, move || log.lock().unwrap().push(name));
                    prop_assert_eq!(place.is_some(), model.enter(name, kind, ip));
                    held.extend(place.map(|place| (name, place)));
                }
                _ if held.is_empty() => {}
                Step::Keep(which) => {
                    let (name, place) = &held[which % held.len()];
                    place.keep();
                    model.set(*name, true);
                }
                Step::Rest(which) => {
                    let (name, place) = &held[which % held.len()];
                    place.rest();
                    model.set(*name, false);
                }
                Step::Leave(which) => {
                    let (name, place) = held.swap_remove(which % held.len());
                    drop(place);
                    model.holders.retain(|holder| holder.name != name);
                }
            }
            prop_assert_eq!(&*sent_away.lock().unwrap(), &model.sent_away);
            prop_assert_eq!(places.held(), model.holders.len());
        }
        drop(held);
        prop_assert_eq!(places.held(), 0);
    }
}
