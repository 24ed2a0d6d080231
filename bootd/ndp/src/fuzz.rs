//! The entry for fuzzers: any bytes go through the engine, with time passing; what it wants sent stays within
//! its limits.

use std::net::Ipv6Addr;
use std::time::Duration;

use crate::engine::{Action, Engine, WAITING_MAX};

/// Each message is: sender, hop limit, length, bytes. Panics when a property does not hold.
pub fn fuzz_messages(mut bytes: &[u8]) {
    let mut engine = Engine::new(Duration::ZERO);
    let mut now = Duration::ZERO;
    while let [sender, hops, length, rest @ ..] = bytes {
        let (message, next) = rest.split_at(usize::from(*length).min(rest.len()));
        let from = match sender {
            0 => Ipv6Addr::UNSPECIFIED,
            other => Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, (*other).into()),
        };
        engine.handle(now, from, *hops, message);
        now += Duration::from_millis(u64::from(*hops));
        let actions = engine.tick(now);
        assert!(actions.len() <= WAITING_MAX + 2);
        let answers = actions.iter().any(|action| *action != Action::Solicit);
        assert!(!(answers && engine.has_router(now)), "answered next to a router");
        assert!(engine.deadline().is_none_or(|at| at > now));
        bytes = next;
    }
}
