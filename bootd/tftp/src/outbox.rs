//! Packets that an engine wants sent, collected in one buffer so that the shell can hand many to the kernel
//! at once.

use std::net::{Ipv4Addr, SocketAddrV4};

/// Which of our sockets a packet came in by or leaves by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortId(pub u8);

impl PortId {
    /// The well-known port.
    pub const LISTEN: PortId = PortId(0);
    /// Ids from here on are the well-known port on one interface each.
    const FIRST_INTERFACE: u8 = 64;

    /// The well-known port on the interface with that number, below 192.
    pub fn on_interface(number: u8) -> Self {
        PortId(Self::FIRST_INTERFACE.saturating_add(number))
    }

    /// Whether requests come in here.
    pub fn is_listener(self) -> bool {
        self == Self::LISTEN || self.0 >= Self::FIRST_INTERFACE
    }
}

/// The two ends of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Route {
    /// The client.
    pub peer: SocketAddrV4,
    /// The address of ours that the client asked; answers leave from it.
    pub local: Ipv4Addr,
    /// The socket of ours.
    pub port: PortId,
}

/// One or several packets to one client.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing {
    /// Where to.
    pub route: Route,
    start: usize,
    end: usize,
    /// If set, the bytes are several packets of this size (the last may be shorter): the kernel can cut them.
    pub segment: Option<u16>,
}

/// Collected packets; reused, so that sending allocates nothing in the long run.
#[derive(Debug, Default)]
pub struct Outbox {
    bytes: Vec<u8>,
    packets: Vec<Outgoing>,
}

impl Outbox {
    /// Adds one packet that `write` appends.
    pub fn packet(&mut self, route: Route, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        write(&mut self.bytes);
        self.packets.push(Outgoing { route, start, end: self.bytes.len(), segment: None });
    }

    /// Adds a train of packets, `segment` bytes each but the last.
    pub fn train<E>(
        &mut self,
        route: Route,
        segment: Option<u16>,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        let start = self.bytes.len();
        if let Err(error) = write(&mut self.bytes) {
            self.bytes.truncate(start);
            return Err(error);
        }
        self.packets.push(Outgoing { route, start, end: self.bytes.len(), segment });
        Ok(())
    }

    /// What is to be sent, in order.
    pub fn packets(&self) -> &[Outgoing] {
        &self.packets
    }

    /// The bytes of one entry.
    pub fn bytes_of(&self, packet: &Outgoing) -> &[u8] {
        self.bytes.get(packet.start..packet.end).unwrap_or_default()
    }

    /// The single packets of one entry.
    pub fn split<'a>(&'a self, packet: &Outgoing) -> impl Iterator<Item = &'a [u8]> {
        let bytes = self.bytes_of(packet);
        let size = packet.segment.map_or(bytes.len(), usize::from).max(1);
        bytes.chunks(size)
    }

    /// Whether nothing is to be sent.
    pub fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// Forgets everything, keeping the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.packets.clear();
    }
}
