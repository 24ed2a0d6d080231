//! The packet of an unknown machine by HTTPS: `POST /findme`, the datagram as its body. It arrives where a
//! firewall or a long way loses datagrams, and the machine sees by the cluster's CA whose server it is.
//!
//! The rules are those of the datagram: a port of root's at the machine, an address of a managed network, the
//! same places in the queue.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use dawn_discovery::limits::PACKET_BYTES_MAX;
use dawn_http::{Application, Reply};
use dawn_serving::{RequestPath, Service};
use dawn_wire::status::FINDME_PATH;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use tokio::time::timeout;

use super::Discovery;

/// How long the body may take.
const BODY_TIME_MAX: Duration = Duration::from_secs(10);

/// Takes the packets of unknown machines.
pub(crate) struct ByPost(pub(crate) Arc<Discovery>);

impl Application for ByPost {
    fn owns(&self, service: Service, path: Option<&RequestPath>) -> bool {
        let is_path = path.is_some_and(|path| FINDME_PATH.strip_prefix('/') == Some(path.as_str()));
        service == Service::Https && is_path
    }

    fn call(&self, peer: SocketAddr, _: Service, request: Request<Incoming>) -> Reply {
        let discovery = Arc::clone(&self.0);
        Box::pin(async move {
            match *request.method() {
                Method::POST => take(&discovery, peer, request.into_body()).await,
                _ => only_post(),
            }
        })
    }
}

fn only_post() -> Response<Full<Bytes>> {
    let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "the packet of a machine is sent by POST");
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
    answer
}

async fn take(discovery: &Discovery, peer: SocketAddr, body: Incoming) -> Response<Full<Bytes>> {
    let body = Limited::new(body, PACKET_BYTES_MAX).collect();
    match timeout(BODY_TIME_MAX, body).await {
        Ok(Ok(body)) => match discovery.offer(peer, &body.to_bytes()) {
            true => text(StatusCode::ACCEPTED, "the packet is being processed"),
            false => text(StatusCode::FORBIDDEN, "the packet is not looked at; the server's log says why"),
        },
        Ok(Err(_)) => {
            let line = format!("the packet is longer than {PACKET_BYTES_MAX} bytes");
            text(StatusCode::PAYLOAD_TOO_LARGE, &line)
        }
        Err(_) => {
            let line = format!("the packet took longer than {} seconds", BODY_TIME_MAX.as_secs());
            text(StatusCode::REQUEST_TIMEOUT, &line)
        }
    }
}

fn text(status: StatusCode, line: &str) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(Bytes::from(format!("{line}\n"))));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}
