//! What a run reports: lines, ends, counts.

use crate::failure::Failure;
use std::time::Duration;

pub use dawn_fanout::Progress;

/// Where a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// What a job has printed so far, each line with `\n` and safe to show.
#[derive(Debug, Default)]
pub struct Kept {
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
    /// Something was left out.
    pub is_cut: bool,
    pub(crate) counted: usize,
}

/// How the job of a node ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The command ran and gave this exit code.
    Exit(i32),
    /// It could not be run, or was given up.
    Failed(Failure),
    /// It took longer than it may.
    TimedOut,
    /// It was stopped with all others.
    Stopped,
    /// It was stopped before it began.
    NotStarted,
}

impl End {
    /// Whether the command ran and succeeded.
    pub fn is_success(&self) -> bool {
        *self == End::Exit(0)
    }
}

/// A node whose job has ended.
#[derive(Debug)]
pub struct Ended {
    /// The node.
    pub node: String,
    /// How.
    pub end: End,
    /// What it printed, unless it was streamed.
    pub kept: Kept,
    /// Time from start to end.
    pub took: Duration,
}

/// What a run reports.
#[derive(Debug)]
pub enum Event {
    /// A job begins.
    Started(String),
    /// Streamed lines of one node, each with `\n` and safe to show.
    Lines {
        /// The node.
        node: String,
        /// Where they were printed.
        stream: Stream,
        /// The lines.
        text: String,
    },
    /// A node's end.
    Ended(Ended),
    /// Counts so far.
    Progress(Progress),
}
