//! A connection in the clear or inside TLS, with the fastest way each has to send a file.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use dawn_serving::{Content, DiskPool, FileBody, Late, Service};

use crate::disk::on_disk;
use crate::limits::{COPY_BYTES, SENDFILE_BYTES, STALL_TIME_MAX};

/// A client's connection.
#[derive(Debug)]
pub(crate) enum Stream {
    /// HTTP.
    Plain(TcpStream),
    /// HTTPS.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// Which service it belongs to.
    pub(crate) fn service(&self) -> Service {
        match self {
            Stream::Plain(_) => Service::Http,
            Stream::Tls(_) => Service::Https,
        }
    }

    /// Our address that was asked.
    ///
    /// # Errors
    /// The system's, when the connection is gone.
    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Stream::Plain(stream) => stream.local_addr(),
            Stream::Tls(stream) => stream.get_ref().0.local_addr(),
        }
    }

    /// Sends all of `bytes`.
    ///
    /// # Errors
    /// When the client is gone, or takes nothing for [`STALL_TIME_MAX`].
    pub(crate) async fn send(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        if let Stream::Plain(stream) = self {
            // Nearly always the socket has room for all of it: no timer is needed then.
            match stream.try_write(bytes) {
                Ok(count) if count == bytes.len() => return Ok(()),
                Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        while !bytes.is_empty() {
            let count = in_time(STALL_TIME_MAX, self.write(bytes)).await?;
            if count == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            bytes = bytes.get(count..).unwrap_or_default();
        }
        Ok(())
    }

    /// Sends `head`, then the bytes from `start` up to `end` of `content`; counts sent content in `sent`.
    ///
    /// # Errors
    /// As [`Stream::send`], and when the content cannot be read or ends early.
    pub(crate) async fn send_content(
        &mut self,
        disks: &DiskPool,
        head: &[u8],
        content: &Content,
        start: u64,
        end: u64,
        sent: &mut u64,
    ) -> io::Result<()> {
        if let (Stream::Plain(stream), Some(disk)) = (&*self, local_file(content)) {
            send_more(stream, head).await?;
            return send_file(stream, disk, start, end, sent).await;
        }
        self.send(head).await?;
        match content.far() {
            Some(far) => self.copy_far(disks, far, content, start, end, sent).await,
            None => self.copy_content(content, start, end, sent).await,
        }
    }

    /// Sends a file on a disk that may hang: each piece is read on a thread for disks.
    async fn copy_far(
        &mut self,
        disks: &DiskPool,
        far: &Path,
        content: &Content,
        start: u64,
        end: u64,
        sent: &mut u64,
    ) -> io::Result<()> {
        let mut buffer = vec![0; COPY_BYTES];
        let mut at = start;
        while at < end {
            let want = usize::try_from(end - at).unwrap_or(COPY_BYTES).min(COPY_BYTES);
            buffer.resize(want, 0);
            let content = content.clone();
            let read = move || {
                let got = content.read_full_at(at, &mut buffer);
                (buffer, got)
            };
            let got;
            (buffer, got) = on_disk(disks, far, STALL_TIME_MAX, read).await.map_err(io::Error::other)?;
            if got? < want {
                return Err(shorter());
            }
            self.send(&buffer).await?;
            at += want as u64;
            *sent = at - start;
        }
        Ok(())
    }

    async fn copy_content(
        &mut self,
        content: &Content,
        start: u64,
        end: u64,
        sent: &mut u64,
    ) -> io::Result<()> {
        if let Some(bytes) = content.in_memory() {
            let part = usize::try_from(start).ok().zip(usize::try_from(end).ok());
            let part = part.and_then(|(start, end)| bytes.get(start..end)).ok_or_else(shorter)?;
            self.send(part).await?;
            *sent = end - start;
            return Ok(());
        }
        let mut buffer = vec![0; COPY_BYTES];
        let mut at = start;
        while at < end {
            let want = usize::try_from(end - at).unwrap_or(COPY_BYTES).min(COPY_BYTES);
            let piece = buffer.get_mut(..want).ok_or_else(shorter)?;
            if content.read_full_at(at, piece)? < want {
                return Err(shorter());
            }
            self.send(piece).await?;
            at += want as u64;
            *sent = at - start;
            tokio::task::yield_now().await;
        }
        Ok(())
    }
}

/// A file on a disk of this machine: sendfile does not hang.
fn local_file(content: &Content) -> Option<&File> {
    match content {
        Content::File(file) if file.far().is_some() => None,
        Content::File(file) => match file.body() {
            FileBody::Disk(disk) => Some(disk),
            FileBody::Memory(_) => None,
        },
        Content::Bytes(_) | Content::Image(_) => None,
    }
}

/// What kept a disk from answering, if that ended the transfer.
pub(crate) fn late(error: &io::Error) -> Option<Late> {
    error.get_ref()?.downcast_ref().copied()
}

fn shorter() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the file became shorter while it was being sent")
}

/// Waits for `future`, but not longer than `limit`.
pub(crate) async fn in_time<T>(
    limit: Duration,
    future: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    timeout(limit, future).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Sends a head that content follows at once: the kernel puts both in one segment.
async fn send_more(stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let result = stream.try_io(Interest::WRITABLE, || {
            let flags = libc::MSG_MORE | libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
            // SAFETY: the pointer and length are of a live slice.
            let sent = unsafe { libc::send(stream.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), flags) };
            usize::try_from(sent).map_err(|_| io::Error::last_os_error())
        });
        match result {
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(error) => wait_or_fail(stream, error).await?,
        }
    }
    Ok(())
}

/// Sends a part of a file without its bytes passing through this process.
async fn send_file(stream: &TcpStream, file: &File, start: u64, end: u64, sent: &mut u64) -> io::Result<()> {
    let mut at = start;
    while at < end {
        let want = usize::try_from(end - at).unwrap_or(SENDFILE_BYTES).min(SENDFILE_BYTES);
        let result = stream.try_io(Interest::WRITABLE, || sendfile(stream, file, at, want));
        match result {
            Ok(0) => return Err(shorter()),
            Ok(count) => {
                at += count as u64;
                *sent = at - start;
                // A client that is as fast as we are must not keep the others waiting.
                tokio::task::yield_now().await;
            }
            Err(error) => wait_or_fail(stream, error).await?,
        }
    }
    Ok(())
}

fn sendfile(stream: &TcpStream, file: &File, at: u64, count: usize) -> io::Result<usize> {
    let mut offset = libc::off_t::try_from(at).map_err(io::Error::other)?;
    // SAFETY: both descriptors are open and `offset` is live for the call.
    let sent = unsafe { libc::sendfile(stream.as_raw_fd(), file.as_raw_fd(), &raw mut offset, count) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

async fn wait_or_fail(stream: &TcpStream, error: io::Error) -> io::Result<()> {
    match error.kind() {
        io::ErrorKind::WouldBlock => in_time(STALL_TIME_MAX, stream.writable()).await,
        io::ErrorKind::Interrupted => Ok(()),
        _ => Err(error),
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Tls(stream) => Pin::new(&mut **stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Tls(stream) => Pin::new(&mut **stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(&mut **stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(&mut **stream).poll_shutdown(cx),
        }
    }
}
