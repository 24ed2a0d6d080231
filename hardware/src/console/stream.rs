//! Consoles that are streams of bytes: sockets of virtual machines, terminal servers, terminals of programs.

use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::net::sockopt::{set_socket_keepalive, set_tcp_keepcnt, set_tcp_keepidle, set_tcp_keepintvl};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::source::{Line, Said, Soon, Source};
use super::telnet::Telnet;
use crate::error::Error;
use crate::hub::Links;
use crate::limits::{CONSOLE_READ_BYTES, CONSOLE_TYPED_WAITING_MAX};
use crate::target::Peer;

/// Idle time after which the kernel probes a terminal server, and how often it probes.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEPALIVE_COUNT: u32 = 3;

/// The serial port of a virtual machine of this machine: QEMU's `-serial unix:PATH,server=on,wait=off`.
pub(super) struct Socket(pub PathBuf);

impl Source for Socket {
    fn open(&self, _insists: bool) -> Soon<'_, Result<Box<dyn Line>, Error>> {
        Box::pin(async move {
            let stream = UnixStream::connect(&self.0).await;
            let stream = stream.map_err(|error| Error::Machine(format!("{}: {error}", self.0.display())))?;
            let (read, write) = stream.into_split();
            let end = "the virtual machine has closed its serial port";
            Ok(Box::new(Stream::new(read, write, None, end)) as Box<dyn Line>)
        })
    }
}

/// A port of a terminal server.
pub(super) struct Terminal {
    pub links: Arc<Links>,
    pub peer: Peer,
    pub telnet: bool,
}

impl Source for Terminal {
    fn open(&self, _insists: bool) -> Soon<'_, Result<Box<dyn Line>, Error>> {
        Box::pin(async move {
            let address =
                self.links.resolve(&self.peer.host, self.peer.port, &self.peer.known_address).await?;
            let stream = TcpStream::connect(address).await;
            let stream = stream.map_err(|error| Error::Machine(format!("{address}: {error}")))?;
            let set = stream.set_nodelay(true).and_then(|()| Ok(keep_alive(&stream)?));
            set.map_err(|error| Error::Machine(format!("{address}: {error}")))?;
            let (read, write) = stream.into_split();
            let telnet = self.telnet.then(Telnet::default);
            let end = "the terminal server has closed the connection";
            Ok(Box::new(Stream::new(read, write, telnet, end)) as Box<dyn Line>)
        })
    }
}

/// A terminal server that was switched off is noticed even if no viewer types.
fn keep_alive(stream: &TcpStream) -> Result<(), rustix::io::Errno> {
    set_socket_keepalive(stream, true)?;
    set_tcp_keepidle(stream, KEEPALIVE_IDLE)?;
    set_tcp_keepintvl(stream, KEEPALIVE_INTERVAL)?;
    set_tcp_keepcnt(stream, KEEPALIVE_COUNT)
}

/// A stream of bytes, each way.
pub(super) struct Stream<R> {
    read: R,
    typed: mpsc::Sender<Vec<u8>>,
    telnet: Option<Telnet>,
    end: &'static str,
    writer: AbortHandle,
}

impl<R> Drop for Stream<R> {
    /// A peer that does not read any more must not keep the task that writes.
    fn drop(&mut self) {
        self.writer.abort();
    }
}

impl<R: AsyncRead + Unpin + Send> Stream<R> {
    /// A stream with the text for its end.
    pub(super) fn new<W>(read: R, write: W, telnet: Option<Telnet>, end: &'static str) -> Self
    where
        W: AsyncWrite + Unpin + Send + 'static,
    {
        let (typed, waiting) = mpsc::channel(CONSOLE_TYPED_WAITING_MAX);
        let writer = tokio::spawn(write_all(write, waiting)).abort_handle();
        Self { read, typed, telnet, end, writer }
    }

    /// Reads what has arrived. The buffer is no part of the future: thousands wait.
    fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Vec<u8>>> {
        let mut bytes = [0; CONSOLE_READ_BYTES];
        let mut buffer = ReadBuf::new(&mut bytes);
        ready!(Pin::new(&mut self.read).poll_read(context, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().to_vec()))
    }
}

/// Writes what is typed until the typing half is closed.
async fn write_all(mut write: impl AsyncWrite + Unpin, mut typed: mpsc::Receiver<Vec<u8>>) {
    while let Some(bytes) = typed.recv().await {
        if write.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

impl<R: AsyncRead + Unpin + Send> Line for Stream<R> {
    fn next(&mut self) -> Soon<'_, Said> {
        Box::pin(async move {
            loop {
                let bytes = match std::future::poll_fn(|context| self.poll_chunk(context)).await {
                    Ok(bytes) if bytes.is_empty() => return Said::End(self.end.to_owned()),
                    Ok(bytes) => bytes,
                    Err(error) => return Said::End(error.to_string()),
                };
                let Some(telnet) = &mut self.telnet else { return Said::Output(bytes) };
                let heard = telnet.hear(&bytes);
                if !heard.answer.is_empty() && self.typed.try_send(heard.answer).is_err() {
                    return Said::End("the terminal server asks without reading answers".to_owned());
                }
                if !heard.output.is_empty() {
                    return Said::Output(heard.output);
                }
            }
        })
    }

    fn send(&mut self, bytes: &[u8]) -> usize {
        let sent = self.telnet.as_ref().map_or_else(|| bytes.to_vec(), |telnet| telnet.typed(bytes));
        if self.typed.try_send(sent).is_ok() { bytes.len() } else { 0 }
    }

    fn send_break(&mut self) -> bool {
        self.telnet.is_some() && self.typed.try_send(Telnet::break_bytes()).is_ok()
    }
}
