//! NFSv3, MOUNT and port mapper: engine, exports, file handles, sockets.
//!
//! The export layer a diskless cluster lives on: root images that hundreds of nodes share, and areas
//! that each node has to itself. It is written for that job: file handles mean the same after a restart,
//! retried calls are answered and not repeated, credentials are enforced by the kernel, and nothing a
//! client sends makes the server read outside of its export or use memory without a limit.
//!
//! Where to start reading: [`export`] is the seam to the cluster model, [`engine`] takes one RPC record to
//! one reply, `ops/` holds the procedures, [`region`] and [`handle`] say what a file handle is, [`cred`]
//! how a thread becomes the caller, and [`server`] is the shell of sockets and threads.
//!
//! Deliberately missing: NFSv2 and v4, RPCSEC_GSS, and NLM (clients mount with `nolock`, as diskless roots
//! always have: locks are then the node's own business).

pub mod client;
pub mod cred;
mod cx;
pub mod drc;
pub mod engine;
pub mod export;
pub mod fuzz;
pub mod handle;
mod known;
mod layers;
mod mount;
mod mount_list;
pub mod mounts;
pub mod nfs3;
pub mod objects;
pub mod observe;
mod ops;
pub mod overlay;
mod pathname;
mod place;
pub mod portmap;
pub mod record;
pub mod region;
pub mod rpc;
pub mod server;
pub mod sys;
pub mod tree;
pub mod types;
pub mod xdr;

pub use export::{
    Access, Export, ExportId, Exports, FixedExports, Listed, Mounted, Question, Refusal, Squash,
};
pub use observe::{Dropped, Event, LogObserver, Observer};
pub use overlay::{OverlayEntry, OverlayKind, OverlaySpec};
pub use server::{CONNECTIONS_MAX, ServeError, Server, ServerConfig, serve};
