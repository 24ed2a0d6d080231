//! Starts the services in order and stops them together.
//!
//! [`start`] returns when every wanted service listens: that is what `ready` means. If a service cannot
//! start, the daemon does not start; the error has the service's name and the reason. Half an appliance is
//! worse than none: nodes would hang, while without a server they would boot from their disk.

use crate::appliance::Appliance;
use crate::budget::{Budget, TableCallers};
use crate::followers;
use crate::held_ports::{self, Held, PORT_RETRY_PAUSE, PORTS_TIME_MAX};
use crate::services::{self, CommandPort, Failure, Here, Service, Stop, Task};
use dawn_cluster::Advised;
use dawn_roots::extra_exports::ExtraError;
use dawn_serving::shares::Callers;
use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tokio_util::sync::DropGuard;

/// How long services may take to end their work after a signal.
const STOP_TIME_MAX: Duration = Duration::from_secs(10);

/// A service could not start.
#[derive(Debug, thiserror::Error)]
#[error("{service} cannot start: {reason}")]
pub struct StartError {
    /// Which one.
    pub service: &'static str,
    reason: Failure,
    /// Its ports that other processes have, as far as it is known.
    held: Vec<Held>,
}

impl StartError {
    fn new(service: &'static str, reason: Failure) -> Self {
        Self { service, reason, held: Vec::new() }
    }

    fn is_in_use(&self) -> bool {
        is_in_use(&*self.reason)
    }
}

impl Advised for StartError {
    fn hint(&self) -> Option<String> {
        if !self.is_in_use() {
            return self.reason.downcast_ref::<ExtraError>().and_then(Advised::hint);
        }
        let holders = match self.held.as_slice() {
            [] => "another program has the port (`ss -lntup` shows which)".to_owned(),
            held => held.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        };
        Some(format!("{holders}; stop it, choose another port, or leave the service out with --services"))
    }
}

/// Whether the error, or one of its causes, is a port that another socket has.
fn is_in_use(error: &(dyn Error + 'static)) -> bool {
    let is_it = |error: &io::Error| error.kind() == io::ErrorKind::AddrInUse;
    error.downcast_ref().is_some_and(is_it) || error.source().is_some_and(is_in_use)
}

/// Running services. Dropping it stops them, without waiting for their end.
pub struct Running {
    stop: DropGuard,
    tasks: JoinSet<&'static str>,
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Running({} tasks)", self.tasks.len())
    }
}

impl Running {
    /// Returns the name of the first part that ends by itself, which none should.
    pub async fn first_end(&mut self) -> Option<&'static str> {
        self.tasks.join_next().await.map(|ended| ended.unwrap_or("a service"))
    }

    /// Stops all services; those that take longer than 10 s are cut off.
    pub async fn stop(self) {
        let Self { stop, mut tasks } = self;
        drop(stop);
        let all = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_TIME_MAX, all).await.is_err() {
            tracing::warn!("services did not stop within {} s and were aborted", STOP_TIME_MAX.as_secs());
        }
    }

    fn add(&mut self, tasks: Vec<Task>) {
        for task in tasks {
            self.tasks.spawn(async move {
                task.run.await;
                task.name
            });
        }
    }
}

/// Starts what the settings ask for. When it returns, every service listens.
///
/// # Errors
/// [`StartError`] of the first service that cannot start; the others are stopped again. Ports that are in use
/// are waited for, 5 s for all services together.
pub async fn start(appliance: &Arc<Appliance>, commands: CommandPort) -> Result<Running, StartError> {
    let budget = Budget::of_this_process(appliance.settings.memory_max);
    let (model, addresses) = (Arc::clone(&appliance.model), Arc::clone(&appliance.addresses));
    let callers: Arc<dyn Callers> = Arc::new(TableCallers::new(model, addresses));
    let patience_ends = Instant::now() + PORTS_TIME_MAX;
    let (images, snapshot) = (appliance.images.clone(), appliance.model.snapshot());
    let _ = tokio::task::spawn_blocking(move || images.first_round(&snapshot)).await;
    let here = Here { appliance: Arc::clone(appliance), commands, budget, callers };
    let stop = Stop::new();
    let mut running = Running { stop: stop.clone().drop_guard(), tasks: JoinSet::new() };
    let wanted = |service: &&dyn Service| here.settings().services.contains(service.name());
    for service in services::ALL.into_iter().filter(wanted) {
        running.add(listening(service, &here, &stop, patience_ends).await?);
        tracing::info!(service = service.name(), "listening");
    }
    running.add(followers::tasks(&here, &stop));
    Ok(running)
}

/// Starts a service, again and again while one of its ports is in use and patience lasts.
async fn listening(
    service: &dyn Service,
    here: &Here,
    stop: &Stop,
    patience_ends: Instant,
) -> Result<Vec<Task>, StartError> {
    let mut waiting = false;
    loop {
        let attempt = stop.child_token();
        let error = match service.start(here, attempt.clone()).await {
            Ok(tasks) => return Ok(tasks),
            Err(error) => StartError::new(service.name(), error),
        };
        // Parts that the attempt has already started are stopped with it.
        attempt.cancel();
        if !error.is_in_use() {
            return Err(error);
        }
        if Instant::now() >= patience_ends {
            let held = held_ports::held_by_others(&service.ports(here.settings()));
            return Err(StartError { held, ..error });
        }
        if !std::mem::replace(&mut waiting, true) {
            tracing::info!(service = service.name(), "waiting for a port that is in use");
        }
        tokio::time::sleep(PORT_RETRY_PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_known_by_its_kind() {
        let cause = || io::Error::from(io::ErrorKind::AddrInUse);
        let inside = io::Error::new(cause().kind(), format!("cannot listen on port 3001: {}", cause()));
        let http = dawn_http::HttpError::Bind {
            address: ([0, 0, 0, 0], 80).into(),
            interface: None,
            error: cause(),
        };
        for error in [Failure::from(cause()), inside.into(), http.into()] {
            let hint = StartError::new("x", error).hint();
            assert!(hint.as_ref().is_some_and(|hint| hint.starts_with("another program")), "{hint:?}");
        }
        let other = StartError::new("x", io::Error::other("os error 98").into());
        assert_eq!((other.to_string().as_str(), other.hint()), ("x cannot start: os error 98", None));
    }
}
