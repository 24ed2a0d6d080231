//! TFTP for machines that boot: engine and sockets.
//!
//! | module | what it is |
//! |---|---|
//! | [`packet`] | the wire: RFC 1350, RFC 2347 |
//! | [`options`] | negotiation: RFC 2348, 2349, 7440 |
//! | [`transfer`] | one transfer as a state machine |
//! | [`server`] | all transfers: table, admission, timers |
//! | [`client`] | a reading client, for tests and measurements |
//! | [`outbox`] | packets on their way from the engine to the sockets |
//! | [`serve()`] | the thread with sockets and clock |
//! | [`limits`] | every number that bounds something |
//!
//! Start reading at [`transfer`]. The engine takes bytes and a time and returns bytes and a deadline; the
//! same code runs behind sockets, under the fuzzer and in the simulator of this crate's tests.
//!
//! **Invariants.** No socket, clock or randomness outside `net` and `serve`. No answer to an acknowledgement
//! that was answered before. Only IPv4: no firmware we know of loads by TFTP over IPv6 alone.
//!
//! Deliberately missing: writing (WRQ is refused), netascii, RFC 2090 multicast.

pub mod client;
mod counts;
pub mod fuzz;
pub mod limits;
mod net;
pub mod options;
pub mod outbox;
pub mod packet;
pub mod serve;
pub mod server;
pub mod transfer;

pub use limits::Limits;
pub use serve::{Config, NotPorts, Running, TftpError, TransferPorts, serve};
