//! One job for many targets.
//!
//! Power control, consoles, ssh, scripts and SNMP all ask the same thing: do this for these targets, at most
//! N at once, at most T seconds each, and hand over each result as soon as it arrives. [`Fanout`] says how
//! ([`Fanout::start`] begins), [`Running::next`] yields results in order of completion, [`Progress`] counts
//! them.
//!
//! - **Width.** At most [`Fanout::width`] jobs exist at once, finished jobs whose result was not read
//!   included. A reader that is slow therefore holds back new jobs, and memory stays bounded by the width.
//! - **Time.** A job that exceeds its time limit is asked to stop (its [`CancellationToken`]) and gets
//!   [`Fanout::grace`] to clean up, for instance to end a remote command; then it is dropped.
//! - **Pace.** [`Pace`] starts a burst of jobs per interval. Racks of machines that are switched on together
//!   need it.
//! - **Cancel.** After the caller's token is cancelled no job starts; running jobs are asked to stop as
//!   above. Each target still gets exactly one [`Outcome`].
//! - **Panics.** A job that panics is an [`Outcome::Panicked`] of its target; the others continue.
//!
//! A target is any value: a node name, an address, a pair. Jobs run as tasks of the current tokio runtime.
//! Not here: retries (the job knows what is worth a second try) and rendering (the caller knows its format).

mod limits;
mod outcome;
mod running;

pub use limits::{Fanout, LimitError, Pace, WIDTH_MAX};
pub use outcome::{Finished, Outcome, Progress};
pub use running::Running;
pub use tokio_util::sync::CancellationToken;
