//! The services of the appliance, and what a service is.
//!
//! A new one is a file here and its line in [`ALL`]: name, ports, and how it starts. [`crate::supervisor`]
//! starts those that are wanted, waits for ports that are in use, and stops all of them by one [`Stop`].

mod console;
mod dhcp;
mod dns;
mod http;
mod metrics;
mod nfs;
mod tftp;
mod xcatd;

pub use dhcp::warn_of_addresses;

use crate::appliance::{Appliance, Settings};
use crate::budget::Budget;
use crate::held_ports::Wanted;
use dawn_serving::shares::Callers;
use dawn_xcatd::Dispatcher;
use dawn_xcatd::node_status::NodeReports;
use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Says to every long-running part that it is to end.
pub type Stop = CancellationToken;

/// All services, in the order of their start: those that answer a node last come first, so that no node is
/// led to something that is not there yet.
pub const ALL: [&dyn Service; 8] = [
    &xcatd::Xcatd,
    &metrics::Metrics,
    &console::Consoles,
    &nfs::Nfs,
    &http::Http,
    &tftp::Tftp,
    &dns::Dns,
    &dhcp::Dhcp,
];

/// The name server: the one service that may be left to another program.
pub const DNS: &str = "dns";
/// Numbers for monitoring systems: runs where an address is given for it.
pub const METRICS: &str = "metrics";

/// A service that can be started on its own.
pub trait Service: Sync {
    /// Name on the command line and in the log.
    fn name(&self) -> &'static str;

    /// Ports that it wants.
    fn ports(&self, settings: &Settings) -> Vec<Wanted>;

    /// Starts it. When this returns, it listens, and its tasks end after `stop`. It may be called again after
    /// a failure, with another `stop`.
    fn start<'a>(&'a self, here: &'a Here, stop: Stop) -> Starting<'a>;
}

/// The start of a service.
pub type Starting<'a> = Pin<Box<dyn Future<Output = Result<Vec<Task>, Failure>> + Send + 'a>>;
/// Why a service does not start. Its text names the causes, which are its sources too.
pub type Failure = Box<dyn Error + Send + Sync>;

/// What a service has to start with.
pub struct Here {
    /// What the services share.
    pub appliance: Arc<Appliance>,
    /// Commands and node reports.
    pub commands: CommandPort,
    /// How much each service may use.
    pub budget: Budget,
    /// Who has an address.
    pub callers: Arc<dyn Callers>,
}

impl Here {
    /// The options of `dawn serve`.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.appliance.settings
    }
}

/// Who carries out commands and node reports, and how the command port is secured.
pub struct CommandPort {
    /// Commands.
    pub dispatcher: Arc<dyn Dispatcher>,
    /// Reports of nodes.
    pub reports: Arc<dyn NodeReports>,
    /// Certificates.
    pub tls: Arc<rustls::ServerConfig>,
}

/// A part of a service that runs until it is stopped.
pub struct Task {
    /// Its name, for the log.
    pub name: &'static str,
    /// Ends when the part has ended.
    pub run: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Task {
    /// A part that ends by itself after a stop, once its work is done.
    pub fn new(name: &'static str, run: impl Future<Output = ()> + Send + 'static) -> Self {
        Self { name, run: Box::pin(run) }
    }

    /// A part that is dropped by a stop.
    pub fn until(stop: Stop, name: &'static str, run: impl Future<Output = ()> + Send + 'static) -> Self {
        Self::new(name, async move {
            tokio::select! { () = run => {}, () = stop.cancelled() => {} }
        })
    }
}

/// A name that is not one of a service.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no service '{0}'; services are {all}", all = list())]
pub struct NoSuchService(String);

/// The name of a service as the command line has it.
///
/// # Errors
/// There is no service of that name.
pub fn name(text: &str) -> Result<&'static str, NoSuchService> {
    names().find(|name| *name == text).ok_or_else(|| NoSuchService(text.to_owned()))
}

/// The names of all services, in the order in which a node meets them.
pub fn names() -> impl Iterator<Item = &'static str> {
    ALL.into_iter().rev().map(|service| service.name())
}

/// The same as text.
#[must_use]
pub fn list() -> String {
    names().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    #[test]
    fn services_are_told_by_name() {
        assert_eq!(super::name("nfs"), Ok("nfs"));
        let error = super::name("smb").unwrap_err().to_string();
        assert!(error.contains("smb") && error.contains("dhcp"), "{error}");
    }
}
