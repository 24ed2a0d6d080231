//! The thread on which all drivers work, and jobs for many nodes.
//!
//! Commands run on separate threads and wait; what they wait for happens here, on one thread with its own
//! runtime: thousands of BMCs cannot delay the daemon's services, and the services cannot delay them. The
//! thread starts with the first job and ends with its [`Hardware`].
//!
//! Results come through a short queue ([`RESULTS_WAITING_MAX`]): a caller that does not read holds back new
//! jobs. A caller that drops its [`Results`] cancels them.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use dawn_fanout::{CancellationToken, Fanout, Finished, Outcome};
use dawn_ipmi::{Client, Session, SessionOptions};
use tokio::runtime::Handle;
use tokio::sync::{Notify, OnceCell, Semaphore};

use crate::driver::Driver;
use crate::error::Error;
use crate::ipmi;
use crate::kvm;
use crate::limits::{LOOKUP_TIME_MAX, LOOKUPS_MAX, NODE_TIME_MAX, RESULTS_WAITING_MAX, VIRSH_MAX};
use crate::models::Models;
use crate::qemu;
use crate::target::{Bmc, Known, Target, Way};

/// A job waits so long before it offers a result again to a caller that is slow.
const OFFER_PERIOD: Duration = Duration::from_millis(20);

/// Hardware control of a daemon.
pub struct Hardware {
    started: OnceLock<Result<Running, io::Error>>,
    virsh: String,
}

impl Default for Hardware {
    fn default() -> Self {
        Self::with_virsh("virsh")
    }
}

impl std::fmt::Debug for Hardware {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hardware").finish_non_exhaustive()
    }
}

/// The thread.
struct Running {
    runtime: Handle,
    stop: Arc<Notify>,
    links: Arc<Links>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.notify_one();
    }
}

/// What drivers share.
pub struct Links {
    client: OnceCell<Client>,
    lookups: Semaphore,
    virsh: String,
    virsh_calls: Arc<Semaphore>,
    models: Arc<Models>,
}

impl Hardware {
    /// With a program of this name or path for virtual machines of libvirt.
    pub fn with_virsh(program: &str) -> Self {
        Self { started: OnceLock::new(), virsh: program.to_owned() }
    }

    fn running(&self) -> Result<&Running, Error> {
        let started = self.started.get_or_init(|| Running::start(&self.virsh));
        started
            .as_ref()
            .map_err(|error| Error::Machine(format!("hardware control could not be started: {error}")))
    }

    /// Runs a job for each target; results come in order of completion.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn run<T, F>(
        &self,
        fanout: Fanout,
        targets: Vec<Target>,
        job: impl Fn(Arc<Links>, Target) -> F + Send + 'static,
    ) -> Result<Results<T>, Error>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let running = self.running()?;
        let fanout = fanout.timeout(NODE_TIME_MAX).map_err(|error| Error::Machine(error.to_string()))?;
        let fanout = fanout.grace(Duration::ZERO).map_err(|error| Error::Machine(error.to_string()))?;
        let links = Arc::clone(&running.links);
        let cancel = CancellationToken::new();
        let (sender, receiver) = sync_channel(RESULTS_WAITING_MAX);
        let stop = cancel.clone();
        running.runtime.spawn(async move {
            let start = move |target: &Target, _stop| job(Arc::clone(&links), target.clone());
            let mut jobs = fanout.start(targets, stop.clone(), start);
            while let Some(finished) = jobs.next().await {
                if stop.is_cancelled() || !offer(&sender, finished).await {
                    return;
                }
            }
        });
        Ok(Results { receiver, cancel })
    }
}

/// Hands a result over without blocking the thread. Whether the receiver still exists.
async fn offer<T>(sender: &SyncSender<T>, mut value: T) -> bool {
    loop {
        match sender.try_send(value) {
            Ok(()) => return true,
            Err(TrySendError::Disconnected(_)) => return false,
            Err(TrySendError::Full(back)) => value = back,
        }
        tokio::time::sleep(OFFER_PERIOD).await;
    }
}

impl Running {
    fn start(virsh: &str) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(LOOKUPS_MAX)
            .build()?;
        let handle = runtime.handle().clone();
        let stop = Arc::new(Notify::new());
        let stopped = Arc::clone(&stop);
        std::thread::Builder::new().name("hardware".to_owned()).spawn(move || {
            runtime.block_on(stopped.notified());
            runtime.shutdown_background();
        })?;
        Ok(Self { runtime: handle, stop, links: Arc::new(Links::new(virsh)) })
    }
}

impl Links {
    /// Links that are not made yet.
    pub(crate) fn new(virsh: &str) -> Self {
        Self {
            client: OnceCell::new(),
            lookups: Semaphore::new(LOOKUPS_MAX),
            virsh: virsh.to_owned(),
            virsh_calls: Arc::new(Semaphore::new(VIRSH_MAX)),
            models: Arc::default(),
        }
    }

    /// The program for virtual machines of libvirt.
    pub(crate) fn virsh(&self) -> &str {
        &self.virsh
    }

    /// The driver of a target; for a machine of several service processors, that of the first.
    ///
    /// # Errors
    /// The target's, and those of the driver.
    pub async fn driver(self: &Arc<Self>, target: &Target) -> Result<Box<dyn Driver>, Error> {
        match target.way.clone()? {
            Way::Ipmi(bmcs) => match bmcs.first() {
                Some(bmc) => Ok(Box::new(self.bmc(bmc).await?)),
                None => Err(Error::Unresolved(target.node.clone())),
            },
            Way::Qemu(socket) => Ok(Box::new(qemu::Machine::new(socket))),
            Way::Kvm { host, domain } => {
                let calls = Arc::clone(&self.virsh_calls);
                Ok(Box::new(kvm::Machine::new(self.virsh.clone(), host, domain, calls)))
            }
        }
    }

    /// The driver of one service processor, with a session.
    ///
    /// # Errors
    /// Of the name, the credentials and the session.
    pub async fn bmc(self: &Arc<Self>, bmc: &Bmc) -> Result<ipmi::Machine, Error> {
        let session = self.session(bmc, SessionOptions::default()).await?;
        let models = if bmc.shares_records { Arc::clone(&self.models) } else { Arc::default() };
        Ok(ipmi::Machine::new(session, models))
    }

    /// A session with a service processor; its waits and versions are the tables' business.
    ///
    /// # Errors
    /// Of the name, the credentials and the session.
    pub(crate) async fn session(&self, bmc: &Bmc, options: SessionOptions) -> Result<Session, Error> {
        let credentials = bmc.credentials.clone()?;
        let address = self.resolve(&bmc.host, bmc.port, &bmc.known_address).await?;
        let client = self
            .client
            .get_or_try_init(|| async { Client::start() })
            .await
            .map_err(|error| Error::Machine(format!("no socket for IPMI: {error}")))?;
        let options =
            SessionOptions { setup: bmc.budget, command: bmc.budget, fallback: bmc.fallback, ..options };
        let session = client.connect(address, &credentials, &options).await;
        session.map_err(|error| ipmi::of_connect(address, &bmc.source, error))
    }

    /// The address of a service processor or a terminal server.
    pub(crate) async fn resolve(&self, host: &str, port: u16, known: &Known) -> Result<SocketAddr, Error> {
        match known {
            Known::At(ip) => return Ok(SocketAddr::new(*ip, port)),
            Known::OtherNode(other) => {
                return Err(Error::OtherNode { host: host.to_owned(), other: other.clone() });
            }
            Known::Nothing => {}
        }
        // A template may have made it; a resolver would read an octal number, and reach another machine.
        if dawn_cluster::looks_like_address(host) && host.parse::<IpAddr>().is_err() {
            return Err(Error::NoAddress(host.to_owned()));
        }
        let unresolved = || Error::Unresolved(host.to_owned());
        let _turn = self.lookups.acquire().await.map_err(|_| unresolved())?;
        let lookup = tokio::net::lookup_host((host, port));
        let found = tokio::time::timeout(LOOKUP_TIME_MAX, lookup).await.map_err(|_| unresolved())?;
        found.map_err(|_| unresolved())?.next().ok_or_else(unresolved)
    }
}

/// The results of the jobs. Dropping it cancels them.
pub struct Results<T> {
    receiver: Receiver<Finished<Target, T, Error>>,
    cancel: CancellationToken,
}

/// The next thing to be known about jobs.
#[derive(Debug)]
pub enum Next<T> {
    /// A node's result.
    Result(String, Result<T, Error>),
    /// Nothing in this time.
    Nothing,
    /// All nodes have had their result.
    End,
}

impl<T> Results<T> {
    /// Waits for the next result, for this time at most. Not to be called on an async worker.
    pub fn next(&self, wait: Duration) -> Next<T> {
        match self.receiver.recv_timeout(wait) {
            Ok(finished) => Next::Result(finished.target.node, of_outcome(finished.outcome)),
            Err(RecvTimeoutError::Timeout) => Next::Nothing,
            Err(RecvTimeoutError::Disconnected) => Next::End,
        }
    }
}

impl<T> Drop for Results<T> {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

fn of_outcome<T>(outcome: Outcome<T, Error>) -> Result<T, Error> {
    match outcome {
        Outcome::Done(value) => Ok(value),
        Outcome::Failed(error) => Err(error),
        Outcome::TimedOut => Err(Error::Ended("timeout")),
        Outcome::Cancelled | Outcome::NotStarted => Err(Error::Ended("cancelled")),
        Outcome::Panicked(message) => {
            tracing::error!(message, "a driver has a defect");
            Err(Error::Ended("internal error: a driver has a defect, see the daemon's log"))
        }
    }
}
