//! What a machine may fetch: one trait for TFTP and HTTP alike.
//!
//! A protocol engine parses a request into a [`RequestPath`] and asks a [`Source`] for it. The source answers at
//! once, from memory or with an open file; it never waits for SQL, DNS or another machine. [`Roots`](crate::Roots) is the source
//! for plain directories ([`Tree`](crate::Tree)); views rendered from the boot plan are answered by whoever owns the plan, in
//! front of the roots.
//!
//! What happened is reported to an [`Observer`](crate::Observer), with the peer's address, so that one boot can be shown as a timeline.

use crate::{Content, OpenDir, OpenFile, Rendered, RequestPath};
use std::net::{IpAddr, SocketAddr};

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
    /// Everything behind `?` of an HTTP target, undecoded; empty for TFTP.
    pub query: &'a str,
    /// Who asks.
    pub peer: SocketAddr,
    /// The address of ours that was asked.
    pub local: IpAddr,
    /// How it was asked.
    pub service: Service,
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
    /// Refused, to a program that would show nobody a refusal: by HTTP it gets `shown`, a file that says the reason in
    /// its own language. TFTP's error text is shown anyway.
    Explained {
        /// Why, for the event.
        reason: String,
        /// The file.
        shown: String,
    },
    /// Not a path of this source: HTTP hands the request to the application behind it, TFTP answers not found.
    Elsewhere,
}

/// Finds what is asked for. Called on the thread that serves: it must not wait for anything but the local disk.
pub trait Source: Send + Sync + 'static {
    /// Answers one request.
    fn resolve(&self, request: &Request<'_>) -> Answer;
}

impl<F> Source for F
where
    F: Fn(&Request<'_>) -> Answer + Send + Sync + 'static,
{
    fn resolve(&self, request: &Request<'_>) -> Answer {
        self(request)
    }
}
