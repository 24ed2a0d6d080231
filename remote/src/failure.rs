//! Why a command could not be run on a host, in the words of OpenSSH where it has some: scripts look for
//! them.

use crate::names::NameError;
use std::io;
use std::time::Duration;

/// Why there is no exit code of a remote command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The name cannot be one of a host or user.
    #[error("{0}")]
    Name(#[from] NameError),
    /// The resolver has no address.
    #[error("ssh: Could not resolve hostname {host}: {reason}")]
    Resolve {
        /// What was looked up.
        host: String,
        /// The resolver's words.
        reason: String,
    },
    /// No connection.
    #[error("ssh: connect to host {host} port {port}: {reason}")]
    Connect {
        /// Node or host.
        host: String,
        /// Port.
        port: u16,
        /// The system's words.
        reason: String,
    },
    /// No key of the host is known.
    #[error("the host key of {node} is not known; it shows {offered}")]
    UnknownHost {
        /// Node.
        node: String,
        /// Kind and fingerprint of the key it shows.
        offered: String,
    },
    /// The host shows another key than the one it is known by.
    #[error("Host key verification failed: {node} shows {offered}, which is not its key")]
    WrongHost {
        /// Node.
        node: String,
        /// Kind and fingerprint of the key it shows.
        offered: String,
    },
    /// None of the keys is accepted.
    #[error("{user}@{node}: Permission denied ({methods}).")]
    Denied {
        /// User.
        user: String,
        /// Node.
        node: String,
        /// What the host would accept.
        methods: String,
    },
    /// The host ended the connection, or uses another protocol.
    #[error("ssh: {node}: {reason}")]
    Protocol {
        /// Node.
        node: String,
        /// What went wrong.
        reason: String,
    },
    /// Connecting and logging in took too long.
    #[error("ssh: connect to host {host} port {port}: Connection timed out")]
    ConnectTime {
        /// Node or host.
        host: String,
        /// Port.
        port: u16,
    },
    /// No output for too long.
    #[error("no output for {} s", .0.as_secs())]
    Silent(Duration),
    /// A program on this machine could not be started.
    #[error("{program}: {reason}")]
    Program {
        /// Its path.
        program: String,
        /// The system's words.
        reason: String,
    },
    /// The caller stopped it.
    #[error("stopped")]
    Stopped,
}

impl Failure {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownHost { node, .. } => {
                Some(format!("if this is its key, `makeknownhosts {node} --scan` accepts it."))
            }
            Self::WrongHost { node, .. } => Some(format!(
                "another machine may answer in its place. If the node was installed again by other means, \
                 `makeknownhosts {node} --scan` accepts its new key."
            )),
            _ => None,
        }
    }
}

/// The words of the system for an error, without its number.
pub fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}
