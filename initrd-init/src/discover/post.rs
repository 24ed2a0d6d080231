//! The packet by HTTPS: `POST /findme` to the server whose certificate is the cluster's.
//!
//! For networks that lose datagrams, and to see that it is the cluster's own server that hears what this
//! machine is: `mknb` puts the authority's certificate into the discovery system. The server takes packets
//! from ports of root's only, as with datagrams.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dawn_wire::image::AUTHORITY;
use dawn_wire::status::FINDME_PATH;
use rustls::pki_types::{IpAddr, ServerName};
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use socket2::{Domain, Protocol, Socket, Type};

use crate::chance;
use crate::http;

/// Port of HTTPS.
const PORT: u16 = 443;
/// The ports of root's that connections begin at; xCAT's clients use none of them for anything else.
const SOURCE_PORTS: std::ops::RangeInclusive<u16> = 302..=399;
/// Time for the connection, and for each part of the answer, in seconds.
const ANSWER_SECONDS_MAX: u64 = 10;
/// The status of the answer to a packet that the server took.
const ACCEPTED: u16 = 202;
/// Part of the answer that is shown, in bytes.
const REASON_BYTES_MAX: u64 = 300;

/// The way to the server by HTTPS.
pub(super) struct Post {
    tls: Arc<ClientConfig>,
}

impl Post {
    /// With the authority that this discovery system was made with; none if it was made without.
    pub(super) fn with_authority() -> io::Result<Option<Self>> {
        let authority = Path::new("/").join(AUTHORITY);
        match authority.exists() {
            true => Self::of(&authority).map(Some),
            false => Ok(None),
        }
    }

    fn of(authority: &Path) -> io::Result<Self> {
        let tls = dawn_tls::unnamed_client_config(authority).map_err(io::Error::other)?;
        Ok(Self { tls })
    }

    /// Sends the packet from `own`. An answer other than 202 is an error with the server's words; so is a
    /// kernel that has no secure randomness yet, which TLS would wait for.
    pub(super) fn send(&self, own: Ipv4Addr, server: Ipv4Addr, packet: &[u8]) -> io::Result<()> {
        if !chance::is_secure() {
            return Err(io::Error::new(io::ErrorKind::WouldBlock, "the kernel has too little entropy yet"));
        }
        self.exchange(connect(own, SocketAddr::from((server, PORT)))?, server, packet)
    }

    fn exchange(&self, stream: TcpStream, server: Ipv4Addr, packet: &[u8]) -> io::Result<()> {
        let name = ServerName::IpAddress(IpAddr::V4(server.into()));
        let connection = ClientConnection::new(Arc::clone(&self.tls), name).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(connection, stream);
        let length = packet.len();
        write!(
            stream,
            "POST {FINDME_PATH} HTTP/1.1\r\nHost: {server}\r\nContent-Type: application/octet-stream\r\n\
             Content-Length: {length}\r\nConnection: close\r\n\r\n"
        )?;
        stream.write_all(packet)?;
        stream.flush()?;
        answer(&mut BufReader::new(stream))
    }
}

fn answer(source: &mut impl BufRead) -> io::Result<()> {
    let head = http::read_head(source)?;
    if head.status == ACCEPTED {
        return Ok(());
    }
    let mut reason = String::new();
    // The words are for people; a connection that breaks among them changes nothing.
    let _ = source.take(REASON_BYTES_MAX).read_to_string(&mut reason);
    Err(io::Error::other(format!("{}: {}", head.status, reason.trim().escape_debug())))
}

/// From the first port of root's that is free.
fn connect(own: Ipv4Addr, server: SocketAddr) -> io::Result<TcpStream> {
    let patience = Duration::from_secs(ANSWER_SECONDS_MAX);
    let mut ports = SOURCE_PORTS;
    let stream = loop {
        let Some(port) = ports.next() else {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "every port of root's is in use"));
        };
        match connect_from(SocketAddr::from((own, port)), server, patience) {
            Err(cause) if is_taken(&cause) => {}
            other => break other?,
        }
    };
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    Ok(stream)
}

fn connect_from(own: SocketAddr, server: SocketAddr, patience: Duration) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM.cloexec(), Some(Protocol::TCP))?;
    socket.bind(&own.into())?;
    socket.connect_timeout(&server.into(), patience)?;
    Ok(socket.into())
}

/// The port is another program's, or a connection from it has ended a moment ago.
fn is_taken(cause: &io::Error) -> bool {
    matches!(cause.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::AddrNotAvailable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dawn_xcatd::certificates::Authority;
    use std::net::TcpListener;

    #[test]
    fn only_202_is_a_success() {
        let of = |text: &str| answer(&mut text.as_bytes()).map_err(|cause| cause.to_string());
        assert_eq!(of("HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"), Ok(()));
        let refused = of("HTTP/1.1 403 Forbidden\r\n\r\nthe packet is not\x1b[2J looked at\n");
        assert_eq!(refused, Err("403: the packet is not\\u{1b}[2J looked at".to_owned()));
        assert!(of("SSH-2.0-x\r\n\r\n").is_err());
        assert!(of("").is_err());
    }

    /// One connection of a server that takes what it is sent; gives the head of the request and the body.
    fn serve(listener: TcpListener, authority: &Authority) -> std::thread::JoinHandle<Option<String>> {
        let tls = dawn_tls::server_config(&authority.server_cred(), &authority.ca_certificate()).unwrap();
        std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut stream = StreamOwned::new(rustls::ServerConnection::new(tls).unwrap(), stream);
            let mut bytes = [0; 4096];
            let mut text = String::new();
            while !text.ends_with("a packet") {
                let count = stream.read(&mut bytes).ok().filter(|count| *count > 0)?;
                text.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
            }
            stream.write_all(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n").unwrap();
            Some(text)
        })
    }

    /// The server knows no name or address of this machine's: what counts is whose certificate it has.
    #[test]
    fn only_the_server_of_the_cluster_is_given_the_packet() {
        let [ours, other] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let authorities = [ours.path(), other.path()].map(Authority::new);
        for authority in &authorities {
            authority.ensure_server("mn1", &[], &[]).unwrap();
        }
        let post = Post::of(&authorities[0].ca_certificate()).unwrap();
        let ask = |authority: &Authority| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let server = serve(listener, authority);
            let result = post.exchange(stream, Ipv4Addr::LOCALHOST, b"a packet");
            (result.map_err(|cause| cause.to_string()), server.join().unwrap())
        };
        let (result, seen) = ask(&authorities[0]);
        assert_eq!(result, Ok(()));
        let seen = seen.unwrap();
        assert!(seen.starts_with("POST /findme HTTP/1.1\r\nHost: 127.0.0.1\r\n"), "{seen}");
        assert!(seen.contains("\r\nContent-Length: 8\r\n"), "{seen}");
        let (result, seen) = ask(&authorities[1]);
        assert!(result.unwrap_err().contains("certificate"));
        assert_eq!(seen, None);
    }

    #[test]
    fn a_port_that_is_taken_is_passed_over() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = listener.local_addr().unwrap();
        let first = connect(Ipv4Addr::LOCALHOST, server).unwrap().local_addr().unwrap();
        assert!(first.port() < 1024);
        let held = connect(Ipv4Addr::LOCALHOST, server).unwrap();
        let second = connect(Ipv4Addr::LOCALHOST, server).unwrap();
        assert_ne!(held.local_addr().unwrap(), second.local_addr().unwrap());
    }
}
