//! The socket and the clock of one [`Session`].
//!
//! The socket is connected, so the kernel drops what other addresses send, and a closed port is known at
//! once.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Instant;

use tokio::net::UdpSocket;
use tokio::time::timeout_at;

use crate::credentials::Credentials;
use crate::failure::Failure;
use crate::limits::{DATAGRAM_BYTES_MAX, Settings};
use crate::session::{Session, Step, Task};
use crate::value::VarBind;

/// An agent that can be asked.
#[derive(Debug)]
pub struct Agent {
    address: SocketAddr,
    socket: UdpSocket,
    session: Session,
    started: Instant,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The agent's port is closed (ICMP).
    #[error("{0} has no SNMP agent: the port is closed")]
    Closed(SocketAddr),
    /// What the session says.
    #[error("{agent}: {failure}")]
    Failed {
        /// The agent.
        agent: SocketAddr,
        /// Why.
        failure: Failure,
    },
    /// The socket cannot be used.
    #[error("cannot {what} a socket to {agent}")]
    Socket {
        /// The agent.
        agent: SocketAddr,
        /// What was tried.
        what: &'static str,
        /// The reason.
        source: io::Error,
    },
}

impl Agent {
    /// A socket to the agent. Nothing is sent yet.
    ///
    /// # Errors
    /// [`AskError::Socket`].
    pub async fn connect(
        address: SocketAddr,
        credentials: Credentials,
        settings: Settings,
    ) -> Result<Self, AskError> {
        let failed = |what| move |source| AskError::Socket { agent: address, what, source };
        let any = match address.ip() {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let mut seed = [0; 8];
        getrandom::fill(&mut seed).map_err(io::Error::other).map_err(failed("get random numbers for"))?;
        let socket = UdpSocket::bind((any, 0)).await.map_err(failed("open"))?;
        socket.connect(address).await.map_err(failed("connect"))?;
        let session = Session::new(credentials, settings, u64::from_le_bytes(seed));
        Ok(Self { address, socket, session, started: Instant::now() })
    }

    /// Asks and waits for the answer. It ends within the bounds of the settings and of the walk.
    ///
    /// # Errors
    /// [`AskError`].
    pub async fn ask(&mut self, task: Task) -> Result<Vec<VarBind>, AskError> {
        let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
        let mut step = self.session.start(self.started.elapsed(), task);
        loop {
            match step {
                Step::Done(rows) => return Ok(rows),
                Step::Failed(failure) => return Err(AskError::Failed { agent: self.address, failure }),
                Step::Send(bytes) => {
                    self.socket.send(&bytes).await.map_err(|error| self.broken("send through", error))?;
                }
                Step::Wait => {}
            }
            step = self.next(&mut buffer).await?;
        }
    }

    /// What the next datagram or the next deadline brings.
    async fn next(&mut self, buffer: &mut [u8]) -> Result<Step, AskError> {
        let until = self.started + self.session.deadline().unwrap_or_default();
        match timeout_at(until.into(), self.socket.recv(buffer)).await {
            Err(_) => Ok(self.session.on_timer(self.started.elapsed())),
            Ok(Err(error)) => Err(self.broken("receive from", error)),
            Ok(Ok(length)) => {
                let bytes = buffer.get(..length).unwrap_or_default();
                Ok(self.session.on_datagram(self.started.elapsed(), bytes))
            }
        }
    }

    fn broken(&self, what: &'static str, source: io::Error) -> AskError {
        match source.kind() {
            io::ErrorKind::ConnectionRefused => AskError::Closed(self.address),
            _ => AskError::Socket { agent: self.address, what, source },
        }
    }
}
