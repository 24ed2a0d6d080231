//! The values of option 53 (RFC 2132 §9.6).

/// DHCP message types that a server reads or writes. Types of later RFCs, such as leasequery, are not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum MessageType {
    /// A client looks for servers.
    Discover = 1,
    /// A server offers an address.
    Offer = 2,
    /// A client takes an offer, checks an address after a restart, or renews a lease.
    Request = 3,
    /// A client reports that another machine uses the address.
    Decline = 4,
    /// A server commits a lease.
    Ack = 5,
    /// A server refuses a request.
    Nak = 6,
    /// A client gives its address back.
    Release = 7,
    /// A client with an address asks for options alone.
    Inform = 8,
}

impl From<MessageType> for u8 {
    fn from(kind: MessageType) -> Self {
        kind as u8
    }
}
