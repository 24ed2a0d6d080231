//! What a node boots: pure functions on a snapshot of the tables.
//!
//! Start reading at [`plan()`]: what a node boots is computed there and nowhere else. [`view`] renders it
//! for each loader, [`loader`] says which loader firmware gets, [`destiny`] moves a node from state to state.
//!
//! **Invariants.** There is no disk, no clock, no socket and no name service here. Everything else that a
//! plan depends on is passed in as data ([`Surroundings`]), and a time is an argument.

#![forbid(unsafe_code)]

mod address;
mod args;
pub mod destiny;
mod error;
mod facts;
pub mod fuzz;
pub mod install;
pub mod loader;
pub mod localdisk;
mod lookup;
pub mod ondiscover;
mod plan;
mod proxied;
mod servers;
mod state;
mod surroundings;
mod token;
pub mod view;

pub use address::{CurrentAddresses, LocalAddress, LocalAddresses};
pub use args::{KERNEL_ARGS_BYTES_MAX, KernelArgs, MY_IP};
pub use error::PlanError;
pub use lookup::{image_of, install_mac, installer, is_ramdisk, local_path, node_ip, public_path, tftpdir};
pub use plan::{Action, DISCOVERY_ARCH, KernelBoot, Plan, System, plan};
pub use proxied::is_proxied;
pub use servers::{Servers, servers};
pub use state::{BootState, Distribution};
pub use surroundings::{PackedRoots, Ports, Surroundings};
pub use token::{Proof, TOKEN_AGE_MINUTES_MAX, TokenError, TokenKey};
