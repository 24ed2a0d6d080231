//! The sockets of all interfaces, and sending through them.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::{Arc, Mutex, PoisonError};

use socket2::Socket;

use super::interfaces::Found;
use super::udp::Datagram;
use super::{Config, ServeError, raw, udp};
use crate::engine::{Outgoing, PORT_PXE, Target};

/// One UDP socket.
pub(super) struct Port {
    pub fd: OwnedFd,
    pub interface: u32,
    pub port: u16,
}

/// All sockets, open for a set of interfaces.
pub(super) struct Ports {
    /// Names and numbers of the interfaces they are for.
    pub interfaces: Vec<(String, u32)>,
    pub udp: Vec<Port>,
    pub arp: Vec<OwnedFd>,
    pub direct: OwnedFd,
    pub icmp: Socket,
    /// Ethernet address of each interface that has one.
    pub macs: HashMap<u32, [u8; 6]>,
}

impl Ports {
    pub(super) fn open(config: &Config, found: &[Found]) -> Result<Self, ServeError> {
        let any = |what| move |source| ServeError::Socket { interface: "all".into(), what, source };
        let mut ports = Self {
            interfaces: identity(found),
            udp: Vec::new(),
            arp: Vec::new(),
            direct: raw::sender().map_err(any("open a packet socket"))?,
            icmp: raw::icmp().map_err(any("open an ICMP socket"))?.into(),
            macs: found.iter().filter_map(|f| Some((f.interface.index, f.mac?))).collect(),
        };
        for found in found {
            ports.open_interface(config, found)?;
        }
        Ok(ports)
    }

    fn open_interface(&mut self, config: &Config, found: &Found) -> Result<(), ServeError> {
        let name = &found.interface.name;
        let fail = |what| move |source| ServeError::Socket { interface: name.clone(), what, source };
        let interface = found.interface.index;
        let numbers = [(config.settings.server_port, true), (PORT_PXE, config.pxe_port)];
        for (port, _) in numbers.into_iter().filter(|(_, wanted)| *wanted) {
            let fd = udp::bind(name, port, config.receive_buffer_bytes).map_err(fail("bind the UDP port"))?;
            self.udp.push(Port { fd, interface, port });
        }
        if config.settings.probe && found.mac.is_some() {
            let fd = raw::arp_listener(interface).map_err(fail("listen to ARP"))?;
            self.arp.push(fd);
        }
        Ok(())
    }

    fn udp_for(&self, interface: u32, port: u16) -> Option<RawFd> {
        let found = self.udp.iter().find(|socket| socket.interface == interface && socket.port == port);
        found.map(|socket| socket.fd.as_raw_fd())
    }

    /// Sends answers, those of one socket together.
    fn send(&self, outgoing: &[Outgoing]) {
        let mut direct = Vec::new();
        let mut by_socket: Vec<(RawFd, Vec<Datagram<'_>>)> = Vec::new();
        for answer in outgoing {
            let from = SocketAddrV4::new(answer.from, answer.from_port);
            let to = match answer.to {
                Target::Hw(hw, to) => {
                    let (bytes, interface) = (answer.bytes.as_slice(), answer.interface);
                    direct.push(raw::Direct { bytes, hw, from, to, interface });
                    continue;
                }
                Target::Ip(to) => to,
                Target::Broadcast(port) => SocketAddrV4::new(Ipv4Addr::BROADCAST, port),
            };
            let Some(fd) = self.udp_for(answer.interface, answer.from_port) else { continue };
            let interface = if *to.ip() == Ipv4Addr::BROADCAST { answer.interface } else { 0 };
            let datagram = Datagram { bytes: &answer.bytes, to, from: answer.from, interface };
            match by_socket.iter_mut().find(|(have, _)| *have == fd) {
                Some((_, datagrams)) => datagrams.push(datagram),
                None => by_socket.push((fd, vec![datagram])),
            }
        }
        let mut refused = by_socket.iter().map(|(fd, datagrams)| udp::send(*fd, datagrams)).sum::<usize>();
        if !direct.is_empty() {
            refused += raw::send(self.direct.as_raw_fd(), &direct);
        }
        if refused > 0 {
            tracing::debug!(refused, "DHCP answers the kernel did not take");
        }
    }
}

pub(super) fn identity(found: &[Found]) -> Vec<(String, u32)> {
    found.iter().map(|found| (found.interface.name.clone(), found.interface.index)).collect()
}

/// The sockets both threads send through; replaced as a whole when the interfaces change.
pub(super) struct Senders {
    ports: Mutex<Arc<Ports>>,
}

impl Senders {
    pub(super) fn new(ports: Arc<Ports>) -> Self {
        Self { ports: Mutex::new(ports) }
    }

    pub(super) fn send(&self, outgoing: &[Outgoing]) {
        if !outgoing.is_empty() {
            self.ports().send(outgoing);
        }
    }

    fn ports(&self) -> Arc<Ports> {
        self.ports.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn replace(&self, ports: Arc<Ports>) {
        *self.ports.lock().unwrap_or_else(PoisonError::into_inner) = ports;
    }
}
