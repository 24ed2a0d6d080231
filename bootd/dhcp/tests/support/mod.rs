//! What the tests share: a client that writes packets, and a stage on which conversations are played.
#![allow(dead_code, reason = "each test binary uses its part")]

pub(crate) mod client;
pub(crate) mod http;
pub(crate) mod machine;
pub(crate) mod show;
pub(crate) mod stage;
pub(crate) mod storm;
