//! The shell around the engine: a task an interface, which opens its sockets again when they fail.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::unix::AsyncFd;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::engine::{Action, Engine};
use crate::link::{Link, MESSAGE_BYTES_MAX, multicast_mac};
use crate::wire::{self, ALL_NODES, ALL_ROUTERS};

/// Pause before an interface is tried again.
const REOPEN_PAUSE: Duration = Duration::from_secs(10);
/// Messages read before timers get their turn.
const MESSAGES_PER_TURN_MAX: usize = 256;
/// Interfaces served; more are left out with a warning.
const INTERFACES_MAX: usize = 256;

/// Settings of the service.
#[derive(Clone)]
pub struct Config {
    /// Names of the interfaces.
    pub interfaces: Vec<String>,
    /// Whether machines boot from this interface now; asked before every answer. On other interfaces we send
    /// nothing.
    pub serves: Arc<dyn Fn(&str) -> bool + Send + Sync>,
}

/// Serves until `stop`. What fails is a warning, never an end:
/// machines boot without it, only later.
pub async fn serve(config: Config, stop: CancellationToken) {
    if config.interfaces.len() > INTERFACES_MAX {
        tracing::warn!(INTERFACES_MAX, "router solicitations are answered on the first interfaces only");
    }
    let mut tasks = JoinSet::new();
    for name in config.interfaces.iter().take(INTERFACES_MAX) {
        let (name, serves) = (name.clone(), Arc::clone(&config.serves));
        tasks.spawn(async move { keep_serving(&name, &*serves).await });
    }
    stop.cancelled().await;
    tasks.shutdown().await;
}

async fn keep_serving(name: &str, serves: &(dyn Fn(&str) -> bool + Send + Sync)) {
    let mut told = false;
    loop {
        let registered = Link::open(name).and_then(|link| {
            // SAFETY: a link keeps the descriptor that it names open, and never changes it, as long as it
            // lives.
            unsafe { AsyncFd::register(link) }.map_err(io::Error::from)
        });
        let error = match registered {
            Ok(link) => {
                told = false;
                serve_link(name, &link, serves).await
            }
            Err(error) => error,
        };
        if !told {
            tracing::warn!(
                interface = name,
                %error,
                "IPv6 router solicitations are not answered: loaders wait for a router some seconds"
            );
        }
        told = true;
        tokio::time::sleep(REOPEN_PAUSE).await;
    }
}

/// Serves a link until it fails.
async fn serve_link(
    name: &str,
    link: &AsyncFd<Link>,
    serves: &(dyn Fn(&str) -> bool + Send + Sync),
) -> io::Error {
    let start = Instant::now();
    let mut engine = Engine::new(Duration::ZERO);
    let mut buffer = [0; MESSAGE_BYTES_MAX];
    let mut had_router = false;
    loop {
        let wait = engine.deadline().map(|at| at.saturating_sub(start.elapsed()));
        tokio::select! {
            ready = link.readable() => match ready {
                Ok(mut ready) => {
                    if let Err(error) = read_all(link.get_ref(), &mut engine, start, &mut buffer) {
                        if error.kind() != io::ErrorKind::WouldBlock {
                            return error;
                        }
                        ready.clear_ready();
                    }
                }
                Err(error) => return error,
            },
            () = tokio::time::sleep(wait.unwrap_or(Duration::MAX)), if wait.is_some() => {}
        }
        let now = start.elapsed();
        for action in engine.tick(now) {
            if serves(name)
                && let Err(error) = send(link.get_ref(), action)
            {
                return error;
            }
        }
        if engine.has_router(now) != had_router {
            had_router = !had_router;
            tracing::info!(interface = name, router = had_router, "IPv6 router on the link");
        }
    }
}

/// Reads until nothing is left, which is the error `WouldBlock`, or others must have their turn.
fn read_all(
    link: &Link,
    engine: &mut Engine,
    start: Instant,
    buffer: &mut [u8; MESSAGE_BYTES_MAX],
) -> io::Result<()> {
    for _ in 0..MESSAGES_PER_TURN_MAX {
        let got = link.receive(buffer)?;
        let bytes = buffer.get(..got.length).unwrap_or_default();
        if got.from != link.address {
            engine.handle(start.elapsed(), got.from, got.hop_limit, bytes);
        }
    }
    Ok(())
}

fn send(link: &Link, action: Action) -> io::Result<()> {
    match action {
        Action::Solicit => link.send(multicast_mac(ALL_ROUTERS), &wire::solicitation(link.mac, link.address)),
        Action::Answer { mac, address } => link.send(mac, &wire::no_router(link.mac, link.address, address)),
        Action::AnswerAll => {
            link.send(multicast_mac(ALL_NODES), &wire::no_router(link.mac, link.address, ALL_NODES))
        }
    }
}
