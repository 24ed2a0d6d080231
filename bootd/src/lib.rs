//! The daemon: what a command is, who may run it, and the services that boot nodes.
//!
//! What a node boots is computed in `dawn-plan`, and what NFS shows it follows from `dawn-roots`. `files` and
//! `dhcp` answer the engines' questions from the plan and the model; [`names`] are the cluster's names and
//! the name server; `watch` turns what the engines report into events. [`services`] lists the services, and
//! [`supervisor`] starts and stops them.
//!
//! [`command`] says what a command is; this crate names none. [`daemon`] carries out those of a
//! [`command::Registry`] for callers that may run them by policy, and the reports and questions of nodes
//! ([`requests`]). [`boot_services`] is what both may ask of the services. [`serve`] composes everything.
//!
//! **Invariants.** Nothing here waits for SQL or DNS before it answers a node. A node's own files are for
//! that node. A command changes the model through one change and never half.

pub mod address;
pub mod advice;
pub mod answers;
pub mod appliance;
mod audience;
mod boot_answers;
pub mod boot_services;
pub mod budget;
pub mod caller;
pub mod certificates;
mod claims;
pub mod clock;
pub mod closed_files;
pub mod command;
pub mod consoles;
pub mod daemon;
mod daemon_log;
pub mod database;
pub mod dhcp;
pub mod discovery;
mod disk_space;
pub mod failures;
mod files;
pub mod first_stage;
mod followers;
mod harmless;
pub mod held_ports;
pub mod host_keys;
pub mod hosts_record;
pub mod image_index;
pub mod items;
pub mod kept_reports;
pub mod loaders;
pub mod localdisk;
mod metrics;
pub mod mypostscript;
pub mod names;
pub mod node_edits;
mod node_names;
pub mod notify;
pub mod output;
pub mod owner;
pub mod patience;
pub mod requests;
pub mod root_password;
mod saved_tables;
pub mod serve;
pub mod services;
mod set_id;
pub mod stores;
pub mod supervisor;
pub mod unready;
pub mod watch;
pub mod write_rights;
pub mod zones;

pub use appliance::{Appliance, Ports, Settings};
pub use dawn_tftp::TransferPorts;
pub use services::CommandPort;
pub use supervisor::{Running, StartError, start};
