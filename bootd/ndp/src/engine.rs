//! One link: who asked, who is a router, and what is answered when. No socket and no clock.
//!
//! A machine that names its link address is answered alone, a short and varied moment later (RFC 4861 §6.2.6
//! wants up to half a second). When many ask at once, or a machine without an address asks, one advertisement
//! goes to all, at most once every [`MULTICAST_GAP`].

use std::collections::VecDeque;
use std::net::Ipv6Addr;
use std::time::Duration;

use crate::wire::Message;

/// How long the engine looks for routers before its first answer: two solicitations of its own, and the time
/// a router may take to answer with a multicast (MIN_DELAY_BETWEEN_RAS and MAX_RA_DELAY_TIME of RFC 4861
/// §10).
pub const LISTEN: Duration = Duration::from_secs(4);
/// Between those solicitations.
pub const SOLICIT_GAP: Duration = Duration::from_millis(400);
/// How many there are.
pub const SOLICITATIONS: u32 = 2;
/// For how long a router is believed at least: the longest gap between two unsolicited advertisements
/// (§6.2.1).
pub const ROUTER_MEMORY_MIN: Duration = Duration::from_secs(1800);
/// Shortest and longest wait of an answer; RFC 4861 allows 0 to 500 ms.
pub const ANSWER_DELAY_MS: std::ops::Range<u64> = 20..120;
/// Least time between two answers to all (MIN_DELAY_BETWEEN_RAS).
pub const MULTICAST_GAP: Duration = Duration::from_secs(3);
/// Machines that may wait for separate answers; with one more, all get a common answer.
pub const WAITING_MAX: usize = 64;

/// What to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// A solicitation of our own.
    Solicit,
    /// "No router here", to one machine.
    Answer {
        /// Its Ethernet address.
        mac: [u8; 6],
        /// Its link-local address.
        address: Ipv6Addr,
    },
    /// The same to all.
    AnswerAll,
}

/// Plain counts since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets that were not a valid solicitation or advertisement.
    pub malformed: u64,
    /// Solicitations that were left to a router.
    pub left_to_router: u64,
}

/// The engine of one link.
#[derive(Debug)]
pub struct Engine {
    answers_from: Duration,
    solicit_at: Option<Duration>,
    solicited: u32,
    router_until: Option<Duration>,
    waiting: VecDeque<(Duration, [u8; 6], Ipv6Addr)>,
    all_at: Option<Duration>,
    all_sent: Option<Duration>,
    counters: Counters,
}

impl Engine {
    /// An engine that begins to look for routers at `now`.
    pub fn new(now: Duration) -> Self {
        Self {
            answers_from: now + LISTEN,
            solicit_at: Some(now),
            solicited: 0,
            router_until: None,
            waiting: VecDeque::new(),
            all_at: None,
            all_sent: None,
            counters: Counters::default(),
        }
    }

    /// Takes an ICMPv6 message.
    pub fn handle(&mut self, now: Duration, from: Ipv6Addr, hop_limit: u8, bytes: &[u8]) {
        match Message::parse(from, hop_limit, bytes) {
            Some(Message::Solicitation { mac }) => self.solicitation(now, from, mac),
            Some(Message::Advertisement { lifetime_s, configures }) => {
                if lifetime_s > 0 || configures {
                    self.router(now + Duration::from_secs(lifetime_s.into()).max(ROUTER_MEMORY_MIN));
                }
            }
            None => self.counters.malformed += 1,
        }
    }

    /// Whether a router is known on the link.
    pub fn has_router(&self, now: Duration) -> bool {
        self.router_until.is_some_and(|until| until > now)
    }

    /// When [`Engine::tick`] has something to do.
    pub fn deadline(&self) -> Option<Duration> {
        let first = self.waiting.front().map(|(at, ..)| *at);
        [self.solicit_at, first, self.all_at].into_iter().flatten().min()
    }

    /// What is due at `now`.
    pub fn tick(&mut self, now: Duration) -> Vec<Action> {
        let mut actions = Vec::new();
        if self.solicit_at.is_some_and(|at| at <= now) {
            self.solicited += 1;
            self.solicit_at = (self.solicited < SOLICITATIONS).then_some(now + SOLICIT_GAP);
            actions.push(Action::Solicit);
        }
        while let Some((_, mac, address)) = self.waiting.pop_front_if(|(at, ..)| *at <= now) {
            actions.push(Action::Answer { mac, address });
        }
        if self.all_at.is_some_and(|at| at <= now) {
            (self.all_at, self.all_sent) = (None, Some(now));
            actions.push(Action::AnswerAll);
        }
        actions
    }

    /// Plain counts.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// There is a router: pending solicitations are left to it.
    fn router(&mut self, until: Duration) {
        self.router_until = self.router_until.max(Some(until));
        self.waiting.clear();
        self.all_at = None;
    }

    fn solicitation(&mut self, now: Duration, from: Ipv6Addr, mac: Option<[u8; 6]>) {
        if self.has_router(now) {
            self.counters.left_to_router += 1;
            return;
        }
        let delay = Duration::from_millis(delay_ms(from));
        // While we look for routers, an answer waits until we know.
        let at = (now + delay).max(self.answers_from);
        let known = self.waiting.iter().any(|(_, _, address)| *address == from);
        match mac {
            _ if known || self.all_at.is_some_and(|all| all <= at) => {}
            Some(mac) if self.waiting.len() < WAITING_MAX => {
                let place = self.waiting.partition_point(|(other, ..)| *other <= at);
                self.waiting.insert(place, (at, mac, from));
            }
            _ => {
                let gap_over = self.all_sent.map_or(at, |sent| sent + MULTICAST_GAP);
                self.all_at = Some(self.all_at.unwrap_or(at.max(gap_over)));
            }
        }
    }
}

/// Varies with the machine, so that answers to many are spread; the same machine always waits the same time.
fn delay_ms(from: Ipv6Addr) -> u64 {
    let [.., a, b] = from.octets();
    ANSWER_DELAY_MS.start + u64::from(a ^ b) % (ANSWER_DELAY_MS.end - ANSWER_DELAY_MS.start)
}
