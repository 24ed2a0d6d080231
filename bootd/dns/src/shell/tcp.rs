//! Connections (RFC 7766): several questions on one, answered in the order they are ready.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use dawn_serving::shares::Place;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;

use super::Shared;
use super::upstream::{Asked, Client};
use crate::engine::{Engine, Origin, Verdict};
use crate::query::Transport;
use crate::transfer::Transfer;

/// Time a client has for its next question, and for each answer to be taken.
const IDLE_TIME_MAX: Duration = Duration::from_secs(10);
/// Answers that wait to be written to one connection.
const ANSWERS_MAX: usize = 16;
/// Connections that the kernel keeps for us.
const BACKLOG: i32 = 256;
/// Pause after an accept that failed, for instance for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A listener on an address.
pub(super) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Accepts connections until it is dropped.
pub(super) async fn serve(shared: Arc<Shared>, listener: TcpListener) {
    loop {
        let Ok((stream, peer)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let leave = Arc::new(Notify::new());
        let give_way = Arc::clone(&leave);
        let Some(place) = shared.places.enter(peer.ip(), move || give_way.notify_one()) else { continue };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            tokio::select! {
                () = converse(&shared, stream, peer, &place) => {}
                () = leave.notified() => {}
            }
            drop(place);
        });
    }
}

async fn converse(shared: &Shared, stream: TcpStream, peer: SocketAddr, _place: &Place) {
    let _ = stream.set_nodelay(true);
    let (reader, writer) = stream.into_split();
    let (answers, ready) = mpsc::channel(ANSWERS_MAX);
    tokio::select! {
        () = read(shared, reader, peer, answers) => {}
        () = write(writer, ready) => {}
    }
}

/// Reads questions. Returns when the client is done and all its answers are on their way, or when it sends
/// nothing for too long.
async fn read(shared: &Shared, mut reader: OwnedReadHalf, peer: SocketAddr, answers: mpsc::Sender<Vec<u8>>) {
    let mut engine = Engine::new(Arc::clone(&shared.cache));
    let origin = Origin { ip: peer.ip(), transport: Transport::Tcp };
    let mut question = Vec::new();
    loop {
        let next = async {
            let length = usize::from(reader.read_u16().await?);
            question.resize(length, 0);
            reader.read_exact(&mut question).await
        };
        if !matches!(timeout(IDLE_TIME_MAX, next).await, Ok(Ok(_))) {
            break;
        }
        shared.questions.fetch_add(1, Ordering::Relaxed);
        let mut out = Vec::new();
        let view = shared.view.load_full();
        let sent = match engine.answer(shared.now(), &view, origin, &question, &mut out) {
            Verdict::Reply => answers.send(out).await.is_ok(),
            Verdict::Silence => false,
            Verdict::Ask(query) => {
                let client = Client::Tcp(answers.clone());
                shared.asked.try_send(Asked { ip: peer.ip(), query, client }).is_ok()
            }
            Verdict::Transfer(zone) => match Transfer::new(view, zone, &question) {
                Some(transfer) => send_zone(transfer, &answers).await,
                None => false,
            },
        };
        if !sent {
            break;
        }
    }
    // The writer ends when the last holder of the channel is gone: a question may wait for another server.
    drop(answers);
    std::future::pending::<()>().await;
}

async fn send_zone(mut transfer: Transfer, answers: &mpsc::Sender<Vec<u8>>) -> bool {
    let mut out = Vec::new();
    while transfer.next_message(&mut out) {
        if answers.send(std::mem::take(&mut out)).await.is_err() {
            return false;
        }
    }
    true
}

/// Writes answers until there are no more, or the client does not take one in time.
async fn write(mut writer: OwnedWriteHalf, mut answers: mpsc::Receiver<Vec<u8>>) {
    let mut bytes = Vec::new();
    while let Some(answer) = answers.recv().await {
        let Ok(length) = u16::try_from(answer.len()) else { return };
        bytes.clear();
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(&answer);
        if !matches!(timeout(IDLE_TIME_MAX, writer.write_all(&bytes)).await, Ok(Ok(()))) {
            return;
        }
    }
    let _ = writer.shutdown().await;
}
