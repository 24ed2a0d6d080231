//! What a machine may fetch: one trait for TFTP and HTTP alike.
//!
//! A protocol engine parses a request into a [`RequestPath`] and asks a [`Source`] for it. The source answers
//! at once from memory, and otherwise on a thread that may wait for a disk; it never waits for SQL, DNS or
//! another machine. [`Roots`](crate::Roots) is the source for plain directories ([`Tree`](crate::Tree));
//! views rendered from the boot plan are answered by the owner of the plan, in front of the roots.
//!
//! What happened is reported to an [`Observer`](crate::Observer), with the peer's address, so that one boot
//! can be shown as a timeline.

use crate::{Content, Late, OpenDir, OpenFile, Rendered, RequestPath};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// The service a request came in by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Service {
    /// TFTP, RFC 1350.
    Tftp,
    /// HTTP/1.x in the clear.
    Http,
    /// HTTP/1.x inside TLS.
    Https,
}

impl Service {
    /// The name people use for it: `tftp`, `http`, `https`.
    pub const fn name(self) -> &'static str {
        match self {
            Service::Tftp => "tftp",
            Service::Http => "http",
            Service::Https => "https",
        }
    }
}

/// One request, as far as the answer may depend on it.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The cleaned path; never leads above the root.
    pub path: &'a RequestPath,
    /// Everything after `?` of an HTTP target, undecoded; empty for TFTP.
    pub query: &'a str,
    /// Who asks.
    pub peer: SocketAddr,
    /// The address of ours that was asked.
    pub local: IpAddr,
    /// How it was asked.
    pub service: Service,
}

/// A request that outlives its packet, for another thread.
#[derive(Clone, Debug)]
pub struct OwnedRequest {
    path: RequestPath,
    query: String,
    peer: SocketAddr,
    local: IpAddr,
    service: Service,
}

impl OwnedRequest {
    /// The request itself.
    pub fn request(&self) -> Request<'_> {
        let Self { path, query, peer, local, service } = self;
        Request { path, query, peer: *peer, local: *local, service: *service }
    }
}

impl Request<'_> {
    /// The same with its own texts.
    #[must_use]
    pub fn owned(&self) -> OwnedRequest {
        let (path, query) = (self.path.clone(), self.query.to_owned());
        OwnedRequest { path, query, peer: self.peer, local: self.local, service: self.service }
    }
}

/// What a [`Source`] says to a request.
#[derive(Debug)]
pub enum Answer {
    /// A file, already open: a replacement in the directory does not change what this transfer carries.
    File(OpenFile),
    /// Bytes made for this request.
    Bytes(Rendered),
    /// Something large that is computed while it is read, such as a boot image put together per node.
    Image(Content, &'static str),
    /// A directory whose names the peer may see. HTTP makes a page of it, TFTP refuses it.
    Directory(OpenDir),
    /// Go to another path (HTTP 301; TFTP treats it as not found).
    Redirect(String),
    /// There is no such thing.
    NotFound,
    /// It exists or might exist, but not for this peer; the text says why and is shown to the peer.
    Refused(String),
    /// Not for this peer, and the peer gets what [`Answer::NotFound`] gives: whether it is there says
    /// something about another machine. The text is for the event.
    Hidden(String),
    /// Refused, to a program that shows no refusal to its user: by HTTP it gets `shown`, a file that says the
    /// reason in its own language. TFTP's error text is shown anyway.
    Explained {
        /// Why, for the event.
        reason: String,
        /// The file.
        shown: String,
    },
    /// The disk did not answer; the peer may ask again. HTTP answers 503, TFTP does not answer.
    Unavailable(Late),
    /// Not a path of this source: HTTP hands the request to the application behind it, TFTP answers not
    /// found.
    Elsewhere,
}

/// Finds what is asked for.
pub trait Source: Send + Sync + 'static {
    /// Answers without asking a disk that may hang; none where that cannot be. Called on the thread that
    /// serves.
    fn at_once(&self, request: &Request<'_>) -> Option<Answer>;

    /// What on this machine [`Source::resolve`] looks at for this request, by its text: whose share of the
    /// threads for disks it takes.
    fn place(&self, request: &Request<'_>) -> PathBuf;

    /// Answers one request. Called on a thread that may wait for disks.
    fn resolve(&self, request: &Request<'_>) -> Answer;
}

impl<F> Source for F
where
    F: Fn(&Request<'_>) -> Answer + Send + Sync + 'static,
{
    fn at_once(&self, request: &Request<'_>) -> Option<Answer> {
        Some(self(request))
    }

    fn place(&self, _: &Request<'_>) -> PathBuf {
        PathBuf::new()
    }

    fn resolve(&self, request: &Request<'_>) -> Answer {
        self(request)
    }
}
