//! An application on hyper, for the requests that it owns.
//!
//! The bytes already read are handed over with the connection. One request is served that way and the
//! connection is then closed, so that the next one meets the front again.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use dawn_serving::{RequestPath, Service};

use crate::limits::{HEAD_BYTES_MAX, HEAD_TIME_MAX};
use crate::stream::Stream;

/// The answer of an application, when it is ready.
pub type Reply = Pin<Box<dyn Future<Output = Response<Full<Bytes>>> + Send>>;

/// Answers requests that the static front does not.
pub trait Application: Send + Sync + 'static {
    /// Whether it answers requests for this path that are not for a file; `None` for a path that cannot be
    /// read. The front answers the others.
    fn owns(&self, service: Service, path: Option<&RequestPath>) -> bool;
    /// Answers one request; the body is the application's to bound and to read.
    fn call(&self, peer: SocketAddr, service: Service, request: Request<Incoming>) -> Reply;
}

/// What is behind the front.
pub type Beyond = Arc<dyn Application>;

/// Serves one request of a connection of which `read` was read already.
pub(crate) async fn hand_over(application: Beyond, peer: SocketAddr, stream: Stream, read: Vec<u8>) {
    let service = stream.service();
    let io = TokioIo::new(Rewound { read: Bytes::from(read), stream });
    let answer = service_fn(move |request| {
        let reply = application.call(peer, service, request);
        async move { Ok::<_, std::convert::Infallible>(reply.await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(HEAD_BYTES_MAX)
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_MAX)
        .serve_connection(io, answer);
    if let Err(error) = connection.await {
        tracing::debug!(%peer, %error, "a connection to the application ended early");
    }
}

/// A stream that first gives back what was read from it.
struct Rewound {
    read: Bytes,
    stream: Stream,
}

impl AsyncRead for Rewound {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.read.is_empty() {
            let count = self.read.len().min(buf.remaining());
            buf.put_slice(&self.read.split_to(count));
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Rewound {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
