//! DISCOVER and BOOTP: finding an address to offer.

use std::net::Ipv4Addr;

use super::reply::Answer;
use super::{Ask, Engine, Output, client_hostname};
use crate::client::Client;
use crate::directory::Network;
use crate::event::{Event, What};
use crate::lease::record::Record;
use crate::lease::{Lease, State};
use crate::wire::message_type::MessageType;

/// Lease of a dynamic BOOTP client, in seconds: it will never renew nor release.
const BOOTP_LEASE_SECONDS: u32 = 86_400;

/// An address to offer.
struct Pick<'a> {
    address: Ipv4Addr,
    network: &'a Network,
    /// No machine is known to have used it lately: ask the link first.
    probe: bool,
}

impl Engine {
    pub(super) fn discover(&mut self, ask: &Ask<'_>, out: &mut Output) {
        if ask.probed.is_none() {
            out.events.push(ask.event(What::Discover));
        }
        if let Some((_, address, network)) = ask.fixed {
            let answer = Answer::offer(address, network, network.lease_seconds);
            return self.send_offer(ask, &answer, out);
        }
        let Some(pick) = self.pick_or_report(ask, out) else { return };
        self.hold(ask, pick.address);
        let in_doubt = pick.probe || self.probes.is_waiting(pick.address);
        if in_doubt && ask.probed != Some(pick.address) && self.probe(ask, pick.address, out) {
            return;
        }
        let answer = Answer::offer(pick.address, pick.network, self.dynamic_seconds(ask, pick.network));
        self.send_offer(ask, &answer, out);
    }

    pub(super) fn bootp(&mut self, ask: &Ask<'_>, out: &mut Output) {
        let (address, network, dynamic) = match ask.fixed {
            Some((_, address, network)) => (address, network, false),
            None => match self.pick_or_report(ask, out) {
                Some(pick) => (pick.address, pick.network, true),
                None => return,
            },
        };
        if dynamic {
            self.bind(ask, address, BOOTP_LEASE_SECONDS, out);
        }
        let answer = Answer { durable: dynamic, ..Answer::bootp(address, network) };
        let event = Event { address: Some(address), ..ask.event(What::Ack) };
        self.send(ask, &answer, event, out);
    }

    fn send_offer(&mut self, ask: &Ask<'_>, answer: &Answer<'_>, out: &mut Output) {
        let event = Event { address: Some(answer.yiaddr), ..ask.event(What::Offer) };
        self.send(ask, answer, event, out);
    }

    /// A dynamic address for the client, or the event that says why there is none.
    fn pick_or_report<'a>(&mut self, ask: &Ask<'a>, out: &mut Output) -> Option<Pick<'a>> {
        if !ask.has_ranges() {
            let known = !ask.reservations.is_empty();
            out.events.push(ask.event(if known { What::WrongNetwork } else { What::Unknown }));
            return None;
        }
        if !self.journal_ok && self.own_lease(ask).is_none_or(|pick| pick.probe) {
            out.events.push(ask.event(What::NotDurable));
            return None;
        }
        let pick = self.own_lease(ask).or_else(|| self.wished(ask)).or_else(|| self.free(ask));
        if pick.is_none() {
            out.events.push(ask.event(What::PoolFull));
        }
        pick
    }

    /// The address the machine has, or had last.
    fn own_lease<'a>(&self, ask: &Ask<'a>) -> Option<Pick<'a>> {
        let candidates = self.leases.of(&ask.packet.hw).filter_map(|lease| {
            let network = ask.range_network(lease.address)?;
            let rank = match lease.state {
                State::Bound => 0,
                State::Offered => 1,
                State::Idle => 2,
                State::Declined => return None,
            };
            self.usable(lease.address, network).then_some((rank, lease.address, network))
        });
        let (rank, address, network) = candidates.min_by_key(|(rank, address, _)| (*rank, *address))?;
        Some(Pick { address, network, probe: rank == 2 })
    }

    /// The address the client asks for, when no machine has or had it.
    fn wished<'a>(&self, ask: &Ask<'a>) -> Option<Pick<'a>> {
        let address = ask.packet.requested_ip()?;
        let network = ask.range_network(address)?;
        let free = self.leases.get(address).is_none() && self.usable(address, network);
        free.then_some(Pick { address, network, probe: true })
    }

    fn free<'a>(&mut self, ask: &Ask<'a>) -> Option<Pick<'a>> {
        let directory = self.directory.clone();
        for network in &ask.link {
            let own = &self.interfaces;
            let usable = |address| {
                directory.owner(address).is_none()
                    && !super::locate::is_own(own, address)
                    && address != network.address
                    && address != network.broadcast()
            };
            if let Some(address) = self.leases.allocate(&network.ranges, usable) {
                return Some(Pick { address, network, probe: true });
            }
        }
        None
    }

    /// Keeps the address for the client's request, unless the client has it already.
    pub(super) fn hold(&mut self, ask: &Ask<'_>, address: Ipv4Addr) {
        let expires = ask.now.plus_seconds(self.settings.offer_hold_seconds);
        self.ensure_pool(ask, address);
        match self.leases.get(address) {
            Some(lease) if lease.hw == ask.packet.hw && lease.state == State::Bound => (),
            _ => self.leases.put(Lease {
                address,
                hw: ask.packet.hw,
                state: State::Offered,
                since: ask.now,
                expires,
                promised: ask.now,
                node: None,
                hostname: client_hostname(ask.packet),
            }),
        }
    }

    /// Lease time of a dynamic address: short for what will be replaced in a minute, and for machines in no
    /// table while most addresses are in use, so that a range that one machine has emptied is free again
    /// soon.
    pub(super) fn dynamic_seconds(&self, ask: &Ask<'_>, network: &Network) -> u32 {
        let short = self.settings.firmware_lease_seconds.min(network.lease_seconds);
        if ask.reservations.is_empty() && self.leases.is_crowded(&network.ranges) {
            return short;
        }
        match ask.client {
            Client::System | Client::Bootp | Client::Onie | Client::Petitboot => network.lease_seconds,
            _ => short,
        }
    }

    /// Binds a dynamic address. A lease is never shortened, and is recorded even when nothing changes: the
    /// first answer's record may still be on its way to the disk, and this answer must not overtake it.
    pub(super) fn bind(&mut self, ask: &Ask<'_>, address: Ipv4Addr, seconds: u32, out: &mut Output) {
        let ours =
            |lease: &&Lease| lease.hw == ask.packet.hw && lease.state == State::Bound && lease.node.is_none();
        let old = self.leases.get(address).filter(ours).map(|lease| (lease.since, lease.expires));
        let (since, promised) = old.unwrap_or((ask.now, ask.now));
        self.ensure_pool(ask, address);
        let lease = Lease {
            address,
            hw: ask.packet.hw,
            state: State::Bound,
            since,
            expires: promised.max(ask.now.plus_seconds(seconds)),
            promised,
            node: None,
            hostname: client_hostname(ask.packet),
        };
        out.records.push(Record::Lease(lease.clone()));
        self.leases.put(lease);
    }

    /// An address that the client claims may be in a range without any leases yet.
    fn ensure_pool(&mut self, ask: &Ask<'_>, address: Ipv4Addr) {
        let ranges = ask.link.iter().flat_map(|network| &network.ranges);
        if let Some(range) = ranges.copied().find(|range| range.contains(address)) {
            self.leases.ensure_pool(range);
        }
    }
}

impl<'a> Answer<'a> {
    fn offer(yiaddr: Ipv4Addr, network: &'a Network, seconds: u32) -> Self {
        Self { kind: Some(MessageType::Offer), yiaddr, network, seconds: Some(seconds), durable: false }
    }

    fn bootp(yiaddr: Ipv4Addr, network: &'a Network) -> Self {
        Self { kind: None, yiaddr, network, seconds: None, durable: false }
    }
}
