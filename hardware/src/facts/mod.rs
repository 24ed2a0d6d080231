//! What drivers say of machines, and what they are asked for: data, without a word on how it was had.

pub mod energy;
pub mod inventory;
pub mod log;
pub mod settings;
pub mod vitals;
