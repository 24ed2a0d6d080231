//! What may be mounted by whom: the seam between this engine and the code that knows the cluster.
//!
//! The engine does not know nodes or tables. It asks an [`Exports`] which [`Export`] a client gets for a
//! mount path, and again, for every handle that comes back, whether that client may (still) use the
//! export the handle names. Answers are cached per client until [`Exports::generation`] changes, so an
//! implementation bumps its generation whenever any answer would differ.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::nfs3::Status;
use crate::overlay::OverlaySpec;
pub use crate::types::{Access, ExportId};

/// How the user ids that clients state are mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Squash {
    /// Ids are taken as they are; root on the node is root in the export. What a root file system needs.
    None,
    /// Uid 0 and gid 0 become the anonymous ids.
    Root {
        /// Anonymous user id, by custom 65534.
        uid: u32,
        /// Anonymous group id, by custom 65534.
        gid: u32,
    },
    /// Everybody becomes the anonymous ids.
    All {
        /// Anonymous user id.
        uid: u32,
        /// Anonymous group id.
        gid: u32,
    },
}

/// One tree as one class of clients sees it.
#[derive(Debug, Clone)]
pub struct Export {
    /// Stable name inside handles.
    pub id: ExportId,
    /// The real directory.
    pub root: PathBuf,
    /// Read-only or read-write (overlay substitutes have their own).
    pub access: Access,
    /// Treatment of user ids.
    pub squash: Squash,
    /// Whether calls without credentials (AUTH_NONE) are served, as the anonymous user 65534.
    pub allow_auth_none: bool,
    /// Whether the client must call from a port below 1024, which only its kernel and root can.
    pub require_privileged_port: bool,
    /// Whether clients may make device nodes. 0:0, a whiteout of overlayfs, does not count as one.
    pub devices: bool,
    /// The root is shown as a directory that everybody may list and enter, even if it is closed to local
    /// users of this machine.
    pub private_root: bool,
    /// Per-node files put over the tree.
    pub overlay: Option<Arc<OverlaySpec>>,
}

impl Export {
    /// A read-only export that trusts the client's ids: what a shared root image is.
    pub fn read_only(id: ExportId, root: impl Into<PathBuf>) -> Self {
        Self {
            id,
            root: root.into(),
            access: Access::ReadOnly,
            squash: Squash::None,
            allow_auth_none: false,
            require_privileged_port: false,
            devices: false,
            private_root: false,
            overlay: None,
        }
    }

    /// A read-write export that trusts the client's ids: what a node's own persistent area is.
    pub fn read_write(id: ExportId, root: impl Into<PathBuf>) -> Self {
        Self { access: Access::ReadWrite, ..Self::read_only(id, root) }
    }
}

/// What a successful MOUNT gives: an export and the directory inside it that was asked for.
#[derive(Debug, Clone)]
pub struct Mounted {
    /// The export.
    pub export: Arc<Export>,
    /// Directory below the export's root, relative; empty for the root itself. It is resolved without
    /// following symbolic links.
    pub subdir: PathBuf,
}

impl Mounted {
    /// The root of `export`.
    pub fn root(export: Arc<Export>) -> Self {
        Self { export, subdir: PathBuf::new() }
    }
}

/// Why a client does not get what it asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The client may not use it; the text says why, for the event.
    NotAllowed(String),
    /// No file has that name.
    NoSuchExport(String),
    /// It cannot be said for now; the client is asked to try again.
    Later(String),
}

impl Refusal {
    /// How calls are answered. A client that may not and one that asks for nothing are answered alike: a
    /// stranger does not learn which exports exist.
    pub fn status(&self) -> Status {
        match self {
            Self::NotAllowed(_) | Self::NoSuchExport(_) => Status::Access,
            Self::Later(_) => Status::Jukebox,
        }
    }

    /// The reason in words.
    pub fn reason(&self) -> &str {
        match self {
            Self::NotAllowed(why) | Self::NoSuchExport(why) | Self::Later(why) => why,
        }
    }
}

/// One line of `showmount -e`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The mount path, at most 1024 bytes.
    pub path: String,
    /// Who may mount it, as text for people.
    pub groups: Vec<String>,
}

/// The subject of an answer of [`Exports`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question<'a> {
    /// [`Exports::mount`] of this path.
    Mount(&'a str),
    /// [`Exports::by_id`] of this export.
    ById(ExportId),
    /// [`Exports::list`].
    List,
}

/// Who may mount what. `generation`, `is_known` and `disk` answer from memory; the others may look at the
/// disk that `disk` names and are asked where that may take its time.
pub trait Exports: Send + Sync + 'static {
    /// The directory whose disk must be looked at to answer `question`; none if the answer is in memory.
    fn disk(&self, client: IpAddr, question: Question<'_>) -> Option<PathBuf>;

    /// Answers a MOUNT of `path` (an absolute path, at most 1024 bytes, without `.` and `..`).
    fn mount(&self, client: IpAddr, path: &str) -> Result<Mounted, Refusal>;

    /// Whether and how `client` may use the export that a handle of its names.
    fn by_id(&self, client: IpAddr, id: ExportId) -> Result<Arc<Export>, Refusal>;

    /// Changes whenever an answer of [`Exports::by_id`] or an overlay may have changed.
    fn generation(&self) -> u64;

    /// Whether `client` may have anything at all. Strangers are answered, but get little memory: few
    /// connections and small calls.
    fn is_known(&self, client: IpAddr) -> bool {
        let _ = client;
        true
    }

    /// What this client would see in an export list.
    fn list(&self, client: IpAddr) -> Vec<Listed> {
        let _ = client;
        Vec::new()
    }

    /// Creates the file or directory behind an overlay entry on its first use, and says where it is. `path`
    /// is the entry's path in the export. Work that takes long continues on another thread; meanwhile the
    /// answer is [`std::io::ErrorKind::WouldBlock`], and the client is asked to try again.
    fn materialise(&self, export: ExportId, path: &Path) -> std::io::Result<PathBuf> {
        let _ = (export, path);
        Err(std::io::ErrorKind::NotFound.into())
    }
}

/// A fixed list of exports for everyone, for tests, benches and hand-written configuration.
#[derive(Debug, Default, Clone)]
pub struct FixedExports {
    entries: Vec<(String, Arc<Export>)>,
}

impl FixedExports {
    /// Adds `export` under the absolute mount path `path`.
    pub fn with(mut self, path: &str, export: Export) -> Self {
        self.entries.push((path.trim_end_matches('/').to_owned(), Arc::new(export)));
        self
    }
}

impl Exports for FixedExports {
    fn disk(&self, _client: IpAddr, _question: Question<'_>) -> Option<PathBuf> {
        None
    }

    fn mount(&self, _client: IpAddr, path: &str) -> Result<Mounted, Refusal> {
        let path = path.trim_end_matches('/');
        let within = |prefix: &str| path.strip_prefix(prefix).filter(|r| r.is_empty() || r.starts_with('/'));
        self.entries
            .iter()
            .filter_map(|(prefix, export)| within(prefix).map(|rest| (prefix.len(), export, rest)))
            .max_by_key(|(len, ..)| *len)
            .map(|(_, export, rest)| Mounted {
                export: export.clone(),
                subdir: rest.trim_start_matches('/').into(),
            })
            .ok_or_else(|| Refusal::NoSuchExport(format!("{path} is not exported")))
    }

    fn by_id(&self, _client: IpAddr, id: ExportId) -> Result<Arc<Export>, Refusal> {
        self.entries
            .iter()
            .find(|(_, export)| export.id == id)
            .map(|(_, export)| export.clone())
            .ok_or_else(|| Refusal::NoSuchExport("the export of this handle is gone".to_owned()))
    }

    fn generation(&self) -> u64 {
        0
    }

    fn list(&self, _client: IpAddr) -> Vec<Listed> {
        self.entries.iter().map(|(path, _)| Listed { path: path.clone(), groups: Vec::new() }).collect()
    }
}
