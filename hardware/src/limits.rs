//! Every limit of hardware control, with its unit.

use std::time::Duration;

/// BMCs that are asked at the same time, if `site.ipmimaxp` is not set. A dead one keeps its place for five
/// seconds.
pub const WIDTH: usize = dawn_fanout::WIDTH_MAX;
/// Time for one node, all its requests together: the longest inventories and logs take minutes.
pub const NODE_TIME_MAX: Duration = Duration::from_secs(600);
/// Results that wait for the command that asked for them; then jobs wait.
pub const RESULTS_WAITING_MAX: usize = 256;
/// How often a command without results looks whether its caller is still there.
pub const LOOK_PERIOD: Duration = Duration::from_millis(500);

/// Names of service processors that are looked up at the same time.
pub const LOOKUPS_MAX: usize = 8;
/// Time for looking up one name.
pub const LOOKUP_TIME_MAX: Duration = Duration::from_secs(10);
/// Service processors that form one machine.
pub const BMCS_PER_NODE_MAX: usize = 8;

/// Shortest and longest first wait for the answer to an IPMI packet (`site.ipmitimeout`).
pub const IPMI_WAIT_MIN: Duration = Duration::from_secs(1);
/// The longest.
pub const IPMI_WAIT_MAX: Duration = Duration::from_secs(30);
/// Most sends of an IPMI packet (`site.ipmiretries`).
pub const IPMI_SENDS_MAX: u8 = 20;

/// Models of service processors whose sensor records are remembered.
pub const SDR_MODELS_MAX: usize = 64;

/// Time for one exchange with QEMU's monitor.
pub const QMP_TIME_MAX: Duration = Duration::from_secs(10);
/// Bytes of one message of QEMU's monitor.
pub const QMP_LINE_BYTES_MAX: u64 = 256 << 10;
/// Messages of QEMU's monitor that are passed over before the answer: events.
pub const QMP_EVENTS_MAX: usize = 1_000;

/// Time for one call of `virsh`.
pub const VIRSH_TIME_MAX: Duration = Duration::from_secs(60);
/// Calls of `virsh` at the same time: each is a process and an ssh connection.
pub const VIRSH_MAX: usize = 16;
/// Characters of what `virsh` says that an error repeats.
pub const VIRSH_SAYS_CHARS_MAX: usize = 400;

/// Newest output of a console that is kept for viewers who come later, bytes.
pub const CONSOLE_RING_BYTES_MAX: usize = 16 << 10;
/// Bytes of one line of a console's log; longer ones are cut into several.
pub const CONSOLE_LINE_BYTES_MAX: usize = 1024;
/// Bytes that are read from a console, or from a viewer, at once.
pub const CONSOLE_READ_BYTES: usize = 4096;
/// Bytes in one frame between the hub and a viewer.
pub const CONSOLE_FRAME_BYTES_MAX: usize = 4096;
/// Frames that wait for a viewer that does not read; further ones are dropped for this viewer.
pub const CONSOLE_FRAMES_WAITING_MAX: usize = 256;
/// Orders that wait for a console.
pub const CONSOLE_ORDERS_WAITING_MAX: usize = 64;
/// Bytes of one telnet subnegotiation that are skipped; further ones are output.
pub const TELNET_SUBNEGOTIATION_BYTES_MAX: usize = 512;
/// A program that has neither written nor ended after this time has the console.
pub const CONSOLE_PROGRAM_TIME: Duration = Duration::from_secs(6);
/// Time in which `ssh` must have a connection; less than [`CONSOLE_PROGRAM_TIME`].
pub const CONSOLE_SSH_CONNECT_SECONDS: u8 = 5;
/// Time in which the report of a console's program that has ended must be read.
pub const CONSOLE_REPORT_TIME_MAX: Duration = Duration::from_secs(1);
/// Bytes of what a console's program reports that are kept: the end is the reason.
pub const CONSOLE_REPORT_BYTES_MAX: usize = 4 << 10;
/// Pieces of typed text that wait for a socket.
pub const CONSOLE_TYPED_WAITING_MAX: usize = 64;
/// Viewers of one console.
pub const CONSOLE_VIEWERS_PER_NODE_MAX: usize = 16;
/// Viewers of all consoles.
pub const CONSOLE_VIEWERS_MAX: usize = 256;
/// Consoles that are being connected at the same time.
pub const CONSOLE_OPENS_MAX: usize = 128;
/// Time for connecting one.
pub const CONSOLE_OPEN_TIME_MAX: Duration = Duration::from_secs(30);
/// Pause before a console that could not be connected is tried again: the first, and the longest.
pub const CONSOLE_PAUSE_MIN: Duration = Duration::from_secs(2);
/// The longest.
pub const CONSOLE_PAUSE_MAX: Duration = Duration::from_secs(240);
/// A console is at the origin of one event of its node in this time.
pub const CONSOLE_EVENT_PERIOD: Duration = Duration::from_secs(10);
