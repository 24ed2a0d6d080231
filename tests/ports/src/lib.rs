//! Ports of loopback for the servers that tests start as separate programs.

#![forbid(unsafe_code)]
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};

/// The first port that is given out.
const FIRST: u32 = 10_000;
/// How many there are. The last one is below 32,768, where Linux begins to choose the ports of clients
/// (ip(7), `ip_local_port_range`): a connection of another test never takes a port before its server
/// listens.
const COUNT: u32 = 20_000;
/// How far the first ports of two processes with neighbouring numbers are apart.
const STRIDE: u32 = 61;

/// How many ports this process has looked at.
static LOOKED_AT: AtomicU32 = AtomicU32::new(0);

/// A port that no TCP or UDP socket of this machine has, and that this process gives out once.
///
/// # Panics
/// When every port is in use.
#[must_use]
pub fn free_port() -> u16 {
    let first = std::process::id().wrapping_mul(STRIDE);
    (0..COUNT)
        .map(|_| FIRST + first.wrapping_add(LOOKED_AT.fetch_add(1, Ordering::Relaxed)) % COUNT)
        .filter_map(|port| u16::try_from(port).ok())
        .find(|port| is_free(*port))
        .expect("a free port")
}

fn is_free(port: u16) -> bool {
    let everywhere = (Ipv4Addr::UNSPECIFIED, port);
    TcpListener::bind(everywhere).is_ok() && UdpSocket::bind(everywhere).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_given_out_once_and_only_when_it_is_free() {
        let port = free_port();
        let held = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        assert!(!is_free(port));
        drop(held);
        assert!(is_free(port) && free_port() != port);
    }
}
