//! Real clusters: QEMU machines on a bridge in a network namespace, and the `dawn` binary that serves them.
//!
//! A [`Cluster`] is one run of the appliance: a namespace with a bridge ([`net`]), a data directory, the
//! daemon inside the namespace, and the machines that boot from it ([`Node`]). Everything outside of the
//! namespace is left alone, so several clusters can run side by side on one machine, next to other work.
//!
//! What a test can do with it:
//! * run management commands ([`Cluster::dawn`]) and start, stop or kill the daemon ([`Cluster::serve`],
//!   [`Cluster::kill_daemon`]);
//! * switch machines on and off ([`Cluster::power_on`], [`Cluster::power_off`]), wait until the appliance
//!   knows a status of theirs ([`Cluster::wait_for_status`]) or their serial console shows a text
//!   ([`Node::wait_for_console`]);
//! * run a command inside a booted machine ([`Node::exec`]) over a second serial port, which needs no network
//!   and so keeps working while the appliance is dead.
//!
//! Every wait has a deadline. When it passes, the error carries the tail of the node's console and of the
//! daemon's log: a failure in a build log must be readable without the machine it happened on.
//!
//! Order of reading: [`net`], [`process`], [`firmware`], [`node`], [`channel`], [`cluster`], [`image`],
//! [`kernel`], [`stale`], [`switch`], [`bmc`].
//!
//! Needs root and Linux; there is no other way to make namespaces, taps and ports below 1024.

pub mod accel;
pub mod bmc;
pub mod channel;
pub mod cluster;
pub mod events;
pub mod fingerprint;
pub mod firmware;
pub mod image;
pub mod kernel;
pub mod net;
pub mod node;
pub mod paths;
pub mod process;
pub mod stale;
pub mod switch;
pub mod wait;

pub use accel::Accel;
pub use bmc::Bmc;
pub use cluster::{Cluster, Definition, Options};
pub use events::BootEvent;
pub use firmware::Firmware;
pub use image::TestImage;
pub use node::Node;
pub use switch::Switch;
