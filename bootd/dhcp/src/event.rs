//! What happened, for its readers: the boot timeline, the log, metrics.

use std::fmt;
use std::net::Ipv4Addr;
use std::sync::Arc;

use crate::client::Client;
use crate::hwaddr::HwAddr;
use crate::time::Time;
use crate::wire::PacketError;

/// One thing that happened between this server and one machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: Time,
    /// What.
    pub what: What,
    /// The machine, unless the packet was too broken to identify it.
    pub hw: Option<HwAddr>,
    /// The node it is, when it is known.
    pub node: Option<Arc<str>>,
    /// The program that asked.
    pub client: Option<Client>,
    /// Index of the interface it came in on; 0 when no packet was the cause.
    pub interface: u32,
    /// Name of the network that was chosen.
    pub network: Option<Arc<str>>,
    /// The address offered, given, refused or declined.
    pub address: Option<Ipv4Addr>,
    /// Boot file or URL in the answer to the client.
    pub file: Option<Arc<str>>,
}

/// The kinds of events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A machine looks for a server.
    Discover,
    /// It was offered an address.
    Offer,
    /// It was given an address.
    Ack,
    /// It got the answer that its address is wrong.
    Nak(NakReason),
    /// It asked for settings only and got them.
    Inform,
    /// proxyDHCP: it got a boot file; the address comes from elsewhere.
    ProxyOffer,
    /// It found its address in use by another machine.
    Decline,
    /// It gave its address back.
    Release,
    /// No node has this link-layer address, and the network has no dynamic range: not answered.
    Unknown,
    /// The node's interface is marked as one that does not boot: not answered.
    NotBooting,
    /// The tables have no address for this host name, which the node's interface goes by: not answered.
    NoAddress(Arc<str>),
    /// The networks behind this interface are not served: not answered, and reported like the dropped ones
    /// below.
    NotServed,
    /// The packet came from a network this server does not know: not answered.
    NoNetwork,
    /// The node's address belongs to another network than the one it asks from: not answered.
    WrongNetwork,
    /// Every dynamic address of the network is taken: not answered.
    PoolFull,
    /// The address about to be offered is in use by the machine named in `by`; another one is taken.
    Conflict {
        /// Who answered for it; `None` when only an echo came back.
        by: Option<HwAddr>,
    },
    /// New leases cannot be made durable: not answered.
    NotDurable,
    /// The client sends more than its share: dropped. Only the first ten such packets of a second are
    /// reported.
    RateLimited,
    /// The packet was dropped; reported like the above.
    Malformed(PacketError),
    /// The lease ended without renewal.
    Expired,
    /// The journal cannot be written: no new leases until it can. Known nodes are served.
    JournalFailed(Arc<str>),
    /// The journal can be written again.
    JournalRecovered,
}

/// Why an address was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NakReason {
    /// The node has another address.
    Reserved,
    /// The address is not on the client's network.
    WrongNetwork,
    /// Another machine holds the address.
    Taken,
    /// The address cannot be leased: outside the dynamic ranges, or not offered.
    NotAvailable,
}

impl NakReason {
    /// The text for option 56.
    pub fn text(self) -> &'static str {
        match self {
            Self::Reserved => "another address is reserved for this machine",
            Self::WrongNetwork => "address is not on this network",
            Self::Taken => "address is leased to another machine",
            Self::NotAvailable => "address is not available",
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Discover => f.write_str("discover"),
            Self::Offer => f.write_str("offer"),
            Self::Ack => f.write_str("ack"),
            Self::Nak(reason) => write!(f, "nak: {}", reason.text()),
            Self::Inform => f.write_str("inform"),
            Self::ProxyOffer => f.write_str("proxy offer"),
            Self::Decline => f.write_str("decline: the machine found its address in use"),
            Self::Release => f.write_str("release"),
            Self::Unknown => f.write_str("ignored: unknown machine, and no dynamic range"),
            Self::NotBooting => f.write_str("ignored: this interface does not boot"),
            Self::NoAddress(name) => write!(f, "ignored: {name} has no IPv4 address"),
            Self::NotServed => f.write_str("ignored: DHCP is not served on this interface (dhcpinterfaces)"),
            Self::NoNetwork => f.write_str("ignored: no network defined for where it came from"),
            Self::WrongNetwork => f.write_str("ignored: the node's address belongs to another network"),
            Self::PoolFull => f.write_str("ignored: no free dynamic address"),
            Self::Conflict { by: Some(hw) } => write!(f, "conflict: address is in use by {hw}"),
            Self::Conflict { by: None } => f.write_str("conflict: address answers to ping"),
            Self::NotDurable => f.write_str("ignored: leases cannot be stored"),
            Self::RateLimited => f.write_str("dropped: too many requests"),
            Self::Malformed(error) => write!(f, "dropped: {error}"),
            Self::Expired => f.write_str("lease expired"),
            Self::JournalFailed(why) => write!(f, "lease journal cannot be written, no new leases: {why}"),
            Self::JournalRecovered => f.write_str("lease journal works again"),
        }
    }
}

/// Gets every event, in order, on the thread that answers packets: it must be quick and never wait.
pub trait Observer: Send + Sync {
    /// Called once for each event.
    fn event(&self, event: &Event);
}

impl<F: Fn(&Event) + Send + Sync> Observer for F {
    fn event(&self, event: &Event) {
        self(event);
    }
}
