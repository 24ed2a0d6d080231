//! What the tests share: a client that writes packets, and a stage on which conversations are played.
#![allow(dead_code, reason = "each test binary uses its part")]

pub mod client;
pub mod http;
pub mod machine;
pub mod show;
pub mod stage;
pub mod storm;
