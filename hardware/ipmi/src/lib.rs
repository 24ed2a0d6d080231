//! IPMI over LAN: sessions with many BMCs, commands, sensors, logs and consoles.
//!
//! | module | what it is |
//! |---|---|
//! | [`wire`] | datagrams and messages, both directions: RMCP, ASF, IPMI 1.5, RMCP+ |
//! | [`crypto`] | cipher suites 3 and 17 |
//! | [`secret`] | passwords and keys, which do not print |
//! | [`engine`] | all sessions: set-up, repeats, sequence windows, timers |
//! | [`command`] | typed requests and answers |
//! | [`client`] | the shell: sockets, clock, random bytes, futures |
//! | [`sim`] | a BMC that lives in memory, for tests and benches |
//! | [`fuzz`] | the entry of fuzzers |
//! | [`limits`] | every number that bounds something |
//!
//! Start reading at [`engine::Engine`]. The engine takes bytes and a time and returns bytes, a deadline and
//! events; the same code runs behind sockets, under the fuzzer and in the simulation of this crate's tests.
//!
//! **Invariants.** No socket, clock or randomness outside of `net` and `client`. A password leaves this
//! machine only as a keyed hash, unless the caller allows sessions of IPMI 1.5 without protection. Cipher
//! suites are those proposed or none.
//!
//! Deliberately missing: cipher suites without encryption, MD2, bridging to other controllers, the BMC's side
//! of the protocol outside of tests. This crate returns facts; commands make texts of them.

pub mod client;
pub mod command;
pub mod crypto;
pub mod engine;
#[cfg(feature = "fuzz")]
pub mod fuzz;
pub mod limits;
mod net;
pub mod secret;
#[cfg(feature = "sim")]
pub mod sim;
pub mod wire;

pub use client::{Client, ConnectError, Console, Keyboard, Session};
pub use crypto::{Seed, Suite};
pub use engine::{ConsoleEvent, Fallback, Protection, SessionOptions};
pub use secret::{Credentials, Secret};
