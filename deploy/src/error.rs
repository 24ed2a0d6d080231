//! Why there are no answers, for the administrator: which file and line, which directive, and what to do.

use crate::files::FileError;
use dawn_cluster::Advised;
use dawn_plan::PlanError;

/// Why there are no answers for a node.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
pub enum DeployError {
    /// The tables do not say how the node is installed.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The template itself cannot be read.
    #[error("the template {path} cannot be read: {reason}")]
    NoTemplate {
        /// Its path.
        path: String,
        /// Why not.
        reason: FileError,
    },
    /// The name of the server is known and its address is not.
    #[error(
        "Unable to resolve master \"{master}\" to an IP address for {node}: it is neither an address nor a node with hosts.ip"
    )]
    NoMasterAddress {
        /// The server.
        master: String,
        /// The node.
        node: String,
    },
    /// A directive has no value.
    #[error(transparent)]
    Render(#[from] RenderError),
}

impl Advised for DeployError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Render(error) => error.problem.hint(),
            Self::NoTemplate { reason, .. } => reason.hint(),
            Self::Plan(error) => error.hint(),
            Self::NoMasterAddress { .. } => None,
        }
    }
}

/// A directive has no value.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{file}:{line}: {directive}: {problem}")]
pub struct RenderError {
    /// The file that contains it.
    pub file: String,
    /// The line, from 1 on.
    pub line: usize,
    /// The directive as written there.
    pub directive: String,
    /// Why not.
    pub problem: Box<Problem>,
}

/// Why a directive has no value. The texts are xCAT's where it has one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Problem {
    /// A file cannot be read.
    #[error("cannot read {path}: {reason}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why not.
        reason: FileError,
    },
    /// A variable in the path of an include is not set.
    #[error("${0} in the path is not set")]
    NoVariable(String),
    /// Files include each other too deeply, or in a circle.
    #[error("files include each other more than {0} deep")]
    Deep(usize),
    /// Too many includes.
    #[error("the template includes more than {0} files")]
    Many(usize),
    /// The text is too long.
    #[error("the text is longer than {0} bytes")]
    Long(usize),
    /// Not three parts.
    #[error("it is not TABLE:KEY:COLUMN")]
    NotATable,
    /// An unknown table.
    #[error("Unable to open table named {name}")]
    NoTable {
        /// The name.
        name: String,
        /// The name of a table like it.
        meant: Option<String>,
    },
    /// An unknown column.
    #[error("the table {table} has no column {column}")]
    NoColumn {
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// The name of a column like it.
        meant: Option<String>,
    },
    /// There is no such row, or its cell is empty.
    #[error("Unable to find requested field <{column}> from table <{table}>, with key <{key}>")]
    NoValue {
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// The key as xCAT writes it.
        key: String,
        /// How to set it.
        set: String,
    },
    /// `site.xcatdebugmode` is none of 0, 1 and 2.
    #[error("Unable to recognise field value from table site, with key xcatdebugmode: it is '{0}'")]
    DebugMode(String),
    /// A value with a line break or another control character.
    #[error("the value has a line break or a control character, which would add a line")]
    ControlCharacter,
    /// A word for a boot loader that its quotes would not hold.
    #[error("the word '{0}' has a quote or a backslash")]
    Quote(String),
    /// The password cannot be hashed.
    #[error("the password cannot be hashed")]
    NoHash,
    /// The node has no MAC address.
    #[error("missing mac data for {0}")]
    NoMac(String),
    /// The plan does not know.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A part that is begun and not ended.
    #[error("there is no {0} after it")]
    NotEnded(&'static str),
    /// An element of `linuximage.partitionfile` of a kind that this installer does not take here.
    #[error("partitionfile: '{element}' cannot be used with this installer")]
    Layout {
        /// The element.
        element: String,
    },
    /// A directive that runs a program.
    #[error("Dawn runs no command to make an answer file")]
    Command,
    /// A directive that is known and not implemented.
    #[error("this directive is not implemented")]
    NotImplemented,
}

impl Advised for Problem {
    fn hint(&self) -> Option<String> {
        let meant = |name: &Option<String>| name.as_ref().map(|name| format!("did you mean '{name}'?"));
        match self {
            Self::Unreadable { reason, .. } => reason.hint(),
            Self::Plan(error) => error.hint(),
            Self::NoVariable(name) => Some(format!(
                "set it in the image: `chdef -t osimage IMAGE environvar={name}=VALUE`, or write the path in full"
            )),
            Self::Deep(_) => Some("does a file include itself?".to_owned()),
            Self::NoTable { name, .. } if name.ends_with(".tab") => {
                Some(format!("write '{}'", name.trim_end_matches(".tab")))
            }
            Self::NoTable { meant: name, .. } | Self::NoColumn { meant: name, .. } => meant(name),
            Self::NoValue { set, .. } => {
                Some(format!("set it: `{set}`; or write TABLEBLANKOKAY for a value that may be missing"))
            }
            Self::DebugMode(_) => Some("set it: `chtab key=xcatdebugmode site.value=0`".to_owned()),
            Self::NoMac(node) => Some(format!("set it: `chdef {node} mac=MAC`")),
            Self::Command => Some(
                "let a script do it and name its output in an #INCLUDE:, or do it in the %post part"
                    .to_owned(),
            ),
            Self::Layout { .. } => {
                Some("put the layout into the template itself, or name a plain file".to_owned())
            }
            Self::NotImplemented => Some("docs/installing.md lists what is".to_owned()),
            Self::Many(_)
            | Self::Long(_)
            | Self::NotATable
            | Self::ControlCharacter
            | Self::Quote(_)
            | Self::NoHash
            | Self::NotEnded(_) => None,
        }
    }
}
