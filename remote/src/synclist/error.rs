//! What is wrong with a synclist, and where.

use super::limits::{INCLUDE_DEPTH_MAX, LINES_MAX, LIST_BYTES_MAX, PLACES_MAX, VARIABLES};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A line of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The list.
    pub list: Arc<Path>,
    /// Number of the line, from 1.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{}, line {}", self.list.display(), self.line)
    }
}

/// Why a list cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SynclistError {
    /// It is not there.
    #[error("File:{} does not exist.", .0.display())]
    Missing(PathBuf),
    /// It cannot be read.
    #[error("{}: {why}", .path.display())]
    Unread {
        /// The list.
        path: PathBuf,
        /// Why.
        why: io::Error,
    },
    /// Longer than a list may be.
    #[error("{}: a synclist has at most {LIST_BYTES_MAX} bytes", .0.display())]
    Long(PathBuf),
    /// Too many lines, with those of included lists.
    #[error("{}: with the lists it includes it has more than {LINES_MAX} lines", .0.display())]
    Lines(PathBuf),
    /// Lists include each other in a loop.
    #[error("{}: lists include each other more than {INCLUDE_DEPTH_MAX} deep", .0.display())]
    Depth(PathBuf),
    /// It is empty.
    #[error("Found no lines to process in {}.", .0.display())]
    Empty(PathBuf),
    /// A line is wrong.
    #[error("{at}: {why}")]
    Line {
        /// Where.
        at: Place,
        /// What.
        why: LineError,
    },
    /// Patterns and directories match too many files.
    #[error("the synclist expands to more than {PLACES_MAX} files and directories")]
    Places,
    /// One line puts a file where another puts files below.
    #[error("'{0}' would be a file and a directory")]
    Both(String),
}

impl SynclistError {
    pub(super) fn of(at: &Place, why: LineError) -> Self {
        Self::Line { at: at.clone(), why }
    }
}

/// What is wrong with a line.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// Neither a line of files nor a clause.
    #[error("a line is SOURCE... -> DESTINATION, with blanks around the arrow")]
    NoArrow,
    /// Files after a clause began.
    #[error("this is part of {0}, which takes the path of one script a line; files to copy come before it")]
    NotScript(&'static str),
    /// More text on the line of a clause.
    #[error("{0} must be alone on its line")]
    AfterClause(&'static str),
    /// A path is relative.
    #[error("'{0}' is not an absolute path")]
    Relative(String),
    /// A path goes up.
    #[error("'{0}' contains '..'")]
    Up(String),
    /// A path that is the root directory where a file is meant.
    #[error("'{0}' does not name a file")]
    Root(String),
    /// Blanks in the destination.
    #[error("there is more than one word after the arrow: '{0}'")]
    Words(String),
    /// `(` without `)`.
    #[error("the list of nodes does not end with ')'")]
    Range,
    /// The name of a script.
    #[error(
        "'{0}' does not end with .post: a script of EXECUTE is called as the file it waits for, with .post"
    )]
    NotPost(String),
    /// A script that no line copies.
    #[error("'{0}' of EXECUTEALWAYS is not a source of any line before; it runs on nodes that get it")]
    NotCopied(String),
    /// A file of MERGE.
    #[error(
        "{0} is not either /etc/passwd, /etc/group, /etc/gshadow or /etc/shadow. \
         Those are the only supported files for MERGE"
    )]
    Merge(String),
    /// A variable.
    #[error("'${0}' is not a variable of synclists; they are ${names}", names = VARIABLES.join(", $"))]
    Variable(String),
    /// The node has no such value.
    #[error("${0} has no value for this node that could be part of a path")]
    NoValue(String),
    /// A source that is not there.
    #[error("File:{0} does not exist.")]
    Missing(String),
    /// A device or another special file.
    #[error("'{0}' is not a file or directory")]
    Special(String),
    /// Content to add that is a directory.
    #[error("'{0}' is a directory; only files can be appended or merged")]
    Directory(String),
    /// Names below a directory.
    #[error("'{directory}': {why}")]
    Names {
        /// The directory.
        directory: String,
        /// Why they cannot be read.
        why: io::Error,
    },
    /// Two sources of one line have one name.
    #[error("two sources of this line would both be '{0}'")]
    Twice(String),
}
