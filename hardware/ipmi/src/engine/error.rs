//! Why there is no session, and why a request has no answer.

use std::time::Duration;

use crate::crypto::Suite;
use crate::wire::setup::{Privilege, Status};

/// The step of a session that something happened in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Get Channel Authentication Capabilities: the first packet.
    Capabilities,
    /// Open Session of RMCP+.
    OpenSession,
    /// RAKP 1 and 2: user name, and proof that the BMC knows the password.
    Rakp1,
    /// RAKP 3 and 4: proof that we know it.
    Rakp3,
    /// Get Session Challenge of IPMI 1.5.
    Challenge,
    /// Activate Session of IPMI 1.5.
    Activate,
    /// Set Session Privilege Level.
    Privilege,
    /// Afterwards.
    Active,
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Capabilities => "first contact",
            Self::OpenSession => "open session",
            Self::Rakp1 => "RAKP 1",
            Self::Rakp3 => "RAKP 3",
            Self::Challenge => "session challenge",
            Self::Activate => "activate session",
            Self::Privilege => "set privilege",
            Self::Active => "command",
        })
    }
}

/// What an ICMP message said of a BMC's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unreachable {
    /// Nothing listens on the port.
    Port,
    /// No way to the address, or the last router finds no machine there.
    Host,
    /// A firewall says no.
    Prohibited,
}

impl std::fmt::Display for Unreachable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Port => "the port is closed",
            Self::Host => "there is no way to the address",
            Self::Prohibited => "a firewall refuses the packets",
        })
    }
}

/// Why there is no session, or no longer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// The BMC does not answer.
    #[error("no answer to {phase} (sent {sends} times, waited {waited:.1?})")]
    Silent {
        /// The step.
        phase: Phase,
        /// How often the packet was sent.
        sends: u8,
        /// Time since the step began.
        waited: Duration,
    },
    /// ICMP reports that no machine is there.
    #[error("{0}")]
    Unreachable(Unreachable),
    /// The code of RAKP 2 does not fit: the BMC has another password for this user.
    #[error("the password is not the one that the BMC has for this user")]
    WrongPassword,
    /// The code of RAKP 4 does not fit although that of RAKP 2 did: the BMC has a key Kg, or another one.
    #[error("the BMC key (Kg) is not the one that the BMC has")]
    WrongBmcKey,
    /// The BMC refuses a step of RMCP+.
    #[error("{status} ({phase})")]
    Refused {
        /// The step.
        phase: Phase,
        /// The BMC's status.
        status: Status,
    },
    /// The BMC answers a proposed suite with other algorithms, or refuses all that were proposed.
    #[error("no cipher suite in common: the BMC answered suite {} with algorithms {answered:?}", proposed.id())]
    Algorithms {
        /// The last suite proposed.
        proposed: Suite,
        /// The algorithms in the answer.
        answered: [u8; 3],
    },
    /// The BMC has no way to log in that the options allow.
    #[error("the BMC offers no way to log in that is allowed (authentication types {offered:#04x})")]
    NoWayIn {
        /// Its authentication types (IPMI 2.0, table 22-15), those of IPMI 1.5.
        offered: u8,
    },
    /// A password longer than 16 bytes does not fit a session of IPMI 1.5.
    #[error("IPMI 1.5 takes passwords of 16 bytes at most")]
    PasswordLengthV15,
    /// The BMC refuses the privilege.
    #[error("the BMC refuses the privilege {level:?} (code {code:02x}h)")]
    PrivilegeRefused {
        /// The level asked for.
        level: Privilege,
        /// The completion code.
        code: u8,
    },
    /// The BMC refuses a step with a completion code.
    #[error("the BMC refuses {phase} (code {code:02x}h)")]
    Code {
        /// The step.
        phase: Phase,
        /// The completion code.
        code: u8,
    },
    /// An answer of the set-up that is not an answer.
    #[error("the BMC's answer to {phase} is malformed: {why}")]
    Malformed {
        /// The step.
        phase: Phase,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The caller closed the session.
    #[error("the session was closed")]
    Closed,
}

/// Why a request has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The session is not there (any more).
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The BMC does not answer this request; the session is kept.
    #[error("no answer to a command (sent {sends} times, waited {waited:.1?})")]
    Silent {
        /// How often the request was sent.
        sends: u8,
        /// Time since it was sent first.
        waited: Duration,
    },
    /// Too many requests of the session wait already.
    #[error("{} requests of this session wait already", crate::limits::REQUESTS_QUEUED_MAX)]
    Busy,
    /// More data than a request can have.
    #[error("a request has {} data bytes at most", crate::limits::REQUEST_BYTES_MAX)]
    TooLong,
}

/// No room for another session or ping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// In the engine.
    #[error("{} sessions are open already", crate::limits::SESSIONS_MAX)]
    Engine,
    /// With this address.
    #[error("{} sessions with this BMC are open already", crate::limits::SESSIONS_PER_ADDRESS_MAX)]
    Address,
}
