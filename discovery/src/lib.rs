//! Which node is this machine? Evidence, matchers and the queue, as pure functions.
//!
//! | module | what it is |
//! |---|---|
//! | [`findme`] | the packet that an unknown machine sends: xCAT's XML, from strangers |
//! | [`machine`] | what a machine says of itself |
//! | [`bridge`] | the tables of a switch: what to walk, and what the rows mean |
//! | [`port_name`] | whether a configured port is the one that a switch names so |
//! | [`fabric`] | all switches: where a MAC was learnt, and which ports lead to other switches |
//! | [`directory`] | the tables of the model as matchers look things up in them |
//! | [`evidence`] | what speaks for which node, as data without texts |
//! | [`matchers`] | known MAC, LLDP, switch port, machine type and serial number, UUID, rules |
//! | [`rule`] | a rule: an attribute of the machine and how a node's name comes of it |
//! | [`sequential`] | the next free node of a noderange, with addresses and position |
//! | [`arrival`] | what a decision looks at |
//! | [`desk`] | decides: assigns and reserves, or queues |
//! | [`assign`] | what is written when a machine becomes a node |
//! | [`inventory`] | what of a machine is not as it was |
//! | [`queue`] | machines that wait for a person |
//! | [`limits`] | every number that bounds something |
//!
//! Start reading at [`desk`]. Each matcher gives a set of nodes or says why it has none. The node is what all
//! sets have in common, so the order of matchers decides only whose name is recorded. No node in common, or
//! several, or a node that is another machine's: nothing is assigned, and the machine waits in the queue with
//! everything that is known of it.
//!
//! **Invariants.** A node is never given to two machines, nor a machine two nodes, even while the change that
//! makes an assignment is under way. No socket, clock or disk is in here: SNMP walks, packets and times come
//! from outside. Everything that a stranger sends is bounded before it is kept.
//!
//! Deliberately missing: chassis modules (`blade`), profiles, z/VM.

#![forbid(unsafe_code)]

pub mod arrival;
pub mod assign;
pub mod bridge;
pub mod desk;
pub mod directory;
pub mod evidence;
pub mod fabric;
pub mod findme;
pub mod fuzz;
pub mod inventory;
pub mod limits;
pub mod machine;
pub mod matchers;
mod other_data;
pub mod port_name;
pub mod queue;
pub mod rule;
pub mod sequential;

pub use arrival::{Arrival, Surroundings};
pub use desk::Desk;
pub use directory::Directory;
pub use evidence::{Assignment, Decision, Doubt, Evidence, Finding, Method, Miss, Proof, Verdict};
pub use fabric::Fabric;
pub use machine::Machine;
