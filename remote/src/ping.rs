//! Which hosts are there: an echo request (RFC 792), and for those that do not answer it a connection to
//! ports that most hosts have. A refused connection is an answer, too.
//!
//! Without the right to send echo requests only the connections are tried.

use dawn_fanout::{CancellationToken, Fanout};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::collections::HashSet;
use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// Rounds of echo requests; each asks those that have not answered.
const ROUNDS: u32 = 3;
/// Time after the last request of a round in which answers are waited for.
const ROUND_WAIT: Duration = Duration::from_millis(400);
/// Requests between two looks for answers.
const BURST: usize = 32;
/// Pause after each burst, so that switches and our own queues keep up.
const BURST_PAUSE: Duration = Duration::from_millis(2);
/// Time for a connection.
const CONNECT_WAIT: Duration = Duration::from_secs(2);
/// Connections at once.
const WIDTH: usize = 256;
/// Ports that are tried, as xCAT's nmap does.
const PORTS: [u16; 3] = [22, 80, 443];
/// Bytes of an answer that are looked at: the longest IP header and an ICMP header.
const ANSWER_BYTES: usize = 68;

const ECHO_REQUEST: u8 = 8;
const ECHO_REPLY: u8 = 0;

/// The first address of a name, from the system's resolver, which may take its time.
pub fn resolve(host: &str) -> Option<IpAddr> {
    (host, 0).to_socket_addrs().ok()?.next().map(|address| address.ip())
}

/// The addresses that answer.
///
/// # Errors
/// No runtime could be made.
pub fn alive(addresses: &[IpAddr]) -> io::Result<HashSet<IpAddr>> {
    let v4: Vec<Ipv4Addr> = addresses
        .iter()
        .filter_map(|address| match address {
            IpAddr::V4(v4) => Some(*v4),
            IpAddr::V6(_) => None,
        })
        .collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut alive: HashSet<IpAddr> =
        runtime.block_on(echo(&v4)).unwrap_or_default().into_iter().map(IpAddr::V4).collect();
    let silent: Vec<SocketAddr> = addresses
        .iter()
        .filter(|address| !alive.contains(address))
        .flat_map(|address| PORTS.iter().map(|port| SocketAddr::new(*address, *port)))
        .collect();
    let answers = connects(&silent)?;
    alive.extend(answers.into_iter().filter(|(_, answer)| *answer != Answer::None).map(|(at, _)| at.ip()));
    Ok(alive)
}

/// The result of a connection to a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A server listens.
    Open,
    /// The host refuses.
    Closed,
    /// Nothing.
    None,
}

/// Tries connections; in any order.
///
/// # Errors
/// No runtime could be made.
pub fn connects(ports: &[SocketAddr]) -> io::Result<Vec<(SocketAddr, Answer)>> {
    if ports.is_empty() {
        return Ok(Vec::new());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let fanout = Fanout::default().width(WIDTH).map_err(io::Error::other)?;
    Ok(runtime.block_on(async {
        let mut running = fanout.start(ports.to_vec(), CancellationToken::new(), |at, _| {
            let at = *at;
            async move {
                match timeout(CONNECT_WAIT, TcpStream::connect(at)).await {
                    Ok(Ok(_)) => Ok(Answer::Open),
                    Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(Answer::Closed),
                    _ => Err(()),
                }
            }
        });
        let mut answers = Vec::with_capacity(ports.len());
        while let Some(finished) = running.next().await {
            let answer = match finished.outcome {
                dawn_fanout::Outcome::Done(answer) => answer,
                _ => Answer::None,
            };
            answers.push((finished.target, answer));
        }
        answers
    }))
}

/// Sends echo requests; the addresses that answer.
async fn echo(addresses: &[Ipv4Addr]) -> io::Result<HashSet<Ipv4Addr>> {
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4))
        .or_else(|_| Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::ICMPV4)))?;
    socket.set_nonblocking(true)?;
    let asked: HashSet<Ipv4Addr> = addresses.iter().copied().collect();
    let mut answered = HashSet::new();
    for round in 0..ROUNDS {
        let silent: Vec<Ipv4Addr> = asked.difference(&answered).copied().collect();
        if silent.is_empty() {
            break;
        }
        let packet = request(u16::try_from(round).unwrap_or_default());
        for burst in silent.chunks(BURST) {
            for address in burst {
                // A host without a route does not answer either.
                let _ = socket.send_to(&packet, &SockAddr::from(SocketAddr::from((*address, 0))));
            }
            sleep(BURST_PAUSE).await;
            receive(&socket, &asked, &mut answered);
        }
        let end = Instant::now() + ROUND_WAIT;
        while Instant::now() < end && answered.len() < asked.len() {
            sleep(BURST_PAUSE).await;
            receive(&socket, &asked, &mut answered);
        }
    }
    Ok(answered)
}

/// Takes the answers that have arrived.
fn receive(socket: &Socket, asked: &HashSet<Ipv4Addr>, answered: &mut HashSet<Ipv4Addr>) {
    let mut buffer = [MaybeUninit::<u8>::uninit(); ANSWER_BYTES];
    while let Ok((count, from)) = socket.recv_from(&mut buffer) {
        // SAFETY: the system has written the first `count` bytes.
        let bytes: Vec<u8> = buffer.iter().take(count).map(|byte| unsafe { byte.assume_init() }).collect();
        let from = from.as_socket_ipv4().map(|address| *address.ip());
        if let Some(address) = from.filter(|address| is_reply(&bytes) && asked.contains(address)) {
            answered.insert(address);
        }
    }
}

/// An echo reply, with the IP header that raw sockets show before it or without.
fn is_reply(bytes: &[u8]) -> bool {
    let icmp = match bytes.first() {
        Some(first) if first >> 4 == 4 => bytes.get(usize::from(first & 15) * 4..),
        _ => Some(bytes),
    };
    icmp.and_then(<[u8]>::first) == Some(&ECHO_REPLY)
}

/// An echo request of this sequence number.
fn request(sequence: u16) -> [u8; 8] {
    let [first, second] = sequence.to_be_bytes();
    // The sum of RFC 1071: two words that are not zero, and a carry.
    let sum = u32::from(ECHO_REQUEST) << 8;
    let sum = sum + u32::from(u16::from_be_bytes([b'D', b'N'])) + u32::from(sequence);
    let sum = (sum & 0xffff) + (sum >> 16);
    let [high, low] = (!u16::try_from(sum & 0xffff).unwrap_or_default()).to_be_bytes();
    [ECHO_REQUEST, 0, high, low, b'D', b'N', first, second]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_this_machine_answer() {
        let there: IpAddr = "127.77.5.1".parse().expect("an address");
        let found = alive(&[there]).expect("a runtime");
        assert!(found.contains(&there));
        assert!(alive(&[]).expect("a runtime").is_empty());
    }

    #[test]
    fn the_sum_of_a_request_is_right() {
        for sequence in [0, 1, 0xffff] {
            let packet = request(sequence);
            let sum: u32 = packet.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
            assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff, "RFC 1071");
        }
        assert!(is_reply(&[0, 0]) && !is_reply(&[8, 0]) && !is_reply(&[]) && !is_reply(&[0x4f]));
    }
}
