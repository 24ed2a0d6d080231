//! HTTP of the storm: the real parser of requests and the real choice of responses, over streams that the
//! simulator makes.
//!
//! TCP is the kernel's and is not simulated packet by packet: what loss does to it is time (a SYN or the end
//! of a window sent again), and now and then a connection that is reset. Bodies share the server's link
//! fairly, piece by piece.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use dawn_http::conditions::Version;
use dawn_http::head::Head;
use dawn_http::respond::{Follows, respond};
use dawn_http::response::{self, Keep, put_text};
use dawn_serving::{Answer, Request, Service, Source};

/// Bytes of a body that leave before another connection has its turn.
pub(crate) const PIECE_BYTES: u64 = 1 << 20;

/// The server's end of a connection.
#[derive(Debug, Default)]
pub(crate) struct ServerEnd {
    read: Vec<u8>,
    /// Bytes of the body that have not left.
    pub left: u64,
}

impl ServerEnd {
    /// Takes bytes of the stream; gives the response when a head is complete, with the body where it is a
    /// script. Longer bodies are counted and not made.
    pub(crate) fn take(
        &mut self,
        source: &dyn Source,
        peer: Ipv4Addr,
        bytes: &[u8],
        server: Ipv4Addr,
    ) -> Option<Vec<u8>> {
        self.read.extend_from_slice(bytes);
        let (head, length) = Head::parse(&self.read).expect("a loader's request is HTTP")?;
        self.read.drain(..length);
        let path = head.path.as_ref().expect("a loader's path is clean");
        let request = Request {
            path,
            query: &head.query,
            peer: SocketAddr::from((peer, 49_152)),
            local: IpAddr::V4(server),
            service: Service::Http,
        };
        let mut out = Vec::new();
        let Answer::Bytes(rendered) = source.resolve(&request) else {
            put_text(&mut out, response::NOT_FOUND, "not found\n", true, Keep::Default);
            return Some(out);
        };
        // Kernels are files, whose version costs nothing.
        let version = Version { etag: "\"1\"".to_owned(), modified: None };
        let size = rendered.bytes.len() as u64;
        match respond(&mut out, &head, &version, size, "application/octet-stream") {
            Follows::Content { start, end } if end - start < 4096 => {
                let part = usize::try_from(start).unwrap()..usize::try_from(end).unwrap();
                out.extend_from_slice(&rendered.bytes[part]);
            }
            Follows::Content { start, end } => self.left = end - start,
            Follows::Nothing | Follows::Failed | Follows::Unsatisfiable => {}
        }
        Some(out)
    }
}

/// What a machine fetches, one after the other, as its loader does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    Script,
    Kernel,
    Initrd,
}

/// The machine's end of a connection.
#[derive(Debug)]
pub(crate) struct Download {
    pub wanted: Wanted,
    read: Vec<u8>,
    /// Bytes of the body that have not come, once the head has.
    missing: Option<u64>,
}

impl Download {
    pub(crate) fn new(wanted: Wanted) -> Self {
        Self { wanted, read: Vec::new(), missing: None }
    }

    /// The request, as iPXE writes it.
    pub(crate) fn request(path: &str) -> Vec<u8> {
        format!(
            "GET /{path} HTTP/1.1\r\nConnection: keep-alive\r\nUser-Agent: iPXE/1.21.1\r\nHost: 10.0.0.1\r\n\r\n"
        )
        .into_bytes()
    }

    /// Takes text of the stream: the head, and a script's body.
    pub(crate) fn text(&mut self, bytes: &[u8]) {
        self.read.extend_from_slice(bytes);
        let end = self.read.windows(4).position(|four| four == b"\r\n\r\n").expect("a whole head") + 4;
        let head = String::from_utf8(self.read.drain(..end).collect()).expect("a head is text");
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        let length: u64 = length.expect("a length").parse().expect("a number");
        self.missing = Some(length - self.read.len() as u64);
    }

    /// Takes bytes of a body.
    pub(crate) fn body(&mut self, count: u64) {
        self.missing =
            Some(self.missing.and_then(|missing| missing.checked_sub(count)).expect("no more than was said"));
    }

    /// The whole content is here.
    pub(crate) fn is_complete(&self) -> bool {
        self.missing == Some(0)
    }

    /// The body of a script.
    pub(crate) fn script(&self) -> String {
        String::from_utf8(self.read.clone()).expect("a script is text")
    }
}
