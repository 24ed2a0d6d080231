//! Loaders, kernels, boot configurations and root images by HTTP: the same tree in the clear and, with the
//! certificate of the command port, inside TLS.

use super::{Here, Service, Starting, Stop, Task};
use crate::appliance::Settings;
use crate::budget;
use crate::discovery::ByPost;
use crate::held_ports::{Transport, Wanted};
use dawn_http::{Config, Limits};
use dawn_serving::Source;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// The service.
pub(super) struct Http;

impl Service for Http {
    fn name(&self) -> &'static str {
        "http"
    }

    fn ports(&self, settings: &Settings) -> Vec<Wanted> {
        let ports = [settings.ports.http, settings.ports.https].into_iter();
        ports.filter(|port| *port != 0).map(|port| Wanted(Transport::Tcp, port)).collect()
    }

    fn start<'a>(&'a self, here: &'a Here, stop: Stop) -> Starting<'a> {
        Box::pin(async move {
            let (ports, commands) = (here.settings().ports, &here.commands);
            let files = here.appliance.files()?.with_post_scripts(Arc::clone(&commands.reports));
            let files: Arc<dyn Source> = Arc::new(files);
            let tls = (ports.https != 0).then(|| (ports.https, Some(Arc::clone(&commands.tls).into())));
            let mut tasks = Vec::new();
            for (port, tls) in [(ports.http, None)].into_iter().chain(tls) {
                let connections_max = if tls.is_some() { here.budget.https } else { here.budget.http };
                let config = Config {
                    listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)),
                    tls,
                    limits: limits(connections_max),
                    callers: Arc::clone(&here.callers),
                    application: Some(Arc::new(ByPost(Arc::clone(&here.appliance.discovery)))),
                    ..Config::default()
                };
                let observer = Arc::clone(&here.appliance.watcher);
                let running = dawn_http::serve(config, Arc::clone(&files), observer, stop.clone()).await?;
                tasks.push(Task::new(self.name(), running.finished()));
            }
            Ok(tasks)
        })
    }
}

fn limits(connections_max: usize) -> Limits {
    let usual = Limits::default();
    let one = budget::of_one_address(usual.connections_per_address_max, connections_max);
    Limits { connections_max, connections_per_address_max: one, ..usual }
}
