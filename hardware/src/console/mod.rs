//! Consoles: what machines write on their serial ports, and who types there.
//!
//! | module | what it is |
//! |---|---|
//! | [`hub`] | all consoles: one task for each, and the way in for viewers |
//! | [`place`] | which console a node has, by the tables |
//! | [`source`] | what a console is read from; serial over LAN |
//! | [`stream`] | sockets of virtual machines, terminal servers |
//! | [`telnet`] | telnet, without sockets |
//! | [`program`] | `ssh` and `virsh` on pseudo terminals |
//! | [`frames`] | what a viewer and the hub send each other |
//! | [`lines`] | output as lines of plain text, for the log |
//!
//! What a machine writes is hostile: it is kept in a ring of fixed size, shown to viewers as it is (their
//! terminal is theirs), and logged without control characters in lines of bounded length. A viewer that does
//! not read loses output and gets a note about it, but delays neither the console nor other viewers.

pub mod frames;
pub mod hub;
pub mod lines;
mod node;
pub mod place;
pub mod program;
mod ring;
pub mod source;
mod stream;
pub mod telnet;
mod view;

pub use hub::{AttachError, Hub, Wanted};
pub use view::{Heard, Mode, Shown, State};
