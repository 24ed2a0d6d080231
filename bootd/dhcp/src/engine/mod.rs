//! The engine: packets and moments in, packets, records and events out. No socket, clock or randomness.
//!
//! [`Engine::handle`] takes one packet and appends the resulting actions to an [`Output`]. The shell
//! writes the output's records to the journal, sends the packets that wait for them once they are on disk
//! (the others at once), sends the probes, passes the events on, and calls [`Engine::tick`] at
//! [`Engine::next_timer`].
//!
//! | file | subject |
//! |---|---|
//! | `locate` | which networks the client is on, which of our addresses answers it |
//! | `discover` | DISCOVER and BOOTP: choosing an address |
//! | `request` | REQUEST in its four forms |
//! | `simple` | INFORM, DECLINE, RELEASE |
//! | `proxy` | proxyDHCP and port 4011 |
//! | `probe` | asking the link whether an address is in use |
//! | `reply` | the options of an answer and where it goes |
//! | `limit` | each client's share |

mod discover;
mod limit;
mod locate;
mod probe;
mod proxy;
mod reply;
mod request;
mod settings;
mod simple;

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

pub use locate::Interface;
pub use probe::Probe;
pub use settings::Settings;

use crate::client::Client;
use crate::directory::{Directory, Mode, Network, Reservation};
use crate::event::{Event, What};
use crate::hwaddr::HwAddr;
use crate::lease::record::Record;
use crate::lease::{Lease, State, Table};
use crate::time::Time;
use crate::wire::packet::Kind;
use crate::wire::{Packet, code};
use limit::Limiter;
use probe::Probes;

/// Leases that are ended in one tick; the rest follows in the next, so that packets are not kept waiting.
const EXPIRED_PER_TICK_MAX: usize = 512;
/// Delayed proxyDHCP answers kept at most; beyond that they are sent without delay.
const DELAYED_MAX: usize = 4096;
/// Port on which PXE firmware asks a boot server (PXE 2.1 §2.1).
pub const PORT_PXE: u16 = 4011;

/// A packet as it came in.
#[derive(Debug, Clone, Copy)]
pub struct Incoming<'a> {
    /// The UDP payload.
    pub bytes: &'a [u8],
    /// Index of the interface.
    pub interface: u32,
    /// Destination address of the packet: one of ours, or a broadcast address.
    pub local: Ipv4Addr,
    /// Destination port: the server port or [`PORT_PXE`].
    pub port: u16,
    /// Who sent it.
    pub source: SocketAddrV4,
}

/// Where an answer goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// To an address that answers ARP, or to a relay.
    Ip(SocketAddrV4),
    /// To a machine that has no address yet: a unicast frame to its link-layer address.
    Hw(HwAddr, SocketAddrV4),
    /// To everyone on the link.
    Broadcast(u16),
}

/// An answer to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// The UDP payload.
    pub bytes: Vec<u8>,
    /// Index of the interface.
    pub interface: u32,
    /// Source address.
    pub from: Ipv4Addr,
    /// Source port.
    pub from_port: u16,
    /// Destination.
    pub to: Target,
    /// Must not be sent before the records of the same output are on disk.
    pub durable: bool,
}

/// The actions after a packet or a timer. Appended to; the shell empties it.
#[derive(Debug, Default)]
pub struct Output {
    /// Answers.
    pub send: Vec<Outgoing>,
    /// Changes of leases for the journal.
    pub records: Vec<Record>,
    /// Questions to the link.
    pub probes: Vec<Probe>,
    /// What happened.
    pub events: Vec<Event>,
}

impl Output {
    /// Empties all lists and keeps their memory.
    pub fn clear(&mut self) {
        self.send.clear();
        self.records.clear();
        self.probes.clear();
        self.events.clear();
    }
}

/// Numbers since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets that came in.
    pub received: u64,
    /// Packets dropped because they were malformed.
    pub malformed: u64,
    /// Packets dropped because their client sent too many.
    pub rate_limited: u64,
    /// Answers.
    pub sent: u64,
}

/// The DHCP server without its sockets.
pub struct Engine {
    settings: Settings,
    directory: Arc<dyn Directory>,
    interfaces: Vec<Interface>,
    leases: Table,
    limiter: Limiter,
    probes: Probes,
    delayed: VecDeque<(Time, Outgoing)>,
    journal_ok: bool,
    counters: Counters,
}

/// One packet with everything looked up for it.
struct Ask<'a> {
    now: Time,
    incoming: Incoming<'a>,
    packet: &'a Packet<'a>,
    client: Client,
    /// Networks of the client's link, the likeliest first.
    link: Vec<&'a Network>,
    /// All reservations for the machine.
    reservations: &'a [Reservation],
    /// The reservation whose address is on the link.
    fixed: Option<(&'a Reservation, Ipv4Addr, &'a Network)>,
    /// The address was probed for this client and is free.
    probed: Option<Ipv4Addr>,
}

impl<'a> Ask<'a> {
    /// The reservation that decides name and boot file, even where its address does not fit the link.
    fn reservation(&self) -> Option<&'a Reservation> {
        self.fixed.map(|(reservation, _, _)| reservation).or(self.reservations.first())
    }

    fn node(&self) -> Option<Arc<str>> {
        self.reservation().map(|reservation| reservation.node.clone())
    }

    /// The network of the link the address is in.
    fn network_of(&self, address: Ipv4Addr) -> Option<&'a Network> {
        self.link.iter().copied().find(|network| network.contains(address))
    }

    /// The network in whose dynamic ranges the address is.
    fn range_network(&self, address: Ipv4Addr) -> Option<&'a Network> {
        let mut networks = self.link.iter().copied();
        networks.find(|network| network.ranges.iter().any(|range| range.contains(address)))
    }

    fn has_ranges(&self) -> bool {
        self.link.iter().any(|network| !network.ranges.is_empty())
    }

    /// The network on which another server, or none, gives this machine its address: its reservation's; else
    /// that of the address it names (which we may not refuse); else one next to another server, if we have no
    /// dynamic address for it.
    fn elsewhere(&self) -> Option<&'a Network> {
        let is_ours = |network: &Network| network.mode == Mode::Authoritative;
        if let Some((_, _, network)) = self.fixed {
            return Some(network).filter(|network| !is_ours(network));
        }
        let named = self.packet.requested_ip().unwrap_or(self.packet.ciaddr);
        let named = self.network_of(named).filter(|network| !is_ours(network));
        let proxied = self.link.iter().copied().find(|network| network.mode == Mode::Proxy);
        let we_have_one = self.link.iter().any(|network| is_ours(network) && !network.ranges.is_empty());
        named.filter(|_| self.packet.kind != Kind::Discover).or_else(|| proxied.filter(|_| !we_have_one))
    }

    fn event(&self, what: What) -> Event {
        Event {
            at: self.now,
            what,
            hw: Some(self.packet.hw),
            node: self.node(),
            client: Some(self.client),
            interface: self.incoming.interface,
            network: self.link.first().map(|network| network.name.clone()),
            address: None,
            file: None,
        }
    }
}

impl Engine {
    /// An engine without leases.
    pub fn new(settings: Settings, directory: Arc<dyn Directory>, interfaces: Vec<Interface>) -> Self {
        let limiter = Limiter::new(settings.client_burst, settings.client_per_second);
        Self {
            settings: settings.clamped(),
            directory,
            interfaces,
            leases: Table::default(),
            limiter,
            probes: Probes::default(),
            delayed: VecDeque::new(),
            journal_ok: true,
            counters: Counters::default(),
        }
    }

    /// Takes the leases of the journal back.
    pub fn restore(&mut self, leases: impl IntoIterator<Item = Lease>) {
        leases.into_iter().for_each(|lease| self.leases.put(lease));
        for network in self.directory.networks().iter() {
            network.ranges.iter().for_each(|range| self.leases.ensure_pool(*range));
        }
    }

    /// Takes note of the server's own interfaces and addresses.
    pub fn set_interfaces(&mut self, interfaces: Vec<Interface>) {
        self.interfaces = interfaces;
    }

    /// All leases, in no order.
    pub fn leases(&self) -> impl Iterator<Item = &Lease> {
        self.leases.iter()
    }

    /// Numbers since the start.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Answers one packet.
    pub fn handle(&mut self, now: Time, incoming: &Incoming<'_>, out: &mut Output) {
        self.counters.received += 1;
        if let Some(hw) = Packet::peek_hw(incoming.bytes)
            && !self.within_share(now, hw, incoming, out)
        {
            return;
        }
        match Packet::read(incoming.bytes) {
            Ok(packet) => self.answer(now, incoming, &packet, None, out),
            Err(error) => {
                self.counters.malformed += 1;
                if self.limiter.allow_report(now) {
                    out.events.push(bare_event(now, incoming, What::Malformed(error)));
                }
            }
        }
    }

    /// The moment at which [`Engine::tick`] has something to do.
    pub fn next_timer(&self) -> Option<Time> {
        let delayed = self.delayed.front().map(|(at, _)| *at);
        [self.leases.next_end(), self.probes.next_end(), delayed].into_iter().flatten().min()
    }

    /// Does what time alone brings: ends leases, finishes probes, sends delayed answers.
    pub fn tick(&mut self, now: Time, out: &mut Output) {
        self.finish_probes(now, out);
        while let Some((_, outgoing)) = self.delayed.pop_front_if(|(at, _)| *at <= now) {
            self.push(outgoing, out);
        }
        for _ in 0..EXPIRED_PER_TICK_MAX {
            let Some(lease) = self.leases.expire_one(now) else { break };
            if lease.state == State::Offered {
                continue;
            }
            out.records.push(match self.leases.get(lease.address) {
                Some(idle) => Record::Lease(idle.clone()),
                None => Record::Forget(lease.address),
            });
            out.events.push(Event {
                hw: Some(lease.hw),
                node: lease.node,
                address: Some(lease.address),
                ..Event::of_server(now, What::Expired)
            });
        }
    }

    /// The journal took none of these records, so the leases that they promised are withdrawn.
    pub fn journal_failed(&mut self, now: Time, records: &[Record], why: &str, out: &mut Output) {
        // Backwards, so that of several promises to one machine the last that is on disk remains.
        for record in records.iter().rev() {
            if let Record::Lease(failed) = record
                && failed.node.is_none()
                && let Some(lease) = self.leases.get(failed.address).cloned()
                && lease.state == State::Bound
                && lease.hw == failed.hw
            {
                self.leases.put(Lease { expires: failed.promised.max(now), ..lease });
            }
        }
        if std::mem::replace(&mut self.journal_ok, false) {
            out.events.push(Event::of_server(now, What::JournalFailed(why.into())));
        }
    }

    /// The journal works again.
    pub fn journal_recovered(&mut self, now: Time, out: &mut Output) {
        if !std::mem::replace(&mut self.journal_ok, true) {
            out.events.push(Event::of_server(now, What::JournalRecovered));
        }
    }

    fn within_share(&mut self, now: Time, hw: HwAddr, incoming: &Incoming<'_>, out: &mut Output) -> bool {
        if self.limiter.allow(now, hw) {
            return true;
        }
        self.counters.rate_limited += 1;
        if self.limiter.allow_report(now) {
            let event = bare_event(now, incoming, What::RateLimited);
            let node = self.directory.reservations(&hw).first().map(|r| r.node.clone());
            out.events.push(Event { hw: Some(hw), node, ..event });
        }
        false
    }

    /// Looks everything up and hands the packet to the part that answers its kind.
    fn answer(
        &mut self,
        now: Time,
        incoming: &Incoming<'_>,
        packet: &Packet<'_>,
        probed: Option<Ipv4Addr>,
        out: &mut Output,
    ) {
        let networks = self.directory.networks();
        let reservations = self.directory.reservations(&packet.hw);
        let link = locate::link(&networks, &self.interfaces, incoming, packet);
        let mut ask = Ask {
            now,
            incoming: *incoming,
            packet,
            client: Client::of(packet),
            fixed: None,
            reservations: &reservations,
            link,
            probed,
        };
        ask.fixed = reservations.iter().find_map(|reservation| {
            let address = reservation.address?;
            Some((reservation, address, ask.network_of(address)?))
        });
        if self.answerable(&ask, out) {
            self.dispatch(ask, out);
        }
    }

    /// Drops packets that are never answered.
    fn answerable(&mut self, ask: &Ask<'_>, out: &mut Output) -> bool {
        if ask.link.is_empty() {
            out.events.push(ask.event(What::NoNetwork));
        } else if ask.link.iter().all(|network| network.mode == Mode::Off) {
            self.not_served(ask, out);
        } else if let Some(what) = without_address(ask.reservations) {
            out.events.push(ask.event(what));
        } else {
            return true;
        }
        false
    }

    /// A network that is left out on purpose may have many machines that are not ours.
    fn not_served(&mut self, ask: &Ask<'_>, out: &mut Output) {
        if self.limiter.allow_report(ask.now) {
            out.events.push(ask.event(What::NotServed));
        }
    }

    /// Hands the packet to the part that answers its kind. Networks of one link may have different masters:
    /// each machine is answered as its own network wants it.
    fn dispatch(&mut self, mut ask: Ask<'_>, out: &mut Output) {
        let elsewhere = ask.elsewhere();
        if elsewhere.is_some_and(|network| network.mode == Mode::Off) {
            return self.not_served(&ask, out);
        }
        if ask.incoming.port == PORT_PXE {
            return self.boot_server(&ask, elsewhere, out);
        }
        if let Some(network) = elsewhere {
            return self.proxy_discover(&ask, network, out);
        }
        ask.link.retain(|network| network.mode == Mode::Authoritative);
        match ask.packet.kind {
            Kind::Discover => self.discover(&ask, out),
            Kind::Bootp => self.bootp(&ask, out),
            Kind::Request => self.request(&ask, out),
            Kind::Inform => self.inform(&ask, out),
            Kind::Decline => self.decline(&ask, out),
            Kind::Release => self.release(&ask, out),
        }
    }

    /// Whether a dynamic lease may take this address.
    fn usable(&self, address: Ipv4Addr, network: &Network) -> bool {
        let edge = network.prefix < 31 && (address == network.address || address == network.broadcast());
        !edge && self.directory.owner(address).is_none() && !locate::is_own(&self.interfaces, address)
    }

    fn push(&mut self, outgoing: Outgoing, out: &mut Output) {
        self.counters.sent += 1;
        out.send.push(outgoing);
    }
}

impl Event {
    /// An event that no packet caused.
    pub(crate) fn of_server(at: Time, what: What) -> Self {
        Self {
            at,
            what,
            hw: None,
            node: None,
            client: None,
            interface: 0,
            network: None,
            address: None,
            file: None,
        }
    }
}

/// Why no interface of the machine has an address; `None`: one has, or the machine is not known.
fn without_address(reservations: &[Reservation]) -> Option<What> {
    if reservations.is_empty() || reservations.iter().any(|reservation| reservation.address.is_some()) {
        return None;
    }
    let unresolved = reservations.iter().find(|reservation| !reservation.no_ip);
    Some(match unresolved {
        Some(reservation) => What::NoAddress(reservation.hostname.as_str().into()),
        None => What::NotBooting,
    })
}

fn bare_event(now: Time, incoming: &Incoming<'_>, what: What) -> Event {
    Event { interface: incoming.interface, ..Event::of_server(now, what) }
}

/// Host name the client sent, cut to the kept length and without characters that control a terminal.
fn client_hostname(packet: &Packet<'_>) -> Option<Box<str>> {
    let name = packet.options.get(code::HOSTNAME)?;
    let text: String = String::from_utf8_lossy(name)
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_'))
        .take(crate::lease::HOSTNAME_BYTES_MAX)
        .collect();
    (!text.is_empty()).then(|| text.into())
}
