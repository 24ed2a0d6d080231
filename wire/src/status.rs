//! The status port: one line of a node, in clear text (port 3002). The server greets with `ready` and
//! answers `done`.

/// Begins a line with status words.
pub const STATUS: &str = "installstatus";
/// Begins a line that says what went wrong: a word of Dawn's own `/init`.
pub const PROBLEM: &str = "problem";
/// Asks what this node is to do: a word of Dawn's own `/init`.
pub const ASK: &str = "destiny";
/// Says that this is done, and asks what comes next.
pub const ASK_NEXT: &str = "nextdestiny";
/// The server's greeting.
pub const READY: &str = "ready";
/// The server's answer.
pub const DONE: &str = "done";

/// `/init` has begun its work.
pub const NETBOOTING: &str = "netbooting";
/// The system of the node is up.
pub const BOOTED: &str = "booted";
/// The node cannot go on.
pub const FAILED: &str = "failed";

/// Ports of the server, unless the kernel line or a setting says otherwise.
pub mod port {
    /// HTTP.
    pub const HTTP: u16 = 80;
    /// The xcatd protocol.
    pub const XCATD: u16 = 3001;
    /// Node status.
    pub const STATUS: u16 = 3002;
    /// NFS and MOUNT.
    pub const NFS: u16 = 2049;
}
