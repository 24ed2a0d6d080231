//! Hardware control: one [`Driver`] for each way to reach a machine, and the thread on which all of them
//! work.
//!
//! | module | what it is |
//! |---|---|
//! | [`target`] | which driver a node has, where its service processor is, and who logs in there |
//! | [`driver`] | what drivers can do |
//! | [`facts`] | what they say of machines |
//! | [`power`] | the words of power control: what is done, printed and written, given the machine's state |
//! | [`ipmi`] | service processors with IPMI |
//! | [`qemu`] | virtual machines of this machine, by QEMU's monitor |
//! | [`kvm`] | virtual machines of other machines, by `virsh` |
//! | [`console`] | consoles: sources, viewers, the hub of all of them |
//! | [`hub`] | the thread, and jobs for many nodes |
//! | [`error`] | errors: the line for scripts, and the details |
//! | [`limits`] | every number that bounds something |
//!
//! Start reading at [`hub::Hardware`]. Tables are read in [`target`] alone, before any packet is sent; what
//! drivers return are facts, whose lines are the commands' business.
//!
//! **Invariants.** A password is a `Secret` from the moment it leaves the snapshot. No shell gets a word from
//! a table. Every job has a time limit.
//!
//! Deliberately missing: Redfish, power distribution units, and managers of
//! hardware that cannot be had any more.

pub mod console;
pub mod driver;
pub mod error;
pub mod facts;
pub mod hub;
pub mod ipmi;
pub mod kvm;
pub mod limits;
mod models;
pub mod power;
pub mod qemu;
pub mod target;

pub use dawn_ipmi::Secret;
pub use dawn_ipmi::command::chassis::{BootOverride, Device};
pub use driver::{Answer, Driver, Processor};
pub use error::Error;
pub use hub::{Hardware, Links, Next, Results};
pub use target::{Target, Way};
