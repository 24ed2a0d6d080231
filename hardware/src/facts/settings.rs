//! Settings of a service processor itself.

use std::net::Ipv4Addr;

use dawn_ipmi::Secret;

/// Bytes of an SNMP community.
pub const COMMUNITY_BYTES_MAX: usize = 18;
/// Seconds between announcements by ARP.
pub const GARP_SECONDS: std::ops::RangeInclusive<u8> = 2..=127;

/// A setting that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// The address.
    Ip,
    /// The netmask.
    Netmask,
    /// The router.
    Gateway,
    /// Another one.
    BackupGateway,
    /// 802.1q.
    Vlan,
    /// Where alerts go, 1 to 4.
    SnmpDestination(u8),
    /// The community of alerts.
    Community,
    /// Whether alerts are sent.
    Alert,
    /// Announcements by ARP.
    Garp,
}

/// A setting with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setting {
    /// An address: of [`Key::Ip`] to [`Key::BackupGateway`], or an alert's destination.
    Address(Key, Ipv4Addr),
    /// The address comes by DHCP.
    Dhcp,
    /// The VLAN, 1 to 4094, if packets are tagged.
    Vlan(Option<u16>),
    /// The community.
    Community(String),
    /// Whether alerts are sent.
    Alert(bool),
    /// Seconds between announcements.
    GarpSeconds(u8),
    /// The name of the user in a slot; others than the first two also become administrators.
    UserName(u8, String),
    /// The password of the user in a slot.
    Password(u8, Secret),
}
