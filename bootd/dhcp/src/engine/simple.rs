//! INFORM, DECLINE and RELEASE: the messages that ask for no address.

use std::net::Ipv4Addr;

use super::reply::Answer;
use super::{Ask, Engine, Output};
use crate::event::{Event, What};
use crate::lease::record::Record;
use crate::lease::{Lease, State};
use crate::time::Time;
use crate::wire::message_type::MessageType;

impl Engine {
    /// Settings for a machine that has an address from elsewhere (RFC 2131 §4.3.5): no lease time, no
    /// `yiaddr`.
    pub(super) fn inform(&mut self, ask: &Ask<'_>, out: &mut Output) {
        let Some(network) = ask.network_of(ask.packet.ciaddr).or(ask.link.first().copied()) else { return };
        let answer = Answer {
            kind: Some(MessageType::Ack),
            yiaddr: Ipv4Addr::UNSPECIFIED,
            network,
            seconds: None,
            durable: false,
        };
        let event = Event { address: Some(ask.packet.ciaddr), ..ask.event(What::Inform) };
        self.send(ask, &answer, event, out);
    }

    /// The client saw another machine with its address. A dynamic address rests; a reserved one stays
    /// reserved, and the event reports that someone has taken it.
    pub(super) fn decline(&mut self, ask: &Ask<'_>, out: &mut Output) {
        let Some(address) = ask.packet.requested_ip() else { return };
        if ask.packet.server_id().is_some_and(|id| !self.is_me(ask, id)) {
            return;
        }
        let owned = self.leases.get(address).is_some_and(|lease| lease.hw == ask.packet.hw);
        let fixed = ask.fixed.is_some_and(|(_, fixed, _)| fixed == address);
        if owned || fixed {
            out.events.push(Event { address: Some(address), ..ask.event(What::Decline) });
        }
        if owned && !fixed {
            self.rest(ask.now, address, out);
        }
    }

    /// The client gives its address back.
    pub(super) fn release(&mut self, ask: &Ask<'_>, out: &mut Output) {
        let address = ask.packet.ciaddr;
        let Some(lease) = self.leases.get(address) else { return };
        if lease.hw != ask.packet.hw || matches!(lease.state, State::Declined | State::Idle) {
            return;
        }
        let reserved = lease.node.is_some();
        out.events.push(Event { address: Some(address), ..ask.event(What::Release) });
        if reserved {
            self.leases.remove(address);
            out.records.push(Record::Forget(address));
        } else if let Some(idle) = self.make_idle(ask.now, address) {
            out.records.push(Record::Lease(idle));
        }
    }

    /// Lets an address rest because another machine uses it.
    pub(super) fn rest(&mut self, now: Time, address: Ipv4Addr, out: &mut Output) {
        let Some(lease) = self.leases.get(address).cloned() else { return };
        let expires = now.plus_seconds(self.settings.decline_hold_seconds);
        let resting = Lease { state: State::Declined, since: now, expires, promised: expires, ..lease };
        out.records.push(Record::Lease(resting.clone()));
        self.leases.put(resting);
    }

    pub(super) fn make_idle(&mut self, now: Time, address: Ipv4Addr) -> Option<Lease> {
        let lease = self.leases.get(address)?.clone();
        let idle = Lease { state: State::Idle, since: now, expires: now, promised: now, ..lease };
        self.leases.put(idle.clone());
        Some(idle)
    }
}
