//! Synclists: which files of this machine nodes have, and what is done when they change (xCAT's format).
//!
//! ```text
//! /etc/hosts -> /etc/hosts
//! /srv/a /srv/b -> /root/dir/
//! /srv/conf/* -> (rack1,cn7) /opt/conf
//! EXECUTE:
//! /srv/conf/x.post
//! APPEND:
//! /srv/extra.hosts -> /etc/hosts
//! ```
//!
//! [`read`](read::read) makes a [`Synclist`] of text, [`Synclist::plan`] says what one node gets, with
//! patterns and directories looked up. Both touch no disk: files come through a function or a trait. A
//! line that cannot be carried out is an error with its number; none is skipped.
//!
//! `$NODE`, `$OSVER`, `$ARCH` and `$PROFILE` in a path are replaced by the node's own. There are no other
//! variables, no quotes, and no shell: a path is one word without blanks.

mod error;
mod follow_up;
mod fuzz;
mod limits;
mod line;
mod plan;
mod read;
mod stage;

#[cfg(test)]
mod tests;

pub use error::{LineError, Place, SynclistError};
pub use follow_up::{due, follow_up, is_new};
pub use fuzz::fuzz;
pub use limits::{LIST_BYTES_MAX, VARIABLES};
pub use line::Line;
pub use plan::{FileKind, Files, Join, Plan, Script, Source, Wanted};
pub use read::read;
pub use stage::{Changes, Stage, StageError, changes};

/// A list, with all that it includes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Synclist {
    /// Files to copy.
    pub copies: Vec<Line>,
    /// Scripts, in the order of the list.
    pub scripts: Vec<ScriptLine>,
    /// Files whose content is added to the end of others.
    pub appends: Vec<Line>,
    /// Lines for the files of users and groups.
    pub merges: Vec<Line>,
}

/// A line below `EXECUTE:` or `EXECUTEALWAYS:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptLine {
    /// Its list and line.
    pub at: Place,
    /// The script on this machine.
    pub path: String,
    /// It runs each time, and not only when the file of its name has changed.
    pub is_always: bool,
}

impl Synclist {
    /// Adds the lines of another list.
    pub fn extend(&mut self, other: Synclist) {
        self.copies.extend(other.copies);
        self.scripts.extend(other.scripts);
        self.appends.extend(other.appends);
        self.merges.extend(other.merges);
    }

    /// All lines with an arrow.
    pub fn lines(&self) -> impl Iterator<Item = &Line> {
        self.copies.iter().chain(&self.appends).chain(&self.merges)
    }

    /// The list as it applies to an image that no node runs yet: without lines for certain nodes, and
    /// without clauses.
    #[must_use]
    pub fn for_image(mut self) -> Self {
        self.copies.retain(|line| line.nodes.is_none() && !line.names_node());
        Self { copies: self.copies, ..Self::default() }
    }
}
