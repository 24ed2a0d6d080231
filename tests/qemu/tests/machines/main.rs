//! Tests that boot machines, in one program, so that as many run side by side as there are processors.
//!
//! Ignored by a plain `cargo test`: they need root, QEMU and the release binary. `cargo xtask test` runs
//! them.

mod all_options;
mod beside_others;
mod commands;
mod discovery;
mod far_servers;
mod images;
mod nfs_server;
mod package;
mod post_scripts;
mod secure_boot;
mod service_processor;
mod soak;
mod stateless;
mod statelite;
