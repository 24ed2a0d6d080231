//! REQUEST: selecting an offer, INIT-REBOOT, RENEW and REBIND (RFC 2131 §4.3.2).
//!
//! The forms differ in the field that has the address and in which servers need not answer; once the address
//! is known, all are decided alike. A client whose address is wrong gets a NAK, except from a server that has
//! no record of it.

use std::net::Ipv4Addr;

use super::reply::Answer;
use super::{Ask, Engine, Output, locate};
use crate::directory::Network;
use crate::event::{Event, NakReason, What};
use crate::lease::record::Record;
use crate::lease::{Lease, State};
use crate::wire::message_type::MessageType;

impl Engine {
    pub(super) fn request(&mut self, ask: &Ask<'_>, out: &mut Output) {
        if let Some(chosen) = ask.packet.server_id()
            && !self.is_me(ask, chosen)
        {
            return self.withdraw(ask);
        }
        let ciaddr = Some(ask.packet.ciaddr).filter(|ip| !ip.is_unspecified());
        let Some(address) = ask.packet.requested_ip().or(ciaddr) else { return };
        match ask.fixed {
            Some((reservation, fixed, network)) if fixed == address => {
                let node = reservation.node.clone();
                self.ack_fixed(ask, address, network, node, out);
            }
            Some((_, _, network)) => self.nak(ask, address, network, NakReason::Reserved, out),
            None => self.request_dynamic(ask, address, out),
        }
    }

    fn request_dynamic(&mut self, ask: &Ask<'_>, address: Ipv4Addr, out: &mut Output) {
        let Some(first) = ask.link.iter().copied().find(|network| !network.ranges.is_empty()) else {
            let known = !ask.reservations.is_empty();
            out.events.push(ask.event(if known { What::WrongNetwork } else { What::Unknown }));
            return;
        };
        match self.judge(ask, address) {
            Ok(_) if self.journal_ok && self.in_doubt(ask, address) && self.ask_link(ask, address, out) => {}
            Ok(network) if self.journal_ok => self.ack_dynamic(ask, address, network, out),
            Ok(network) => self.ack_remaining(ask, address, network, out),
            Err(reason) => self.nak(ask, address, ask.network_of(address).unwrap_or(first), reason, out),
        }
    }

    /// Whether the machine may have this dynamic address, and on which network.
    fn judge<'a>(&self, ask: &Ask<'a>, address: Ipv4Addr) -> Result<&'a Network, NakReason> {
        if ask.network_of(address).is_none() {
            return Err(NakReason::WrongNetwork);
        }
        let network = ask.range_network(address).ok_or(NakReason::NotAvailable)?;
        if !self.usable(address, network) {
            return Err(NakReason::Taken);
        }
        match self.leases.get(address) {
            Some(lease) if lease.hw != ask.packet.hw => Err(NakReason::Taken),
            Some(lease) if lease.state == State::Declined => Err(NakReason::NotAvailable),
            // Without a lease the daemon has lost an offer in a restart, or the journal was lost: the client
            // may keep its address as long as no other machine got the same one.
            Some(_) | None => Ok(network),
        }
    }

    /// A machine that remembers an address without a record here (INIT-REBOOT) may have got it from any
    /// server, long ago. One that selects our offer or renews is believed: the offer was probed, the renewal
    /// comes from it.
    fn in_doubt(&self, ask: &Ask<'_>, address: Ipv4Addr) -> bool {
        let remembers = ask.packet.server_id().is_none() && ask.packet.ciaddr.is_unspecified();
        let state = self.leases.get(address).map(|lease| lease.state);
        let unknown = matches!(state, None | Some(State::Idle)) || self.probes.is_waiting(address);
        remembers && unknown && ask.probed != Some(address)
    }

    /// Keeps the address for the machine and asks the link who has it; false: it cannot be asked now.
    fn ask_link(&mut self, ask: &Ask<'_>, address: Ipv4Addr, out: &mut Output) -> bool {
        self.hold(ask, address);
        self.probe(ask, address, out)
    }

    fn ack_dynamic(&mut self, ask: &Ask<'_>, address: Ipv4Addr, network: &Network, out: &mut Output) {
        let seconds = self.dynamic_seconds(ask, network);
        self.bind(ask, address, seconds, out);
        self.send_ack(ask, Answer::ack(address, network, seconds, true), out);
    }

    /// While nothing can be written, a lease is confirmed for the time it was promised already.
    fn ack_remaining(&mut self, ask: &Ask<'_>, address: Ipv4Addr, network: &Network, out: &mut Output) {
        let bound = self.leases.get(address).filter(|lease| lease.state == State::Bound);
        match bound.map_or(0, |lease| lease.expires.seconds_from(ask.now)) {
            0 => out.events.push(ask.event(What::NotDurable)),
            seconds => self.send_ack(ask, Answer::ack(address, network, seconds, false), out),
        }
    }

    fn ack_fixed(
        &mut self,
        ask: &Ask<'_>,
        address: Ipv4Addr,
        network: &Network,
        node: std::sync::Arc<str>,
        out: &mut Output,
    ) {
        let expires = ask.now.plus_seconds(network.lease_seconds);
        let old = self.leases.get(address).filter(|lease| lease.hw == ask.packet.hw);
        let since = old.filter(|lease| lease.state == State::Bound).map_or(ask.now, |lease| lease.since);
        let lease = Lease {
            address,
            hw: ask.packet.hw,
            state: State::Bound,
            since,
            expires,
            promised: expires,
            node: Some(node),
            hostname: super::client_hostname(ask.packet),
        };
        // The model says the address again after a restart, so this answer waits for no disk.
        out.records.push(Record::Lease(lease.clone()));
        self.leases.put(lease);
        self.send_ack(ask, Answer::ack(address, network, network.lease_seconds, false), out);
    }

    fn send_ack(&mut self, ask: &Ask<'_>, answer: Answer<'_>, out: &mut Output) {
        let event = Event { address: Some(answer.yiaddr), ..ask.event(What::Ack) };
        self.send(ask, &answer, event, out);
    }

    fn nak(
        &mut self,
        ask: &Ask<'_>,
        address: Ipv4Addr,
        network: &Network,
        reason: NakReason,
        out: &mut Output,
    ) {
        out.events.push(Event { address: Some(address), ..ask.event(What::Nak(reason)) });
        self.send_nak(ask, network, reason, out);
    }

    /// The client chose another server: the address offered is free again.
    fn withdraw(&mut self, ask: &Ask<'_>) {
        let offered: Vec<Ipv4Addr> = self
            .leases
            .of(&ask.packet.hw)
            .filter(|lease| lease.state == State::Offered)
            .map(|lease| lease.address)
            .collect();
        for address in offered {
            self.make_idle(ask.now, address);
        }
    }

    /// Whether a server identifier means us.
    pub(super) fn is_me(&self, ask: &Ask<'_>, id: Ipv4Addr) -> bool {
        locate::is_own(&self.interfaces, id)
            || ask.link.iter().any(|network| locate::server_id(&self.interfaces, ask, network) == id)
    }
}

impl<'a> Answer<'a> {
    fn ack(yiaddr: Ipv4Addr, network: &'a Network, seconds: u32, durable: bool) -> Self {
        Self { kind: Some(MessageType::Ack), yiaddr, network, seconds: Some(seconds), durable }
    }
}
