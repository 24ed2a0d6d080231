//! What drivers report of machines, and what they are asked for: data, independent of how it was read.

pub mod energy;
pub mod inventory;
pub mod log;
pub mod settings;
pub mod vitals;
