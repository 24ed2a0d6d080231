//! `CMD[:WORDS][|CMD[:WORDS]…]`: commands of the server for one node. The column `chain.ondiscover` has them
//! for a machine that has just become the node, the chain word `ondiscover=…` for a step of its chain.
//!
//! Each is run as `CMD NODE WORDS`. Words are separated by blanks; nothing in them is special, and there is
//! no way to name another node than the one that the text is for.

/// Commands of one text.
pub const COMMANDS_MAX: usize = 16;
/// Bytes of one text.
pub const TEXT_BYTES_MAX: usize = 4096;
/// How the step of a chain begins.
const STEP: &str = "ondiscover=";
/// What xCAT's tables name for the discovery of the machine itself, which has been done by then.
const DISCOVERY: &str = "nodediscover";

/// One command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerCommand {
    /// Its name.
    pub name: String,
    /// Its words after the node.
    pub words: Vec<String>,
}

/// Why a text is not a list of commands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OnDiscoverError {
    /// A name with other characters than commands have.
    #[error("'{0}' is not the name of a command; the form is COMMAND:WORDS|COMMAND:WORDS")]
    Name(String),
    /// Too long.
    #[error("more than {TEXT_BYTES_MAX} bytes")]
    TooLong,
    /// Too many.
    #[error("more than {COMMANDS_MAX} commands")]
    TooMany,
}

/// Reads a text.
///
/// # Errors
/// [`OnDiscoverError`].
pub fn commands(text: &str) -> Result<Vec<ServerCommand>, OnDiscoverError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(OnDiscoverError::TooLong);
    }
    let mut list = Vec::new();
    for part in text.split('|').map(str::trim).filter(|part| !part.is_empty()) {
        let (name, words) = part.split_once(':').unwrap_or((part, ""));
        let name = name.trim();
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || name.starts_with('-') || !name.chars().all(is_name) {
            return Err(OnDiscoverError::Name(name.to_owned()));
        }
        if name == DISCOVERY {
            continue;
        }
        if list.len() == COMMANDS_MAX {
            return Err(OnDiscoverError::TooMany);
        }
        let words = words.split_whitespace().map(str::to_owned).collect();
        list.push(ServerCommand { name: name.to_owned(), words });
    }
    Ok(list)
}

/// The commands of a step of a chain, if the server carries that step out.
#[must_use]
pub fn of_step(step: &str) -> Option<&str> {
    step.trim().strip_prefix(STEP)
}

/// A state as the node and others may see it: the commands of a step are the server's alone, as passwords may
/// be among their words.
#[must_use]
pub fn shown(state: &str) -> &str {
    if of_step(state).is_some() { STEP.trim_end_matches('=') } else { state }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        let read = |text: &str| match commands(text) {
            Ok(list) => {
                let shown = |one: ServerCommand| [vec![one.name], one.words].concat().join(" ");
                list.into_iter().map(shown).collect::<Vec<_>>().join(" | ")
            }
            Err(error) => error.to_string(),
        };
        for (text, expected) in [
            ("", ""),
            ("nodediscover", ""),
            ("rspconfig:sshcfg=enable", "rspconfig sshcfg=enable"),
            ("nodediscover|makedns| xdsh:-l  root $(reboot);x ", "makedns | xdsh -l root $(reboot);x"),
            ("a:b:c", "a b:c"),
            (":x", "'' is not the name of a command; the form is COMMAND:WORDS|COMMAND:WORDS"),
            (
                "/bin/sh:-c x",
                "'/bin/sh' is not the name of a command; the form is COMMAND:WORDS|COMMAND:WORDS",
            ),
            ("-x", "'-x' is not the name of a command; the form is COMMAND:WORDS|COMMAND:WORDS"),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
        assert_eq!(read(&"a|".repeat(COMMANDS_MAX)), vec!["a"; COMMANDS_MAX].join(" | "));
        assert_eq!(read(&"a|".repeat(COMMANDS_MAX + 1)), "more than 16 commands");
        assert_eq!(read(&"a".repeat(TEXT_BYTES_MAX + 1)), "more than 4096 bytes");
        assert_eq!((of_step("ondiscover=a:b|c"), of_step("runcmd=a")), (Some("a:b|c"), None));
        assert_eq!(
            (shown("ondiscover=rspconfig:password=x"), shown("runcmd=a b")),
            ("ondiscover", "runcmd=a b")
        );
    }
}
