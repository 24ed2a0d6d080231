//! The task that asks other servers: the forwarding engine, and a socket for each attempt.
//!
//! Each attempt has a separate socket, bound to a port that the kernel picks at random and connected to the
//! server, so that nothing from elsewhere reaches it.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket as StdUdpSocket};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::Shared;
use crate::forward::{Action, Forwarder, TIME_MAX, Ticket};
use crate::query::Query;

/// Answers that wait to be handled.
const ANSWERS_MAX: usize = 1024;
/// Longest answer of a server by UDP, bytes.
const DATAGRAM_BYTES_MAX: usize = 4096;
/// Datagrams that one attempt reads: further ones are not for us.
const DATAGRAMS_MAX: usize = 16;
/// Longest pause of the task.
const IDLE_TIME: Duration = Duration::from_secs(3600);

/// A question of a client.
pub(super) struct Asked {
    pub ip: IpAddr,
    pub query: Box<Query>,
    pub client: Client,
}

/// Where its answer goes.
#[derive(Debug)]
pub(super) enum Client {
    Udp(Arc<StdUdpSocket>, SocketAddr),
    Tcp(mpsc::Sender<Vec<u8>>),
}

/// What an attempt brought; `None` for nothing, ever.
type Brought = (Ticket, Option<Vec<u8>>);

/// Runs until it is dropped.
pub(super) async fn run(shared: Arc<Shared>, mut asked: mpsc::Receiver<Asked>, waiting_max: usize) {
    let mut forwarder: Forwarder<Client> = Forwarder::new(Arc::clone(&shared.cache), waiting_max);
    let (bring, mut brought) = mpsc::channel::<Brought>(ANSWERS_MAX);
    let mut attempts: HashMap<Ticket, AbortHandle> = HashMap::new();
    let mut actions = Vec::new();
    loop {
        let wait = forwarder.deadline().map_or(IDLE_TIME, |at| at.saturating_sub(shared.now()));
        tokio::select! {
            Some(Asked { ip, query, client }) = asked.recv() => {
                let servers = &shared.view.load().forwarders;
                forwarder.ask(shared.now(), random(), servers, ip, query, client, &mut actions);
            }
            Some((ticket, bytes)) = brought.recv() => match bytes {
                Some(bytes) => forwarder.received(shared.now(), random(), ticket, &bytes, &mut actions),
                None => forwarder.failed(shared.now(), random(), ticket, &mut actions),
            },
            () = tokio::time::sleep(wait) => forwarder.tick(shared.now(), random, &mut actions),
        }
        for action in actions.drain(..) {
            match action {
                Action::Send { ticket, server, tcp, bytes } => {
                    let task = tokio::spawn(attempt(ticket, server, tcp, bytes, bring.clone()));
                    attempts.insert(ticket, task.abort_handle());
                }
                Action::Close(ticket) => {
                    if let Some(task) = attempts.remove(&ticket) {
                        task.abort();
                    }
                }
                Action::Answer(query, client, stored) => {
                    let mut out = Vec::new();
                    stored.write(shared.now(), &query, &mut out);
                    answer(client, out);
                }
            }
        }
    }
}

/// A packet that cannot be sent at once is dropped: we never wait for a client.
fn answer(client: Client, bytes: Vec<u8>) {
    match client {
        Client::Udp(socket, peer) => drop(socket.send_to(&bytes, peer)),
        Client::Tcp(answers) => drop(answers.try_send(bytes)),
    }
}

fn random() -> u16 {
    let mut bytes = [0; 2];
    // Without the kernel's random numbers the port is still one.
    let _ = getrandom::fill(&mut bytes);
    u16::from_ne_bytes(bytes)
}

async fn attempt(
    ticket: Ticket,
    server: SocketAddr,
    tcp: bool,
    bytes: Vec<u8>,
    bring: mpsc::Sender<Brought>,
) {
    let result = if tcp {
        by_tcp(ticket, server, &bytes, &bring).await
    } else {
        by_udp(ticket, server, &bytes, &bring).await
    };
    if result.is_err() {
        let _ = bring.send((ticket, None)).await;
    }
}

async fn by_udp(
    ticket: Ticket,
    server: SocketAddr,
    bytes: &[u8],
    bring: &mpsc::Sender<Brought>,
) -> io::Result<()> {
    let any: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(bytes).await?;
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    for _ in 0..DATAGRAMS_MAX {
        let length = socket.recv(&mut buffer).await?;
        let got = buffer.get(..length).unwrap_or_default().to_vec();
        if bring.send((ticket, Some(got))).await.is_err() {
            break;
        }
    }
    Ok(())
}

async fn by_tcp(
    ticket: Ticket,
    server: SocketAddr,
    bytes: &[u8],
    bring: &mpsc::Sender<Brought>,
) -> io::Result<()> {
    let talk = async {
        let mut stream = TcpStream::connect(server).await?;
        let length = u16::try_from(bytes.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        let mut message = length.to_be_bytes().to_vec();
        message.extend_from_slice(bytes);
        stream.write_all(&message).await?;
        let length = usize::from(stream.read_u16().await?);
        let mut got = vec![0; length];
        stream.read_exact(&mut got).await?;
        io::Result::Ok(got)
    };
    let got = tokio::time::timeout(TIME_MAX, talk).await.map_err(|_| io::ErrorKind::TimedOut)??;
    let _ = bring.send((ticket, Some(got))).await;
    Ok(())
}
