//! The boot plan, its views, and the supervisor of all services.
//!
//! Start reading at [`plan`]: what a node boots is computed there and nowhere else. [`view`] renders it for
//! each loader. `files`, `exports` and `dhcp` answer the engines' questions from the model, `extra_exports`
//! from a file beside it; [`generations`] keeps the trees that nodes run from, and [`live`] lays a node's own
//! files over them; `watch` turns what the engines report into [`events`]. [`supervisor`] starts and stops
//! everything.
//!
//! **Invariants.** Nothing here waits for SQL or DNS before it answers a node. The plan and the views hold no
//! clock and no socket. A node's own files are for that node.

pub mod address;
mod audience;
pub mod budget;
pub mod dhcp;
pub mod events;
mod exports;
mod extra_exports;
mod files;
pub mod fuzz;
pub mod generations;
mod held_ports;
pub mod image_index;
pub mod live;
pub mod loaders;
pub mod localdisk;
pub mod plan;
pub mod reserved;
mod sealed;
pub mod stores;
pub mod supervisor;
#[cfg(test)]
mod testing;
pub mod view;
pub mod watch;

pub use dawn_tftp::TransferPorts;
pub use supervisor::{Appliance, CommandPort, Ports, Running, Service, Settings, StartError, start};
