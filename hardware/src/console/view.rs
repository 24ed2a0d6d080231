//! How callers look at a console, and what it reports to them.

use std::sync::Arc;

/// Receives what consoles report. Called on the tasks of consoles: it must not wait.
pub trait Heard: Send + Sync {
    /// A line for the log of a node.
    fn line(&self, node: &Arc<str>, line: &str);
    /// A line for the timeline of a node.
    fn event(&self, node: &str, text: &str);
}

/// How a viewer looks at a console.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Writes if no other viewer does.
    Write,
    /// Writes, and takes the right from the viewer who has it.
    Take,
    /// Never writes.
    Watch,
}

/// How a console is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// There is no way to it.
    Nowhere,
    /// It is connected.
    Connected,
    /// It is not, and that is tried.
    #[default]
    Connecting,
    /// It is connected when a viewer attaches.
    Available,
}

/// The state of a console.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// How it is.
    pub state: State,
    /// Why it is not connected; empty if it is.
    pub reason: String,
    /// Who looks, as a number.
    pub viewers: usize,
}
