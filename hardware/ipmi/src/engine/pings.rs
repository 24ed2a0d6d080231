//! Presence pings: which addresses answer at all, without a session.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::error::{Full, Unreachable};
use super::exchange::{Due, Exchange};
use super::output::{Event, Output};
use super::timers::Timers;
use crate::crypto::{Random, Seed};
use crate::limits::{Budget, PINGS_MAX};
use crate::wire::rmcp;

/// Pings that wait for their answers, one an address.
#[derive(Default)]
pub(super) struct Pings {
    waiting: HashMap<SocketAddr, (u8, Exchange)>,
    timers: Timers<SocketAddr>,
}

/// Tag 255 asks for no answer.
const TAGS: u32 = 255;

impl Pings {
    pub(super) fn start(
        &mut self,
        now: Duration,
        peer: SocketAddr,
        budget: Budget,
        seed: Seed,
        out: &mut Output,
    ) -> Result<(), Full> {
        if self.waiting.len() >= PINGS_MAX {
            return Err(Full::Engine);
        }
        let mut random = Random::new(seed);
        let tag = u8::try_from(random.below(TAGS)).unwrap_or(0);
        let exchange = Exchange::start(now, budget, &mut random);
        self.timers.set(peer, Some(exchange.deadline()));
        self.waiting.insert(peer, (tag, exchange));
        send(peer, tag, out);
        Ok(())
    }

    pub(super) fn on_pong(&mut self, peer: SocketAddr, tag: u8, ipmi: bool, out: &mut Output) {
        if self.waiting.get(&peer).is_some_and(|(sent, _)| *sent == tag) {
            self.forget(peer);
            out.event(Event::Pong(peer, ipmi));
        }
    }

    pub(super) fn on_unreachable(&mut self, peer: SocketAddr, why: Unreachable, out: &mut Output) {
        if self.forget(peer) {
            out.event(Event::NoPong(peer, Some(why)));
        }
    }

    pub(super) fn on_timer(&mut self, now: Duration, out: &mut Output) {
        while let Some(peer) = self.timers.take_due(now) {
            let Some((tag, exchange)) = self.waiting.get_mut(&peer) else { continue };
            match exchange.due(now) {
                Due::GiveUp => {
                    self.forget(peer);
                    out.event(Event::NoPong(peer, None));
                    continue;
                }
                Due::Repeat => send(peer, *tag, out),
                Due::Nothing => {}
            }
            self.timers.set(peer, Some(exchange.deadline()));
        }
    }

    pub(super) fn deadline(&self) -> Option<Duration> {
        self.timers.first()
    }

    fn forget(&mut self, peer: SocketAddr) -> bool {
        self.timers.set(peer, None);
        self.waiting.remove(&peer).is_some()
    }
}

fn send(peer: SocketAddr, tag: u8, out: &mut Output) {
    let mut datagram = Vec::new();
    rmcp::put_ping(&mut datagram, tag);
    out.send(peer, datagram);
}
