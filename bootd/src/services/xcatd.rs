//! Commands (3001), node status (3002) and flow control (3001, UDP).

use super::{Here, Service, Starting, Stop, Task};
use crate::appliance::Settings;
use crate::discovery::Discovery;
use crate::held_ports::{Transport, Wanted};
use dawn_xcatd::dispatch::Dispatcher;
use dawn_xcatd::limits::{COMMANDS_DEFAULT, FLOW_GRANTS_DEFAULT};
use dawn_xcatd::{flow, node_status, server};
use std::io;
use std::sync::Arc;

/// The service.
pub(super) struct Xcatd;

impl Service for Xcatd {
    fn name(&self) -> &'static str {
        "xcatd"
    }

    fn ports(&self, settings: &Settings) -> Vec<Wanted> {
        let ports = settings.ports;
        vec![
            Wanted(Transport::Tcp, ports.xcatd),
            Wanted(Transport::Tcp, ports.status),
            Wanted(Transport::Udp, ports.xcatd),
        ]
    }

    fn start<'a>(&'a self, here: &'a Here, stop: Stop) -> Starting<'a> {
        Box::pin(async move {
            let ports = here.settings().ports;
            let command_port = server::bind(ports.xcatd).map_err(|error| port_error(ports.xcatd, error))?;
            let status_port = server::bind(ports.status).map_err(|error| port_error(ports.status, error))?;
            let flow_port = flow::bind(ports.xcatd).await.map_err(|error| port_error(ports.xcatd, error))?;
            let snapshot = here.appliance.model.snapshot();
            let number = |key: &str| snapshot.site(key).and_then(|text| text.trim().parse().ok());
            let settings = server::Settings {
                commands: number("xcatmaxconnections").unwrap_or(COMMANDS_DEFAULT),
                connections: here.budget.commands,
                request_bytes: here.budget.request_bytes,
                callers: Arc::clone(&here.callers),
            };
            let grants = number("xcatmaxbatchconnections").unwrap_or(FLOW_GRANTS_DEFAULT);
            let commands = &here.commands;
            let (tls, dispatcher) = (Arc::clone(&commands.tls), Arc::clone(&commands.dispatcher));
            let reports = || Arc::clone(&commands.reports);
            let discovery = Arc::clone(&here.appliance.discovery);
            let (sessions, callers) = (here.budget.sessions, Arc::clone(&here.callers));
            Ok(vec![
                Task::new("discovery", discover(Arc::clone(&discovery), stop.clone())),
                Task::new("wake", wake(Arc::clone(&discovery), stop.clone())),
                Task::new("ondiscover", follow_up(discovery, Arc::clone(&dispatcher), stop.clone())),
                Task::until(stop.clone(), "xcatd", server::serve(command_port, tls, dispatcher, settings)),
                Task::until(stop.clone(), "flow control", flow::serve(flow_port, reports(), grants)),
                Task::until(
                    stop,
                    "node status",
                    node_status::serve(status_port, reports(), sessions, callers),
                ),
            ])
        })
    }
}

/// A separate thread looks at unknown machines; it ends within a second after a stop.
async fn discover(discovery: Arc<Discovery>, stop: Stop) {
    let worked = tokio::task::spawn_blocking(move || discovery.work(&stop)).await;
    if let Ok(Err(error)) = worked {
        tracing::error!(%error, "unknown machines are not discovered");
    }
}

/// A separate thread notifies machines that wait; it ends within a second after a stop.
async fn wake(discovery: Arc<Discovery>, stop: Stop) {
    if tokio::task::spawn_blocking(move || discovery.wake(&stop)).await.is_err() {
        tracing::error!("machines that wait are not notified any more");
    }
}

/// Commands that the tables name for nodes; the thread ends when the running command sees the stop.
async fn follow_up(discovery: Arc<Discovery>, dispatcher: Arc<dyn Dispatcher>, stop: Stop) {
    if tokio::task::spawn_blocking(move || discovery.follow_up(&*dispatcher, &stop)).await.is_err() {
        tracing::error!("commands of chain.ondiscover are not run any more");
    }
}

fn port_error(port: u16, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot listen on port {port}: {error}"))
}
