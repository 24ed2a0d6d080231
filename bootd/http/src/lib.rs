//! HTTP for machines that boot: sendfile front, views, and an application for all else.
//!
//! | module | what it is |
//! |---|---|
//! | [`head`] | a request head and what it means |
//! | [`conditions`] | ETag, If-Modified-Since, Range |
//! | [`respond`], [`response`] | which response, and its head |
//! | [`media`], [`listing`] | types by name; the page of a directory |
//! | [`fat`] | a boot image that is made while it is read |
//! | `stream`, `connection` | a socket (in the clear or TLS), and the life of a connection |
//! | `accept` | a thread that takes connections from the kernel's queue and gives them their places |
//! | `disk` | waiting for a disk without keeping a worker |
//! | [`application`], `handover` | everything else, served through hyper |
//! | [`serve()`] | listening sockets and limits |
//! | [`limits`] | every number that bounds something |
//!
//! Content comes from a [`Source`](dawn_serving::Source), the same that TFTP uses. Files leave by
//! sendfile, which hyper cannot do; so this front reads the heads itself, answers GET and HEAD, and hands
//! every other request, with the bytes already read, to an application on hyper, if it is built with the
//! feature `application` and has one.
//!
//! **Invariants.** An idle connection holds no buffer. Nothing waits for a client or a disk without a limit;
//! no worker of the runtime asks a disk that may hang. No path reaches the source uncleaned.
//!
//! Deliberately missing: compression, several ranges in one response, HTTP/2: nothing that boots asks for
//! them.

mod accept;
pub mod application;
mod buffers;
pub mod conditions;
mod connection;
mod disk;
pub mod fat;
pub mod fuzz;
#[cfg(feature = "application")]
mod handover;
pub mod head;
mod idle;
pub mod limits;
pub mod listing;
pub mod media;
pub mod respond;
pub mod response;
mod serve;
mod stream;

pub use application::Beyond;
#[cfg(feature = "application")]
pub use application::{Application, Reply};
pub use limits::Limits;
pub use serve::{Config, HttpError, Running, serve};
