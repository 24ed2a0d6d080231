//! Forged requests with the address of one node, in virtual time: how long another node waits.
//!
//! The world is the loop of the server's thread with the kernel's queue before it. To take a datagram, to
//! answer one and to repeat a packet have a price each; the prices are those of a busy machine.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use dawn_serving::shares::Kind;
use dawn_serving::{Answer, Ignore, Rendered, Request};
use dawn_tftp::limits::Limits;
use dawn_tftp::outbox::{Outbox, PortId, Route};
use dawn_tftp::server::{Incoming, Server};

const FORGED: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 5);
const OTHER: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 6);
/// Forged requests per second.
const RATE: u32 = 10_000;
/// Datagrams that the kernel's queue holds.
const QUEUE_MAX: usize = 20_000;
/// Datagrams that one turn takes at most.
const TAKEN_MAX: usize = 1024;
const PRICE_OF_DATAGRAM: Duration = Duration::from_micros(5);
const PRICE_OF_ANSWER: Duration = Duration::from_micros(500);
const PRICE_OF_REPEAT: Duration = Duration::from_micros(20);
const ATTACK: Duration = Duration::from_secs(5);
/// Between two requests of the other node.
const PROBE_PERIOD: Duration = Duration::from_millis(100);
/// What docs/limits.md promises to nodes.
const NODE_WAIT_MAX: Duration = Duration::from_secs(2);

/// The longest time between a request of the other node and its first answer.
fn longest_wait(request: &[u8], limits: Limits) -> Duration {
    let answers = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&answers);
    let source = move |asked: &Request<'_>| {
        count.fetch_add(1, Ordering::Relaxed);
        match asked.path.as_str() {
            "kernel" => Answer::Bytes(Rendered::new(vec![7_u8; 100_000], "")),
            _ => Answer::NotFound,
        }
    };
    let nodes = |ip: IpAddr| if ip.is_loopback() { Kind::Local } else { Kind::Node };
    let mut server = Server::new(limits, vec![PortId(1)], &source, &Ignore).with_callers(&nodes);
    let (mut out, mut queue) = (Outbox::default(), VecDeque::new());
    let (mut now, mut forged, mut probes) = (Duration::ZERO, 0_u32, 0_u32);
    let (mut asked, mut longest) = (Vec::new(), Duration::ZERO);
    while now < ATTACK {
        while Duration::from_secs(1) * forged / RATE <= now {
            let port = u16::try_from(1024 + forged % 60_000).unwrap();
            queue.push_back((SocketAddrV4::new(FORGED, port), request));
            forged += 1;
        }
        queue.truncate(QUEUE_MAX);
        while PROBE_PERIOD * probes <= now {
            let peer = SocketAddrV4::new(OTHER, u16::try_from(2000 + probes).unwrap());
            queue.push_back((peer, b"\x00\x01kernel\x00octet\x00"));
            asked.push((peer, now));
            probes += 1;
        }
        for _ in 0..TAKEN_MAX.min(queue.len()) {
            let (peer, bytes) = queue.pop_front().unwrap();
            let route = Route { peer, local: Ipv4Addr::new(10, 1, 0, 1), port: PortId::LISTEN };
            let before = out.packets().len();
            server.on_datagram(now, Incoming { route, mtu: 1500 }, bytes, &mut out);
            // An answer is a file that was looked for, or an error.
            let answered = answers.swap(0, Ordering::Relaxed) > 0 || out.packets().len() > before;
            now += PRICE_OF_DATAGRAM + PRICE_OF_ANSWER * u32::from(answered);
        }
        let before = out.packets().len();
        server.on_timer(now, &mut out);
        let repeats = u32::try_from(out.packets().len() - before).unwrap();
        now += PRICE_OF_ANSWER * answers.swap(0, Ordering::Relaxed) + PRICE_OF_REPEAT * repeats;
        for packet in out.packets() {
            if let Some(at) = asked.iter().position(|(peer, _)| *peer == packet.route.peer) {
                longest = longest.max(now - asked.swap_remove(at).1);
            }
        }
        out.clear();
    }
    asked.iter().map(|(_, since)| now - *since).fold(longest, Duration::max)
}

#[test]
fn forged_requests_of_one_node_do_not_delay_another() {
    for request in [
        &b"\x00\x01kernel\x00octet\x00blksize\x001468\x00windowsize\x0064\x00"[..],
        b"\x00\x01no such file\x00octet\x00",
    ] {
        let waited = longest_wait(request, Limits::default());
        assert!(waited < NODE_WAIT_MAX, "{waited:?}");
        // Without the share the wait is too long: the test does measure it.
        let without = Limits { per_node_per_turn: usize::MAX, ..Limits::default() };
        let waited = longest_wait(request, without);
        assert!(waited > NODE_WAIT_MAX, "{waited:?}");
    }
}
