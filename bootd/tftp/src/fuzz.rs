//! Entry points for the fuzzer: any bytes must be taken without a panic.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use crate::limits::Limits;
use crate::outbox::{Outbox, PortId, Route};
use crate::server::{Incoming, Server};
use dawn_serving::{Answer, Ignore, Rendered, Request, RequestPath};

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

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that look enough like packets and paths to get past the first checks.
    fn inputs(count: u64) -> impl Iterator<Item = Vec<u8>> {
        let mut state = 1_u64;
        let mut next = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 33
        };
        (0..count).map(move |_| {
            let mut bytes = Vec::new();
            for _ in 0..next() % 12 {
                match next() % 6 {
                    0 => bytes
                        .extend_from_slice(b"\x30\x00\x00\x01ab\0octet\0blksize\x00512\0windowsize\x008\0"),
                    1 => bytes.extend_from_slice(&[4, u8::try_from(next() & 0xff).unwrap(), 0, 4, 0]),
                    2 => bytes.extend_from_slice(b"../"),
                    3 => bytes.extend_from_slice(b"%2e%2E/\\"),
                    _ => bytes.push(u8::try_from(next() & 0xff).unwrap()),
                }
            }
            bytes
        })
    }

    #[test]
    fn random_bytes_are_taken() {
        for input in inputs(20_000) {
            fuzz_conversation(&input);
            fuzz_path(&input);
        }
    }
}
