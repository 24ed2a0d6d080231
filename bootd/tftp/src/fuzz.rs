//! Entry points for the fuzzer: any bytes must be taken without a panic.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use crate::limits::Limits;
use crate::outbox::{Outbox, PortId, Route};
use crate::server::{Incoming, Server};
use crate::source::{Answer, Ignore, Rendered, Request, RequestPath};

/// Feeds a whole conversation: each input is cut into datagrams (length byte, then bytes) of one client.
pub fn fuzz_conversation(data: &[u8]) {
    let source = |request: &Request<'_>| match request.path.as_str().len() % 3 {
        0 => Answer::Bytes(Rendered::new(vec![7_u8; 3000], "application/octet-stream")),
        1 => Answer::NotFound,
        _ => Answer::Refused("no".to_owned()),
    };
    let mut server = Server::new(Limits::default(), vec![PortId(1), PortId(2)], &source, &Ignore);
    let mut out = Outbox::default();
    let mut now = Duration::ZERO;
    let mut rest = data;
    while let Some((head, tail)) = rest.split_first_chunk::<2>() {
        let [length, control] = *head;
        let (datagram, tail) = tail.split_at(usize::from(length).min(tail.len()));
        rest = tail;
        let port = PortId(control & 3);
        let peer = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1000 + u16::from(control >> 2 & 3));
        let route = Route { peer, local: Ipv4Addr::LOCALHOST, port };
        server.on_datagram(now, Incoming { route, mtu: 1500 }, datagram, &mut out);
        now += Duration::from_millis(u64::from(control >> 4) * 300);
        server.on_timer(now, &mut out);
        out.clear();
    }
}

/// Feeds a path as TFTP and as HTTP would.
pub fn fuzz_path(data: &[u8]) {
    let paths = [RequestPath::from_tftp(data).ok(), {
        std::str::from_utf8(data).ok().and_then(|text| RequestPath::from_url(text).ok())
    }];
    for path in paths.into_iter().flatten() {
        let text = path.as_str();
        assert!(!text.starts_with('/') && text.split('/').all(|part| part != ".." && part != "."));
    }
}
