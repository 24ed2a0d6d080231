//! Addresses and boot files by DHCP, and the answer to loaders that look for an IPv6 router: there is none.

use super::{Here, Service, Starting, Stop, Task};
use crate::appliance::{Appliance, Settings};
use crate::dhcp::TableDirectory;
use crate::held_ports::{Transport, Wanted};
use dawn_dhcp::directory::{Directory, Mode};
use dawn_dhcp::engine::PORT_PXE;
use dawn_dhcp::shell::{self, Config};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The service.
pub(super) struct Dhcp;

impl Service for Dhcp {
    fn name(&self) -> &'static str {
        "dhcp"
    }

    fn ports(&self, settings: &Settings) -> Vec<Wanted> {
        [settings.ports.dhcp, PORT_PXE].map(|port| Wanted(Transport::Udp, port)).into()
    }

    fn start<'a>(&'a self, here: &'a Here, stop: Stop) -> Starting<'a> {
        Box::pin(async move {
            let (appliance, settings) = (&here.appliance, here.settings());
            let config = Config {
                interfaces: settings.interfaces.clone(),
                settings: dawn_dhcp::engine::Settings {
                    server_port: settings.ports.dhcp,
                    http_port: settings.ports.http,
                    ..Default::default()
                },
                journal: Some(settings.data.join("leases.journal")),
                ..Default::default()
            };
            let directory = Arc::new(TableDirectory::new(
                Arc::clone(&appliance.model),
                Arc::clone(&appliance.addresses),
                Arc::clone(&appliance.name_servers),
            ));
            let (answers, observer) = (Arc::clone(&directory), Arc::clone(&appliance.watcher));
            let server = shell::serve(config, answers, observer, stop.clone()).await?;
            warn_of_addresses(appliance);
            appliance.leases.show(server.clone());
            let mut tasks = vec![Task::new(self.name(), async move { server.stopped().await })];
            if settings.router_answers {
                let config = router_answers(appliance, directory);
                tasks.push(Task::new("router answers", dawn_ndp::serve(config, stop)));
            }
            Ok(tasks)
        })
    }
}

/// What tables and command line ask of DHCP and this machine cannot do, in the log.
pub fn warn_of_addresses(here: &Appliance) {
    let now = here.addresses.now();
    let bare = crate::dhcp::without_address(&here.settings.interfaces, &now);
    for problem in crate::dhcp::problems(&here.model.snapshot(), &now).into_iter().chain(bare) {
        tracing::warn!("dhcp: {problem}");
    }
}

/// On links where DHCP is served.
fn router_answers(here: &Appliance, directory: Arc<TableDirectory>) -> dawn_ndp::Config {
    let addresses = Arc::clone(&here.addresses);
    let mut interfaces = here.settings.interfaces.clone();
    if interfaces.is_empty() {
        let now = addresses.now();
        let own = now.iter().filter(|local| !local.address.is_loopback());
        let names: BTreeSet<String> = own.map(|local| local.interface.clone()).collect();
        interfaces.extend(names);
    }
    let serves = move |name: &str| {
        let networks = directory.networks();
        let now = addresses.now();
        let mut own = now.iter().filter(|local| local.interface == name);
        own.any(|local| networks.iter().any(|net| net.mode != Mode::Off && net.contains(local.address)))
    };
    dawn_ndp::Config { interfaces, serves: Arc::new(serves) }
}
