//! Why a boot step failed. The text of each variant is what the operator reads on the serial console.

use std::io;
use std::net::Ipv4Addr;

/// Result of a boot step.
pub(crate) type Result<T> = std::result::Result<T, Error>;

/// A failed step, with the thing it was about.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read, written or made.
    #[error("cannot {verb} {path}: {cause}")]
    File {
        /// What was tried: `read`, `write`, `create` …
        verb: &'static str,
        /// The file.
        path: String,
        /// The kernel's answer.
        cause: io::Error,
    },
    /// `mount(2)` failed.
    #[error("cannot mount {what} on {target}{hint}: {cause}")]
    Mount {
        /// Source of the mount with its type.
        what: String,
        /// Mount point.
        target: String,
        /// The kernel's answer.
        cause: io::Error,
        /// What the operator should look at, with a leading blank, or nothing.
        hint: &'static str,
    },
    /// An NFS server takes connections, or not even those, and answers nothing.
    #[error("the NFS server of {remote} does not work: {why}")]
    Silent {
        /// Server and directory.
        remote: String,
        /// What came of asking it.
        why: String,
    },
    /// A network interface could not be set up.
    #[error("interface {nic}: {what}: {cause}")]
    Nic {
        /// Interface name.
        nic: String,
        /// Step that failed.
        what: &'static str,
        /// The kernel's answer.
        cause: io::Error,
    },
    /// No interface answers to the description on the kernel line.
    #[error("no network interface {wanted} (present: {present})")]
    NoNic {
        /// The description.
        wanted: String,
        /// What was found instead.
        present: String,
    },
    /// DHCP gave no lease.
    #[error("no DHCP lease on {nic} after {seconds} s{detail}")]
    NoLease {
        /// Interface name.
        nic: String,
        /// How long it was tried.
        seconds: u64,
        /// Refusals seen, with leading punctuation, or nothing.
        detail: String,
    },
    /// A host name could not be resolved.
    #[error("cannot resolve host name `{name}`: {why}")]
    Name {
        /// The name.
        name: String,
        /// Reason.
        why: String,
    },
    /// A connection failed.
    #[error("{host}:{port}: {cause}")]
    Connect {
        /// Peer.
        host: Ipv4Addr,
        /// TCP port.
        port: u16,
        /// The kernel's answer.
        cause: io::Error,
    },
    /// The HTTP server refused; its reason is part of the text.
    #[error("HTTP {status} for {url}{reason}")]
    Refused {
        /// Status code.
        status: u16,
        /// What was asked for.
        url: String,
        /// Reason in the server's words with leading punctuation, or nothing.
        reason: String,
    },
    /// An HTTP answer could not be understood or ended early.
    #[error("HTTP answer for {url}: {why}")]
    Http {
        /// What was asked for.
        url: String,
        /// What is wrong with the answer.
        why: String,
    },
    /// The kernel line lacks or garbles something.
    #[error("kernel line: {0}")]
    Cmdline(String),
    /// A kernel module is missing or refused.
    #[error("kernel module {name}: {why}")]
    Module {
        /// Module name.
        name: String,
        /// Reason.
        why: String,
    },
    /// The image is not what the boot expects.
    #[error("{0}")]
    Image(String),
}

impl Error {
    /// A file error.
    pub fn file(verb: &'static str, path: impl Into<String>, cause: impl Into<io::Error>) -> Self {
        Self::File { verb, path: path.into(), cause: cause.into() }
    }
}
