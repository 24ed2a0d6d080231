//! Files that the appliance serves, reads and writes.
//!
//! | module | what it is |
//! |---|---|
//! | [`source`] | what may be fetched: one trait for TFTP and HTTP |
//! | [`path`] | the path of a request, cleaned once |
//! | [`tree`] | one served directory, and what may be read in it |
//! | [`roots`] | several directories under their prefixes |
//! | [`file`] | open files, rendered bytes, computed images |
//! | `cache` | files that many machines fetch are opened once |
//! | [`observe`] | what the services report |
//! | [`bounded_read`] | files that a client or a table cell names: read for a bounded time and size |
//! | [`beneath`] | writing and reading beneath a directory without following links out of it |
//! | [`mod@copy`] | copies with everything that makes a file what it is |
//! | [`lookup`] | the meaning of a failed look-up: missing, or uncertain |
//! | [`disks`] | threads for file system calls that may hang |
//! | [`mounts`] | which file systems are mounted where |
//! | `queues` | queues that members leave from any position |
//! | [`sealed`] | records with a checksum, one a line |
//! | [`shares`] | limits with a part kept for callers with more proof |
//! | [`whole`] | files that appear complete or not at all, by path |
//!
//! `/init` of the nodes takes the file helpers only: everything that serves is behind the feature `serve`.
//!
//! Start reading at [`source`]. The protocol engines ([`Source`]'s callers) do not know the model; the
//! daemon answers them from the boot plan in front of [`Roots`].

pub mod beneath;
#[cfg(feature = "serve")]
pub mod bounded_read;
#[cfg(feature = "serve")]
mod cache;
pub mod copy;
#[cfg(feature = "serve")]
pub mod disks;
#[cfg(feature = "serve")]
pub mod file;
pub mod glob;
pub mod lookup;
pub mod mounts;
#[cfg(feature = "serve")]
pub mod observe;
#[cfg(feature = "serve")]
pub mod path;
#[cfg(feature = "serve")]
mod queues;
#[cfg(feature = "serve")]
pub mod roots;
#[cfg(feature = "serve")]
pub mod sealed;
#[cfg(feature = "serve")]
pub mod shares;
#[cfg(feature = "serve")]
pub mod source;
#[cfg(feature = "serve")]
pub mod tree;
pub mod whole;

#[cfg(feature = "serve")]
pub use disks::{DiskPool, Late};
#[cfg(feature = "serve")]
pub use file::{Content, FileBody, FileStamp, OpenFile, ReadAt, Rendered};
#[cfg(feature = "serve")]
pub use observe::{Event, EventKind, Ignore, Observer};
#[cfg(feature = "serve")]
pub use path::{PathError, RequestPath};
#[cfg(feature = "serve")]
pub use roots::{Mount, Roots};
#[cfg(feature = "serve")]
pub use source::{Answer, OwnedRequest, Request, Service, Source};
#[cfg(feature = "serve")]
pub use tree::{Entry, EntryKind, NamedFiles, OpenDir, Tree, TreeError};
