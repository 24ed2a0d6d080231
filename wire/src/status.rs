//! The status port: one line of a node, in clear text (port 3002). The server greets with `ready` and
//! answers `done`.

/// Begins a line with status words.
pub const STATUS: &str = "installstatus";
/// Begins a line that says what went wrong: a word of Dawn's own `/init`.
pub const PROBLEM: &str = "problem";
/// Begins a line that names a step of the chain that is done, with the last words of its output: a word of
/// Dawn's own `/init`.
pub const TASK_DONE: &str = "taskdone";
/// Asks what this node is to do: a word of Dawn's own `/init`.
pub const ASK: &str = "destiny";
/// Asks the same after a step that failed: the node does not do it again, and its status stays.
pub const ASK_HELD: &str = "destiny held";
/// Says that this is done, and asks what comes next. The step that is done may follow: a server that has
/// moved on from it answers, and moves no further.
pub const ASK_NEXT: &str = "nextdestiny";
/// After the answer to [`ASK`]: address of the kernel of the node's image, for a machine that may start it
/// itself.
pub const BOOT_KERNEL: &str = "kernel";
/// After it: address of the initramfs.
pub const BOOT_INITRD: &str = "initrd";
/// After it: the kernel's command line, without the interface that the machine boots from.
pub const BOOT_ARGS: &str = "args";
/// Asks for the node's post scripts: `mypostscript`, a line each, until [`SCRIPT_END`].
pub const GET_SCRIPT: &str = "getpostscript";
/// The line after `mypostscript`.
pub const SCRIPT_END: &str = "#END OF SCRIPT";
/// Asks for the files of the node's synclists; the answer is a line that ends in [`DONE`], or says what
/// failed.
pub const SYNC_FILES: &str = "syncfiles";
/// Asks how the node's service processor is to be set up; the answer is that of [`crate::bmc`].
pub const GET_BMC: &str = "getbmcconfig";
/// The server's greeting.
pub const READY: &str = "ready";
/// The server's answer.
pub const DONE: &str = "done";

/// The machine has been switched on.
pub const POWERING_ON: &str = "powering-on";
/// The machine has been switched off.
pub const POWERING_OFF: &str = "powering-off";
/// The machine is being discovered.
pub const DISCOVERING: &str = "discovering";
/// The machine has become this node.
pub const DISCOVERED: &str = "discovered";
/// A step of the chain runs on the node.
pub const CONFIGURING: &str = "configuring";
/// The node waits for its next step.
pub const STANDING_BY: &str = "standingby";
/// The node has a shell open and waits.
pub const SHELL: &str = "shell";
/// The node starts from its disk, or starts again.
pub const BOOTING: &str = "booting";
/// The installer runs on the node.
pub const INSTALLING: &str = "installing";
/// `/init` has begun its work.
pub const NETBOOTING: &str = "netbooting";
/// The system of the node is up and runs its post scripts.
pub const POSTBOOTING: &str = "postbooting";
/// The system of the node is up, and its post scripts have ended well.
pub const BOOTED: &str = "booted";
/// The service processor of the node is set up.
pub const BMC_READY: &str = "bmcready";
/// The node cannot continue, or one of its post scripts failed.
pub const FAILED: &str = "failed";

/// `updatestatus`: the post scripts run.
pub const SYNCING: &str = "syncing";
/// `updatestatus`: all post scripts ended well.
pub const SYNCED: &str = "synced";
/// `updatestatus`: at least one post script did not.
pub const OUT_OF_SYNC: &str = "out-of-sync";

/// Where an unknown machine sends its packet by HTTPS (`POST`), as it does by datagrams to [`port::XCATD`].
pub const FINDME_PATH: &str = "/findme";

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
