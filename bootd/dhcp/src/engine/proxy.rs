//! proxyDHCP (PXE 2.1 §2.2): boot files next to a DHCP server that is not ours.
//!
//! The offer carries no address, the firmware's vendor class, and option 43 with the discovery control that
//! says: the boot file is in this message, look no further. It is sent a moment late, because much firmware
//! forgets a boot file that comes before its address. Firmware that asks at port 4011 anyway gets the same
//! file there, at the port it asked from.

use std::net::{Ipv4Addr, SocketAddrV4};

use super::reply::echo_machine_id;
use super::{Ask, DELAYED_MAX, Engine, Outgoing, Output, PORT_PXE, Target, locate};
use crate::boot::{self, BootAnswer};
use crate::client::Client;
use crate::directory::Network;
use crate::event::{Event, What};
use crate::wire::code::pxe;
use crate::wire::message_type::MessageType;
use crate::wire::packet::{FLAG_BROADCAST, Kind};
use crate::wire::{Writer, code};

impl Engine {
    /// DISCOVER next to another server. Everything else is between the client and that server.
    pub(super) fn proxy_discover(&mut self, ask: &Ask<'_>, network: &Network, out: &mut Output) {
        if ask.packet.kind != Kind::Discover || !speaks_pxe(ask.client) {
            return;
        }
        out.events.push(ask.event(What::Discover));
        let to = match ask.packet.giaddr {
            Ipv4Addr::UNSPECIFIED => Target::Broadcast(self.settings.client_port),
            relay => Target::Ip(SocketAddrV4::new(relay, self.settings.server_port)),
        };
        let port = self.settings.server_port;
        let Some(answer) = self.proxy_answer(ask, network, MessageType::Offer, (port, to), out) else {
            return;
        };
        let at = ask.now + self.settings.proxy_delay_ms;
        if self.settings.proxy_delay_ms == 0 || self.delayed.len() >= DELAYED_MAX {
            self.push(answer, out);
        } else {
            self.delayed.push_back((at, answer));
        }
    }

    /// A request at port 4011, with or without another server.
    pub(super) fn boot_server(&mut self, ask: &Ask<'_>, proxied: Option<&Network>, out: &mut Output) {
        let fixed = ask.fixed.map(|(_, _, network)| network);
        let Some(network) = proxied.or(fixed).or(ask.link.first().copied()) else { return };
        if !matches!(ask.packet.kind, Kind::Request | Kind::Inform | Kind::Discover)
            || !speaks_pxe(ask.client)
        {
            return;
        }
        let address =
            if ask.packet.ciaddr.is_unspecified() { *ask.incoming.source.ip() } else { ask.packet.ciaddr };
        let to = Target::Ip(SocketAddrV4::new(address, ask.incoming.source.port()));
        if let Some(answer) = self.proxy_answer(ask, network, MessageType::Ack, (PORT_PXE, to), out) {
            self.push(answer, out);
        }
    }

    fn proxy_answer(
        &mut self,
        ask: &Ask<'_>,
        network: &Network,
        kind: MessageType,
        (from_port, to): (u16, Target),
        out: &mut Output,
    ) -> Option<Outgoing> {
        let boot = self.boot_answer(ask, network);
        // No file for this client: without an answer it tries its disk or another boot server.
        let file = boot.file.as_deref()?;
        let network_name = Some(network.name.clone());
        out.events.push(Event {
            file: Some(file.into()),
            network: network_name,
            ..ask.event(What::ProxyOffer)
        });
        let from = locate::server_address(&self.interfaces, ask, network);
        let bytes = proxy_bytes(ask, kind, from, self.next_server(ask, network), &boot);
        Some(Outgoing { bytes, interface: ask.incoming.interface, from, from_port, to, durable: false })
    }

    pub(super) fn boot_answer(&self, ask: &Ask<'_>, network: &Network) -> BootAnswer {
        let server = boot::Server {
            address: self.next_server(ask, network),
            http_port: self.settings.http_port,
            loaders: &self.settings.loaders,
        };
        let rule = ask.reservation().map_or(&network.boot, |reservation| &reservation.boot);
        let vendor_class = ask.packet.options.get(code::VENDOR_CLASS).unwrap_or(&[]);
        boot::choose(rule, ask.client, vendor_class, &server)
    }

    /// Where the client gets its files.
    pub(super) fn next_server(&self, ask: &Ask<'_>, network: &Network) -> Ipv4Addr {
        let own = ask.reservation().and_then(|reservation| reservation.next_server);
        own.or(network.next_server).unwrap_or_else(|| locate::server_address(&self.interfaces, ask, network))
    }
}

fn speaks_pxe(client: Client) -> bool {
    matches!(client, Client::Pxe(_) | Client::Http(_) | Client::Ipxe(_) | Client::Etherboot)
}

fn proxy_bytes(
    ask: &Ask<'_>,
    kind: MessageType,
    server: Ipv4Addr,
    next_server: Ipv4Addr,
    boot: &BootAnswer,
) -> Vec<u8> {
    let mut writer = Writer::new(ask.packet);
    writer.siaddr = next_server;
    writer.ciaddr = ask.packet.ciaddr;
    if kind == MessageType::Offer {
        writer.flags |= FLAG_BROADCAST;
    }
    writer.put(code::MESSAGE_TYPE, &[kind.into()]);
    writer.put(code::SERVER_ID, &server.octets());
    let http = matches!(ask.client, Client::Http(_));
    writer.put(code::VENDOR_CLASS, if http { b"HTTPClient" } else { b"PXEClient" });
    if let Some(file) = &boot.file {
        writer.boot_file(file);
        writer.put(code::BOOT_FILE, file.as_bytes());
    }
    writer.server_name(&next_server.to_string());
    if !http {
        writer.put(code::VENDOR, &[pxe::DISCOVERY_CONTROL, 1, pxe::USE_BOOT_FILE, code::END]);
    }
    echo_machine_id(ask, &mut writer);
    writer.finish()
}
