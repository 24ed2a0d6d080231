//! Errors of hardware control: the line that scripts look for, and the details.

use dawn_ipmi::command::{CommandError, Completion};
use dawn_ipmi::engine::error::{Phase, RequestError, SessionError};
use dawn_ipmi::secret::CredentialError;
use dawn_ipmi::wire::setup::Privilege;

/// Why a node has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No driver for this value of `nodehm.mgt`, or none at all.
    #[error("{0}")]
    NoDriver(String),
    /// The driver cannot do this.
    #[error("{0}")]
    Unsupported(String),
    /// The name of the service processor has no address.
    #[error("Could not resolve {0} to an address")]
    Unresolved(String),
    /// What the tables have is a wrong address: it is not looked up.
    #[error("{0} is not an IP address: a leading zero, or too few numbers?")]
    NoAddress(String),
    /// The tables have the name of the service processor for an interface of another node, which another user
    /// may have the right to change.
    #[error(
        "{host} is a name of the node {other}, not of a BMC: give {host} its own row in hosts, or set \
         ipmi.bmc to the address"
    )]
    OtherNode {
        /// The name.
        host: String,
        /// The node.
        other: String,
    },
    /// User name or password do not fit the service processor.
    #[error("{0}")]
    Credentials(CredentialError),
    /// There is no session.
    #[error("{}", session_text(.error))]
    Session {
        /// Who asked whom.
        about: String,
        /// The reason.
        error: SessionError,
    },
    /// A command has failed.
    #[error("{}", command_text(.error, .unknown))]
    Command {
        /// The reason.
        error: CommandError,
        /// The text before the number of a completion code that has no text.
        unknown: &'static str,
    },
    /// The machine's state does not allow it, or the machine did not do it.
    #[error("{0}")]
    Machine(String),
    /// The job of this node ended before it was done.
    #[error("{0}")]
    Ended(&'static str),
}

impl Error {
    /// A command's failure.
    pub fn command(error: CommandError) -> Self {
        Self::command_with("Unknown error code", error)
    }

    /// The failure of a console that could not be activated.
    pub(crate) fn console(error: CommandError) -> Self {
        match error.completion() {
            Some(Completion::CONSOLE_IN_USE) => Self::Machine("another program has the console".to_owned()),
            Some(Completion::CONSOLE_DISABLED) => {
                Self::Machine("serial over LAN is switched off in the BMC".to_owned())
            }
            _ => Self::command(error),
        }
    }

    /// The same, with other words for completion codes without a text.
    pub fn command_with(unknown: &'static str, error: CommandError) -> Self {
        Self::Command { error, unknown }
    }

    /// What the line leaves out, for finding the cause.
    pub fn detail(&self) -> Option<String> {
        match self {
            Self::Session { about, error } => Some(format!("{about}: {error}")),
            Self::Command { error: CommandError::Completion(_), .. } => None,
            Self::Command { error, .. } => Some(error.to_string()),
            _ => None,
        }
    }

    /// The completion code, if that is what it is.
    pub fn completion(&self) -> Option<Completion> {
        match self {
            Self::Command { error, .. } => error.completion(),
            _ => None,
        }
    }
}

/// xCAT's texts.
fn session_text(error: &SessionError) -> String {
    match error {
        SessionError::Silent { phase: Phase::Active, .. } => "timeout".to_owned(),
        SessionError::Silent { .. } | SessionError::Unreachable(_) => "ERROR: timeout".to_owned(),
        SessionError::WrongPassword => "ERROR: Incorrect password provided".to_owned(),
        SessionError::Refused { status, .. } => format!("ERROR: {}", status_text(status.0)),
        SessionError::Algorithms { .. } => {
            "ERROR: No cipher suite match with proposed security algorithms".to_owned()
        }
        SessionError::PrivilegeRefused { level, code } => {
            let level = if *level == Privilege::Administrator { " administrator" } else { "" };
            format!("ERROR: Failed requesting {level} privilege {code:02x}h")
        }
        SessionError::NoWayIn { offered } if *offered != 0 => {
            "ERROR: the BMC says that it has no IPMI 2.0; IPMI 1.5 with MD5 is for nodes in site.ipmi15"
                .to_owned()
        }
        other => format!("ERROR: {other}"),
    }
}

/// Status codes of RMCP+ (IPMI 2.0, table 13-15).
fn status_text(status: u8) -> String {
    match status {
        0x01 => "Insufficient resources to create new session (wait for existing sessions to timeout)",
        0x04 => "Invalid authentication algorithm",
        0x08 => "Inactive Session ID",
        0x09 => "Invalid role",
        0x0a => "Unauthorised role or privilege level requested",
        0x0c => "Invalid username length",
        0x0d => "Unauthorized name",
        0x11 => "No cipher suite match with proposed security algorithms",
        0x12 => "Illegal or unrecognized parameter",
        other => return format!("{other} code on opening RMCP+ session"),
    }
    .to_owned()
}

fn command_text(error: &CommandError, unknown: &str) -> String {
    match error {
        CommandError::Completion(code) => match code.text() {
            Some(text) => text.to_owned(),
            None => format!("{unknown} {:02x}h", code.0),
        },
        CommandError::Request(RequestError::Silent { .. }) => "timeout".to_owned(),
        CommandError::Request(RequestError::Session(error)) => session_text(error),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dawn_ipmi::engine::error::Unreachable;
    use dawn_ipmi::wire::setup::Status;
    use std::time::Duration;

    #[test]
    fn texts_of_the_reference() {
        let silent = |phase| SessionError::Silent { phase, sends: 3, waited: Duration::from_secs(5) };
        let refused = |status| SessionError::Refused { phase: Phase::Rakp1, status: Status(status) };
        for (error, text) in [
            (silent(Phase::Capabilities), "ERROR: timeout"),
            (silent(Phase::Rakp3), "ERROR: timeout"),
            (silent(Phase::Active), "timeout"),
            (SessionError::Unreachable(Unreachable::Port), "ERROR: timeout"),
            (SessionError::WrongPassword, "ERROR: Incorrect password provided"),
            (refused(0x0d), "ERROR: Unauthorized name"),
            (refused(0x33), "ERROR: 51 code on opening RMCP+ session"),
            (
                SessionError::PrivilegeRefused { level: Privilege::Administrator, code: 0x81 },
                "ERROR: Failed requesting  administrator privilege 81h",
            ),
        ] {
            let error = Error::Session { about: "cn1".to_owned(), error };
            assert_eq!(error.to_string(), text);
            assert!(error.detail().is_some_and(|detail| detail.starts_with("cn1: ")));
        }
    }

    #[test]
    fn texts_of_completion_codes() {
        for (code, unknown, text) in [
            (0xd4, "Unknown error code", "Insufficient privilege level"),
            (0x93, "Unknown error code", "Unknown error code 93h"),
            (0x93, "Unknown response", "Unknown response 93h"),
        ] {
            let error = CommandError::Completion(Completion(code));
            assert_eq!(Error::command_with(unknown, error).to_string(), text);
        }
    }
}
