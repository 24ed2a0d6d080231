//! Every number that bounds something.

use std::time::Duration;

/// Bytes of a packet as it arrives: all that UDP over IPv4 can carry.
pub const PACKET_BYTES_MAX: usize = 65_507;
/// Bytes of a packet after decompression.
pub const XML_BYTES_MAX: usize = 256 * 1024;
/// Elements of a packet.
pub const ELEMENTS_MAX: usize = 2048;
/// Bytes that are kept of one element's text; what is longer is cut.
pub const TEXT_BYTES_MAX: usize = 4096;
/// Network interfaces of a machine.
pub const NICS_MAX: usize = 64;
/// Management addresses of one LLDP neighbour.
pub const NEIGHBOUR_ADDRESSES_MAX: usize = 8;
/// PCI devices of a machine.
pub const PCI_DEVICES_MAX: usize = 256;
/// Bytes of one of them, as text.
pub const PCI_BYTES_MAX: usize = 64;
/// Bytes of `discoverydata.otherdata`.
pub const OTHER_DATA_BYTES_MAX: usize = 2048;
/// Elements that mean nothing to us and are kept.
pub const OTHER_ELEMENTS_MAX: usize = 64;

/// VLANs of a switch that are walked one by one.
pub const VLANS_MAX: usize = 256;
/// Addresses that are kept of one switch.
pub const SWITCH_MACS_MAX: usize = 100_000;
/// Ports that are kept of one switch.
pub const SWITCH_PORTS_MAX: usize = 16_384;
/// MACs on a port up to which it may be a machine's: default. A machine brings its NIC, its BMC, its virtual
/// ones.
pub const EDGE_MACS: usize = 8;
/// How long a place where a MAC was learnt is good for.
pub const HIT_TIME: Duration = Duration::from_secs(300);
/// A MAC that no table has does not make a switch be read again within this time.
pub const MISS_TIME: Duration = Duration::from_secs(20);

/// Nodes that are held for machines while their assignment is written.
pub const RESERVATIONS_MAX: usize = 16_384;
/// How long a node is held for a machine that is not heard of again.
pub const RESERVATION_TIME: Duration = Duration::from_secs(300);
/// Machines that wait for a person. Those that nothing is known of go first when it is full.
pub const QUEUE_MAX: usize = 4096;
/// Bytes that all machines that wait take up together; one may be as large as a packet, and usually has a few
/// hundred.
pub const QUEUE_BYTES_MAX: usize = 16 << 20;
/// A machine that was not heard for this time waits no longer.
pub const WAITING_TIME: Duration = Duration::from_secs(7 * 24 * 3600);
/// Rules.
pub const RULES_MAX: usize = 256;
/// Addresses of a range of sequential discovery.
pub const ADDRESSES_MAX: usize = 65_536;
