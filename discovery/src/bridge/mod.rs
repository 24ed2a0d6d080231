//! The tables of a switch, by SNMP's names.
//!
//! [`Reading`] is a program without a socket: it says which subtree to walk next and in which VLAN, takes the
//! rows, and ends with a [`SwitchTable`]. IF-MIB gives names of ports, Q-BRIDGE-MIB or BRIDGE-MIB the MACs,
//! and switches that keep a table for each VLAN (Cisco) are walked once more for each.

mod reading;
mod table;

pub use reading::{Cell, Need, Reading, Row};
pub use table::{Place, Port, SwitchTable};

#[cfg(test)]
mod tests;
