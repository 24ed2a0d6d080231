//! Why a question has no answer.

use std::time::Duration;

use crate::pdu::status_name;

/// What went wrong, for anyone who asked. Nothing in it is secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The agent said nothing that counts.
    #[error("no answer to {attempts} requests{}", .ignored.map(|why| format!("; a datagram was ignored: {why}")).unwrap_or_default())]
    NoAnswer {
        /// How often the question was sent.
        attempts: u32,
        /// Why the last datagram that did come does not count.
        ignored: Option<Ignored>,
    },
    /// The agent answers with an error.
    #[error("the agent answers {} (at name {index})", status_name(*status))]
    Refused {
        /// `error-status` of RFC 3416.
        status: i32,
        /// Which name, counted from 1.
        index: i32,
    },
    /// The agent has no such user.
    #[error("the agent does not know the user")]
    UnknownUser,
    /// The agent does not accept the digest.
    #[error("the agent does not accept the password or the authentication protocol")]
    WrongDigest,
    /// The user may not speak at this level.
    #[error("the agent does not offer this user the level of security that is set")]
    Level,
    /// The agent cannot decrypt.
    #[error("the agent cannot decrypt: the password or the protocol of privacy differs")]
    Decryption,
    /// The agent has no such context.
    #[error("the agent does not know the context")]
    UnknownContext,
    /// The agent goes on reporting another engine or another time.
    #[error("the agent's engine or clock differs in every answer")]
    Unsettled,
    /// The agent reports something that is not known here.
    #[error("the agent reports an error that is not known")]
    UnknownReport,
    /// A walk goes back or in a circle.
    #[error("the names of a table do not increase")]
    NotIncreasing,
    /// A walk is longer than it may be.
    #[error("a table has more than {0} rows")]
    TooManyRows(usize),
    /// A walk takes longer than it may.
    #[error("a table was not read within {0:?}")]
    TooLong(Duration),
    /// More names in a question than may be.
    #[error("a request has more than {0} names")]
    TooManyNames(usize),
}

/// Why a datagram does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ignored {
    /// It is not a message.
    #[error("it is not a message of SNMP")]
    Malformed,
    /// Another version.
    #[error("it has another version")]
    Version,
    /// It answers another question.
    #[error("it answers another question")]
    Stale,
    /// It comes from another engine.
    #[error("it comes from another engine")]
    Engine,
    /// Its digest is wrong.
    #[error("its digest is wrong")]
    Digest,
    /// It is not authenticated or not encrypted, and should be.
    #[error("it is less secure than the request")]
    TooWeak,
    /// It is outside of the time window: a copy of an old one, or the clocks are off.
    #[error("its time is out of the window")]
    Time,
    /// It cannot be decrypted.
    #[error("it cannot be decrypted")]
    Decryption,
    /// Other names than those asked for.
    #[error("it has other names than those asked for")]
    Names,
}
