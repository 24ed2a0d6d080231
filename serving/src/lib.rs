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
//! | [`beneath`] | writing and reading beneath a directory, whatever links lie in it |
//! | [`lookup`] | what a failed look-up says: nothing there, or nothing for certain |
//! | [`disks`] | threads for file system calls that may hang |
//! | [`mounts`] | which file systems are mounted where |
//! | [`shares`] | limits with a part kept for callers with more proof |
//! | [`whole`] | files that appear complete or not at all, by path |
//!
//! Start reading at [`source`]. The protocol engines ([`Source`]'s callers) know nothing of the model; the
//! daemon answers them from the boot plan in front of [`Roots`].

pub mod beneath;
pub mod bounded_read;
mod cache;
pub mod disks;
pub mod file;
pub mod lookup;
pub mod mounts;
pub mod observe;
pub mod path;
pub mod roots;
pub mod shares;
pub mod source;
pub mod tree;
pub mod whole;

pub use disks::{DiskPool, Late};
pub use file::{Content, FileBody, FileStamp, OpenFile, ReadAt, Rendered};
pub use observe::{Event, EventKind, Ignore, Observer};
pub use path::{PathError, RequestPath};
pub use roots::{Mount, Roots};
pub use source::{Answer, OwnedRequest, Request, Service, Source};
pub use tree::{Entry, EntryKind, NamedFiles, OpenDir, Tree, TreeError};
