//! Flow control of nodes that boot together: UDP on the number of the command port (`site.useflowcontrol`).
//!
//! A node sends `resourcerequest: xcatd`, gets `ackresourcerequest` at once and `resourcerequest: ok` when
//! it may ask on the command port (xCAT's `xcatflowrequest`). Nodes get their turn in the order in which they
//! came, at most [`Waiting::new`]'s number of them in [`GRANT_HOLD`]. An address has one place in the queue,
//! however often it asks; addresses that are not a node's, and other datagrams, are not answered, so nothing
//! is sent to a forged stranger.
//!
//! The same port takes the packets of unknown machines (`findme`), which are handed on.
//!
//! Deliberately missing: the count of commands that are running. The command port has its own queue, so what
//! is granted here is never refused there.

use crate::limits::{FLOW_DATAGRAM_BYTES_MAX, FLOW_GRANTS_MAX, FLOW_WAITING_MAX};
use crate::node_status::NodeReports;
use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::UdpSocket;
use tokio::time::timeout;

/// Time for which a granted place counts as taken.
pub const GRANT_HOLD: Duration = Duration::from_secs(5);
/// Time after which a node that still waits is forgotten; it asks again.
pub const WAIT_MAX: Duration = Duration::from_secs(180);
/// Pause between two looks at the queue while nodes wait.
const LOOK_PERIOD: Duration = Duration::from_millis(200);
/// Pause between two looks when none wait.
const IDLE_PERIOD: Duration = Duration::from_secs(60);
/// Pause after a receive error, so that it is not a busy loop.
const ERROR_PAUSE: Duration = Duration::from_millis(100);

const REQUEST: &[u8] = b"resourcerequest: xcatd";
const HEARD: &[u8] = b"ackresourcerequest\n";
const GRANTED: &[u8] = b"resourcerequest: ok\n";

/// Whether a datagram asks for a place; a line end may follow.
#[must_use]
pub fn is_request(datagram: &[u8]) -> bool {
    datagram.trim_ascii_end() == REQUEST
}

/// Whether a datagram may be the packet of an unknown machine: XML, or XML compressed with gzip.
#[must_use]
pub fn is_discovery(datagram: &[u8]) -> bool {
    datagram.starts_with(&[0x1f, 0x8b]) || datagram.starts_with(b"<xcat")
}

/// Nodes that wait, and the times of the last grants.
#[derive(Debug)]
pub struct Waiting {
    queue: VecDeque<(SocketAddr, Instant)>,
    granted: VecDeque<Instant>,
    granted_max: usize,
}

impl Waiting {
    /// `granted_max` (at least 1): nodes that are admitted within [`GRANT_HOLD`].
    #[must_use]
    pub fn new(granted_max: usize) -> Self {
        Self {
            queue: VecDeque::new(),
            granted: VecDeque::new(),
            granted_max: granted_max.clamp(1, FLOW_GRANTS_MAX),
        }
    }

    /// A node asks. False if the queue is full: then it is not answered, and asks again.
    pub fn ask(&mut self, node: SocketAddr, now: Instant) -> bool {
        if let Some(present) = self.queue.iter_mut().find(|(waiting, _)| waiting.ip() == node.ip()) {
            *present = (node, now);
            return true;
        }
        let has_room = self.queue.len() < FLOW_WAITING_MAX;
        if has_room {
            self.queue.push_back((node, now));
        }
        has_room
    }

    /// The next node that may come in, if one may.
    pub fn next(&mut self, now: Instant) -> Option<SocketAddr> {
        self.queue.retain(|(_, asked)| now.duration_since(*asked) < WAIT_MAX);
        while self.granted.front().is_some_and(|then| now.duration_since(*then) >= GRANT_HOLD) {
            self.granted.pop_front();
        }
        if self.granted.len() >= self.granted_max {
            return None;
        }
        let (node, _) = self.queue.pop_front()?;
        self.granted.push_back(now);
        Some(node)
    }
}

/// The socket on all addresses, both families; IPv4 only where the kernel has no IPv6.
///
/// # Errors
/// Those of the socket; [`io::ErrorKind::AddrInUse`] when another program has the port.
pub async fn bind(port: u16) -> io::Result<UdpSocket> {
    match UdpSocket::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))).await {
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
            UdpSocket::bind(SocketAddr::from(([0, 0, 0, 0], port))).await
        }
        bound => bound,
    }
}

/// Serves until the future is dropped.
pub async fn serve(socket: UdpSocket, reports: Arc<dyn NodeReports>, granted_max: usize) {
    let is_node = |ip: IpAddr| reports.node_at(ip).is_some();
    let mut waiting = Waiting::new(granted_max);
    let mut datagram = vec![0; FLOW_DATAGRAM_BYTES_MAX];
    loop {
        let pause = if waiting.queue.is_empty() { IDLE_PERIOD } else { LOOK_PERIOD };
        match timeout(pause, socket.recv_from(&mut datagram)).await {
            Ok(Ok((length, from))) => {
                let datagram = datagram.get(..length).unwrap_or_default();
                if is_discovery(datagram) {
                    reports.discovery_packet(from, datagram);
                }
                let asks = is_request(datagram) && is_node(from.ip().to_canonical());
                if asks && waiting.ask(from, Instant::now()) {
                    tell(&socket, from, HEARD).await;
                }
            }
            Ok(Err(error)) => {
                tracing::debug!(%error, "receiving on the flow control port failed");
                tokio::time::sleep(ERROR_PAUSE).await;
            }
            Err(_) => {}
        }
        while let Some(node) = waiting.next(Instant::now()) {
            tell(&socket, node, GRANTED).await;
        }
    }
}

/// A lost datagram is repeated by the node, which asks again.
async fn tell(socket: &UdpSocket, node: SocketAddr, words: &[u8]) {
    if let Err(error) = socket.send_to(words, node).await {
        tracing::debug!(%node, %error, "cannot notify a node of its place");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node_status::NodeReport;

    struct OneNode;

    impl NodeReports for OneNode {
        fn node_at(&self, ip: IpAddr) -> Option<String> {
            (ip == IpAddr::from([127, 0, 0, 1])).then(|| "cn1".to_owned())
        }
        fn keep(&self, _: &str, _: &NodeReport) {}
        fn report(&self, _: &str, _: NodeReport) -> Vec<String> {
            Vec::new()
        }
        fn bmc_config(&self, _: IpAddr) -> Vec<String> {
            Vec::new()
        }
        fn stranger(&self, _: IpAddr) {}
        fn discovery_packet(&self, _: SocketAddr, _: &[u8]) {}
    }

    fn node(last: u8, port: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, last], port))
    }

    #[test]
    fn places_in_order_and_within_limits() {
        let start = Instant::now();
        let mut waiting = Waiting::new(2);
        for (last, port) in [(1, 10), (2, 10), (1, 11), (3, 10), (4, 10)] {
            assert!(waiting.ask(node(last, port), start));
        }
        let next: Vec<_> = std::iter::from_fn(|| waiting.next(start)).collect();
        assert_eq!(next, [node(1, 11), node(2, 10)], "one place for an address, at its latest port");
        assert_eq!(waiting.next(start + GRANT_HOLD), Some(node(3, 10)));
        assert_eq!(waiting.next(start + WAIT_MAX), None, "the fourth has waited too long");
        for number in 0..FLOW_WAITING_MAX {
            let [.., a, b] = u32::try_from(number).unwrap_or(0).to_be_bytes();
            assert!(waiting.ask(SocketAddr::from(([10, 1, a, b], 1)), start));
        }
        assert!(!waiting.ask(node(9, 1), start), "the queue is full");
    }

    #[test]
    fn requests() {
        for (datagram, expected) in [
            (&b"resourcerequest: xcatd\n"[..], true),
            (b"resourcerequest: xcatd", true),
            (b"resourcerequest: xcatd\nmore", false),
            (b"resourcerequest: other\n", false),
            (b"", false),
            (b"\x1f\x8b", false),
        ] {
            assert_eq!(is_request(datagram), expected, "{datagram:?}");
        }
    }

    /// The words on the wire; noise before them is not answered.
    #[tokio::test]
    async fn a_node_asks() {
        let server = UdpSocket::bind("127.0.0.1:0").await.expect("socket");
        let address = server.local_addr().expect("address");
        let serving = tokio::spawn(serve(server, Arc::new(OneNode), 1));
        let client = UdpSocket::bind("127.0.0.1:0").await.expect("socket");
        for words in [&b"noise"[..], &[0xff; 4000], b"resourcerequest: xcatd\n"] {
            client.send_to(words, address).await.expect("sent");
        }
        for expected in [HEARD, GRANTED] {
            let mut answer = [0; 64];
            let (length, from) = client.recv_from(&mut answer).await.expect("an answer");
            assert_eq!((answer.get(..length), from), (Some(expected), address));
        }
        serving.abort();
    }
}
