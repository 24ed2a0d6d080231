//! Asking the link whether an address is in use before it is offered (RFC 2131 §2.2), while others are
//! served.
//!
//! The DISCOVER waits here, not the engine: it is kept with a deadline, and answered when the deadline passes
//! without a reply to the probe. An answer from the client itself is not a conflict. When too many wait,
//! addresses are offered without a probe: a machine that boots must not be stopped by a precaution.

use std::collections::{HashMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddrV4};

use super::{Ask, Engine, Incoming, Output};
use crate::event::{Event, What};
use crate::hwaddr::HwAddr;
use crate::time::Time;
use crate::wire::Packet;

/// DISCOVERs that wait for a probe at most.
const WAITING_MAX: usize = 16_384;

/// A question to the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// The address in doubt.
    pub address: Ipv4Addr,
    /// Index of the interface.
    pub interface: u32,
    /// The address is behind a relay, not on the interface's link: ask by ICMP echo instead of ARP.
    pub routed: bool,
}

/// DISCOVERs whose address is being probed.
#[derive(Debug, Default)]
pub(super) struct Probes {
    waiting: HashMap<Ipv4Addr, Waiting>,
    /// Deadlines in order; all waits are equally long.
    ends: VecDeque<(Time, Ipv4Addr)>,
}

#[derive(Debug)]
struct Waiting {
    hw: HwAddr,
    bytes: Vec<u8>,
    interface: u32,
    local: Ipv4Addr,
    port: u16,
    source: SocketAddrV4,
}

impl Waiting {
    fn of(ask: &Ask<'_>) -> Self {
        Self {
            hw: ask.packet.hw,
            bytes: ask.incoming.bytes.to_vec(),
            interface: ask.incoming.interface,
            local: ask.incoming.local,
            port: ask.incoming.port,
            source: ask.incoming.source,
        }
    }

    fn incoming(&self) -> Incoming<'_> {
        Incoming {
            bytes: &self.bytes,
            interface: self.interface,
            local: self.local,
            port: self.port,
            source: self.source,
        }
    }
}

impl Probes {
    pub(super) fn next_end(&self) -> Option<Time> {
        self.ends.front().map(|(at, _)| *at)
    }

    pub(super) fn is_waiting(&self, address: Ipv4Addr) -> bool {
        self.waiting.contains_key(&address)
    }
}

impl Engine {
    /// Starts a probe, or lets a repeated DISCOVER take the place of the waiting one. False: offer at once.
    pub(super) fn probe(&mut self, ask: &Ask<'_>, address: Ipv4Addr, out: &mut Output) -> bool {
        if !self.settings.probe {
            return false;
        }
        if let Some(waiting) = self.probes.waiting.get_mut(&address) {
            *waiting = Waiting::of(ask);
            return true;
        }
        if self.probes.waiting.len() >= WAITING_MAX {
            return false;
        }
        self.probes.waiting.insert(address, Waiting::of(ask));
        self.probes.ends.push_back((ask.now + self.settings.probe_wait_ms, address));
        out.probes.push(Probe {
            address,
            interface: ask.incoming.interface,
            routed: !ask.packet.giaddr.is_unspecified() && !self.on_own_link(ask, address),
        });
        true
    }

    /// Whether the address belongs to a network the interface itself is on, relay or not.
    fn on_own_link(&self, ask: &Ask<'_>, address: Ipv4Addr) -> bool {
        let network = ask.network_of(address);
        let interface = self.interfaces.iter().find(|interface| interface.index == ask.incoming.interface);
        let own = interface.map(|interface| interface.addresses.as_slice()).unwrap_or(&[]);
        own.iter().any(|(own, _)| network.is_some_and(|network| network.contains(*own)))
    }

    /// A machine answered the probe of an address: the address is not used for a while, and the waiting
    /// client gets another one.
    pub fn probe_answered(&mut self, now: Time, address: Ipv4Addr, by: Option<HwAddr>, out: &mut Output) {
        let Some(waiting) = self.probes.waiting.get(&address) else { return };
        if by == Some(waiting.hw) {
            return;
        }
        let Some(waiting) = self.probes.waiting.remove(&address) else { return };
        self.probes.ends.retain(|(_, other)| *other != address);
        out.events.push(Event {
            address: Some(address),
            hw: Some(waiting.hw),
            interface: waiting.interface,
            ..Event::of_server(now, What::Conflict { by })
        });
        self.rest(now, address, out);
        if let Ok(packet) = Packet::read(&waiting.bytes) {
            // The DISCOVER was announced when it came; an address that is never probed marks the repeat.
            self.answer(now, &waiting.incoming(), &packet, Some(Ipv4Addr::UNSPECIFIED), out);
        }
    }

    /// Offers the addresses for which no machine answered.
    pub(super) fn finish_probes(&mut self, now: Time, out: &mut Output) {
        while let Some((_, address)) = self.probes.ends.pop_front_if(|(at, _)| *at <= now) {
            if let Some(waiting) = self.probes.waiting.remove(&address)
                && let Ok(packet) = Packet::read(&waiting.bytes)
            {
                self.answer(now, &waiting.incoming(), &packet, Some(address), out);
            }
        }
    }
}
