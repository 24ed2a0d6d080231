//! The xcatd protocol: commands as XML over TLS on 3001, node status on 3002, and the client.
//!
//! Where to start reading: [`request`] and [`response`] are the wire types, [`dispatch`] is the
//! treatment of one request without any socket, [`server`] with its sessions is the shell that feeds it, and
//! [`render`] with [`client`] are the other end. [`node_status`] is the small clear-text protocol nodes
//! report through, [`flow`] the datagrams by which many nodes at once wait for their turn. [`certificates`]
//! makes the private CA and what hangs from it; `dawn-tls` turns those files into configurations. Every
//! number that limits something is in [`limits`].
//!
//! What this crate does not know: tables, nodes, commands. They come in through
//! [`dispatch::Dispatcher`] and [`node_status::NodeReports`].
//!
//! Failures: a peer that breaks the protocol, sends nothing or is too slow only loses its connection; a
//! command that panics gives its caller an error and leaves the daemon running.

pub mod certificates;
pub mod client;
pub mod dispatch;
pub mod flow;
pub mod framing;
pub mod limits;
pub mod node_status;
pub mod render;
pub mod request;
pub mod response;
pub mod server;
mod session;
pub mod xml;

pub use dispatch::{Call, Decision, Dispatcher, Expanded, Gone, NodeUse, Peer, Sink};
pub use request::{Credentials, Request};
pub use response::{Data, NodeItem, Response, hint_line};
pub use xml::Element;

/// Fuzz entry: a line of a node, of any bytes; what it says of a post script must survive a round trip.
pub fn fuzz_node_line(bytes: &[u8]) {
    let line = String::from_utf8_lossy(bytes);
    if let node_status::NodeReport::Script(result) = node_status::NodeReport::parse(&line) {
        let again = dawn_wire::script::ScriptResult::parse(&result.to_string());
        assert_eq!(again, Some(result), "what we write we can read");
    }
}

/// Fuzz entry: framing and request parser on any bytes; what parses must survive a round trip.
pub fn fuzz_request(bytes: &[u8]) {
    let _ = flow::is_request(bytes);
    let mut framer = framing::Framer::new(limits::REQUEST_ANONYMOUS_BYTES_MAX);
    if framer.push(bytes).is_err() {
        return;
    }
    while let Some(document) = framer.next_document() {
        let Ok(request) = Request::parse(&document) else { continue };
        let written = request.to_xml();
        assert!(Request::parse(&written).is_ok(), "what we write we can read");
        let _ = Response::parse(&document);
    }
}
