//! The options of an answer, and where it goes (RFC 2131 §4.1, §4.3.1).

use std::net::{Ipv4Addr, SocketAddrV4};

use super::{Ask, Engine, Outgoing, Output, Target, locate};
use crate::boot::BootAnswer;
use crate::client::Client;
use crate::directory::Network;
use crate::event::{Event, NakReason};
use crate::hwaddr::HTYPE_ETHERNET;
use crate::wire::code::ipxe;
use crate::wire::message_type::MessageType;
use crate::wire::packet::FLAG_BROADCAST;
use crate::wire::{Writer, code};

/// A type and a UUID.
const MACHINE_ID_BYTES: usize = 17;

/// The content of a reply; its form depends on the client.
pub(super) struct Answer<'a> {
    /// Message type; `None` for BOOTP.
    pub kind: Option<MessageType>,
    /// The address; 0.0.0.0 for INFORM.
    pub yiaddr: Ipv4Addr,
    pub network: &'a Network,
    /// Lease time, where one is given.
    pub seconds: Option<u32>,
    /// To be sent after the records are on disk.
    pub durable: bool,
}

impl Engine {
    /// Writes the answer, and the event with the boot file that went into it.
    pub(super) fn send(&mut self, ask: &Ask<'_>, answer: &Answer<'_>, event: Event, out: &mut Output) {
        let boot = self.boot_answer(ask, answer.network);
        let from = locate::server_address(&self.interfaces, ask, answer.network);
        let mut writer = Writer::new(ask.packet);
        writer.yiaddr = answer.yiaddr;
        writer.ciaddr = ask.packet.ciaddr;
        writer.siaddr = self.next_server(ask, answer.network);
        let broadcast = boot.broadcast && ask.packet.giaddr.is_unspecified();
        if broadcast {
            writer.flags |= FLAG_BROADCAST;
        }
        self.put_options(ask, answer, &boot, &mut writer);
        let to = self.target(ask, answer.yiaddr, broadcast);
        let file = boot.file.as_deref().map(Into::into);
        let network = Some(answer.network.name.clone());
        out.events.push(Event { file, network, ..event });
        let bytes = writer.finish();
        self.push(Outgoing { bytes, durable: answer.durable, ..self.envelope(ask, from, to) }, out);
    }

    pub(super) fn send_nak(&mut self, ask: &Ask<'_>, network: &Network, reason: NakReason, out: &mut Output) {
        let from = locate::server_address(&self.interfaces, ask, network);
        let mut writer = Writer::new(ask.packet);
        writer.put(code::MESSAGE_TYPE, &[MessageType::Nak.into()]);
        writer.put(code::SERVER_ID, &locate::server_id(&self.interfaces, ask, network).octets());
        writer.put(code::MESSAGE, reason.text().as_bytes());
        echo_client_id(ask, &mut writer);
        echo_subnet(ask, &mut writer);
        let to = self.nak_target(ask);
        // The client may be unreachable at the address it thinks it has (RFC 2131 §4.3.2).
        writer.flags |= FLAG_BROADCAST;
        let bytes = writer.finish();
        self.push(Outgoing { bytes, ..self.envelope(ask, from, to) }, out);
    }

    /// To the relay; to the address a renewal came from, which may be far away; else to everyone.
    fn nak_target(&self, ask: &Ask<'_>) -> Target {
        let (packet, incoming) = (ask.packet, ask.incoming);
        let renews =
            *incoming.source.ip() == packet.ciaddr && locate::is_own(&self.interfaces, incoming.local);
        if !packet.giaddr.is_unspecified() {
            Target::Ip(SocketAddrV4::new(packet.giaddr, self.settings.server_port))
        } else if renews && !packet.ciaddr.is_unspecified() {
            Target::Ip(SocketAddrV4::new(packet.ciaddr, self.settings.client_port))
        } else {
            Target::Broadcast(self.settings.client_port)
        }
    }

    fn envelope(&self, ask: &Ask<'_>, from: Ipv4Addr, to: Target) -> Outgoing {
        Outgoing {
            bytes: Vec::new(),
            interface: ask.incoming.interface,
            from,
            from_port: self.settings.server_port,
            to,
            durable: false,
        }
    }

    fn target(&self, ask: &Ask<'_>, yiaddr: Ipv4Addr, broadcast: bool) -> Target {
        let packet = ask.packet;
        let client_port = self.settings.client_port;
        if !packet.giaddr.is_unspecified() {
            Target::Ip(SocketAddrV4::new(packet.giaddr, self.settings.server_port))
        } else if !packet.ciaddr.is_unspecified() {
            Target::Ip(SocketAddrV4::new(packet.ciaddr, client_port))
        } else if broadcast || packet.broadcast() || yiaddr.is_unspecified() {
            Target::Broadcast(client_port)
        } else if packet.hw.htype() == HTYPE_ETHERNET && packet.hw.bytes().len() == 6 {
            Target::Hw(packet.hw, SocketAddrV4::new(yiaddr, client_port))
        } else {
            Target::Broadcast(client_port)
        }
    }

    /// Options in the order of their importance: those at the end are dropped if they do not fit.
    fn put_options(&self, ask: &Ask<'_>, answer: &Answer<'_>, boot: &BootAnswer, writer: &mut Writer<'_>) {
        if let Some(kind) = answer.kind {
            writer.put(code::MESSAGE_TYPE, &[kind.into()]);
            writer.put(code::SERVER_ID, &locate::server_id(&self.interfaces, ask, answer.network).octets());
        }
        if let Some(seconds) = answer.seconds {
            put_times(seconds, writer);
        }
        writer.put(code::SUBNET_MASK, &answer.network.mask().octets());
        put_boot(ask, boot, writer);
        put_network(ask, answer.network, writer);
        echo_client_id(ask, writer);
        echo_machine_id(ask, writer);
        echo_subnet(ask, writer);
    }
}

/// Lease time, and the moments to renew and rebind: a half and seven eighths of it (RFC 2131 §4.4.5).
fn put_times(seconds: u32, writer: &mut Writer<'_>) {
    writer.put_u32(code::LEASE_TIME, seconds);
    writer.put_u32(code::T1, seconds / 2);
    writer.put_u32(code::T2, seconds - seconds / 8);
}

fn put_boot(ask: &Ask<'_>, boot: &BootAnswer, writer: &mut Writer<'_>) {
    for (code, value) in &boot.options {
        writer.put(*code, value);
    }
    if let Some(file) = &boot.file {
        writer.boot_file(file);
        // HTTP Boot reads the option alone; others read the field, and the option when they ask for it.
        if matches!(ask.client, Client::Http(_)) || asked(ask, code::BOOT_FILE) {
            writer.put(code::BOOT_FILE, file.as_bytes());
        }
        if asked(ask, code::TFTP_SERVER) {
            writer.put(code::TFTP_SERVER, writer.siaddr.to_string().as_bytes());
        }
    }
    if matches!(ask.client, Client::Ipxe(_)) {
        // Without it iPXE waits for a proxyDHCP offer before it continues.
        writer.put(code::IPXE, &[ipxe::NO_PXEDHCP, 1, 1]);
    }
}

fn put_network(ask: &Ask<'_>, network: &Network, writer: &mut Writer<'_>) {
    let reservation = ask.reservation();
    writer.put_addresses(code::ROUTER, &network.routers);
    if let Some(reservation) = reservation
        && wanted(ask, code::HOSTNAME)
    {
        writer.put(code::HOSTNAME, reservation.hostname.as_bytes());
    }
    let broadcast = [network.broadcast()];
    for (code, addresses) in [
        (code::DNS, network.dns.as_slice()),
        (code::BROADCAST, &broadcast),
        (code::LOG_SERVER, &network.log_servers),
        (code::NTP, &network.ntp),
    ] {
        if wanted(ask, code) {
            writer.put_addresses(code, addresses);
        }
    }
    if let Some(domain) = network.domain.as_deref().filter(|_| wanted(ask, code::DOMAIN_NAME)) {
        writer.put(code::DOMAIN_NAME, domain.as_bytes());
    }
    if let Some(mtu) = network.mtu.filter(|_| wanted(ask, code::MTU)) {
        writer.put(code::MTU, &mtu.to_be_bytes());
    }
    if !network.search.is_empty() && wanted(ask, code::DOMAIN_SEARCH) {
        writer.put(code::DOMAIN_SEARCH, &search_list(&network.search));
    }
    let own_options = reservation.map(|reservation| reservation.options.as_slice()).unwrap_or(&[]);
    for (code, value) in own_options.iter().chain(&network.options).filter(|(code, _)| wanted(ask, *code)) {
        writer.put(*code, value);
    }
}

/// The client's identifier goes back to it, so that it knows the answer as its own (RFC 6842).
fn echo_client_id(ask: &Ask<'_>, writer: &mut Writer<'_>) {
    if let Some(id) = ask.packet.options.get(code::CLIENT_ID) {
        writer.put(code::CLIENT_ID, id);
    }
}

/// Firmware that names its machine gets the name back: it belongs into every packet of a boot (RFC 4578
/// §2.3).
pub(super) fn echo_machine_id(ask: &Ask<'_>, writer: &mut Writer<'_>) {
    let id = ask.packet.options.get(code::CLIENT_UUID);
    if let Some(id) = id.filter(|id| id.len() == MACHINE_ID_BYTES) {
        writer.put(code::CLIENT_UUID, id);
    }
}

/// A server that heeds the subnet selection sends it back (RFC 3011 §2.1): a client that misses it takes no
/// offer.
fn echo_subnet(ask: &Ask<'_>, writer: &mut Writer<'_>) {
    if let Some(subnet) = ask.packet.options.get(code::SUBNET_SELECTION).filter(|subnet| subnet.len() == 4) {
        writer.put(code::SUBNET_SELECTION, subnet);
    }
}

/// Whether the client asked for the option by name.
fn asked(ask: &Ask<'_>, code: u8) -> bool {
    ask.packet.options.get(code::PARAMETER_LIST).is_some_and(|list| list.contains(&code))
}

/// Whether the option is to be sent: asked for, or the client did not say what it wants.
fn wanted(ask: &Ask<'_>, code: u8) -> bool {
    !ask.packet.options.has(code::PARAMETER_LIST) || asked(ask, code)
}

/// Domains as labels (RFC 3397, without compression); a label that is empty or too long ends its domain.
fn search_list(domains: &[String]) -> Vec<u8> {
    let mut out = Vec::new();
    for domain in domains {
        for label in domain.split('.').filter(|label| !label.is_empty()) {
            let Some(len) = u8::try_from(label.len()).ok().filter(|len| *len <= 63) else { break };
            out.push(len);
            out.extend_from_slice(label.as_bytes());
        }
        out.push(0);
    }
    out
}
