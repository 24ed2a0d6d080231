//! What the tests and the simulator share.

pub(crate) mod network;
pub(crate) mod random;
pub(crate) mod storm;
pub(crate) mod tables;
