//! SNMP for readers of tables: a client engine without sockets, and a thin shell.
//!
//! | module | what it is |
//! |---|---|
//! | [`ber`] | the encoding: the part of X.690 that SNMP uses (RFC 3417 §8) |
//! | [`oid`], [`value`] | names and values of objects (RFC 2578) |
//! | [`pdu`] | requests and responses (RFC 1157, RFC 3416) |
//! | [`message`] | what is around them: community (v1, v2c) or SNMPv3 (RFC 3412) |
//! | [`usm`] | user, authentication and privacy of SNMPv3 (RFC 3414, 3826, 7860) |
//! | [`credentials`] | what an agent asks for; types that do not print |
//! | [`session`] | one agent: questions, retransmission, engine discovery, time |
//! | `engine` | what is known of an agent of SNMPv3: its keys and its clock |
//! | [`walk`] | a subtree read to its end, within bounds |
//! | [`agent`] | the socket and the clock |
//! | [`failure`] | why there is no answer |
//! | [`limits`] | every number that bounds something |
//!
//! Start reading at [`session`]. It takes bytes and a time and returns bytes and a deadline; the same code
//! runs behind a socket, under the fuzzer and in the simulator of this crate's tests.
//!
//! **Invariants.** No socket, clock or randomness outside `agent`. A datagram that is not the awaited answer
//! changes nothing but the reason given when no answer comes. A response weaker than the request (not
//! authenticated, not encrypted) is never believed.
//!
//! Deliberately missing: SET, traps, informs, TCP and TLS as transport, keys of privacy longer than 128 bits.

#![forbid(unsafe_code)]

pub mod agent;
pub mod ber;
pub mod credentials;
mod engine;
pub mod failure;
pub mod fuzz;
pub mod limits;
pub mod message;
pub mod oid;
pub mod pdu;
pub mod session;
pub mod usm;
pub mod value;
pub mod walk;

pub use agent::{Agent, AskError};
pub use credentials::{Community, Credentials, User, UserError};
pub use failure::{Failure, Ignored};
pub use oid::Oid;
pub use session::{Session, Step, Task};
pub use usm::{Authentication, Privacy};
pub use value::{Value, VarBind};
