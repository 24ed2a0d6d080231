//! DHCP (v4) for machines that boot.
//!
//! Where to start reading: [`engine::Engine::handle`] takes a packet and returns the actions; everything it
//! needs comes in through [`directory::Directory`] (the model) and everything that happened goes out through
//! [`event::Observer`]. [`shell::serve`] puts sockets, clock and disk around it.
//!
//! | module | subject |
//! |---|---|
//! | [`wire`] | packets: options in order, overload, long options, size limits |
//! | [`hwaddr`], [`client`] | which machine, and which program on it |
//! | [`boot`] | which file it is to load |
//! | [`directory`] | networks and reservations, asked for at each packet |
//! | [`lease`] | the table of leases, and the journal that makes them durable |
//! | [`engine`] | the protocol |
//! | [`shell`] | sockets, raw frames, probes, the journal's thread |
//! | [`probe`] | who answers on a link |
//! | [`fuzz`] | the entry of fuzzers: any bytes, several engines |
//! | [`fixed`] | a directory that holds everything itself, for tests, benches and simulators |
//!
//! Deliberately missing: DHCPv6, failover, dynamic DNS.

pub mod boot;
pub mod client;
pub mod directory;
pub mod engine;
pub mod event;
pub mod fixed;
#[cfg(feature = "fuzz")]
pub mod fuzz;
pub mod hwaddr;
pub mod lease;
pub mod probe;
pub mod shell;
pub mod time;
pub mod wire;

pub use hwaddr::HwAddr;
pub use time::Time;
