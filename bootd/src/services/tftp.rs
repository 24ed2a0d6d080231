//! Loaders, kernels and boot configurations by TFTP.

use super::{Here, Service, Starting, Stop, Task};
use crate::appliance::Settings;
use crate::budget;
use crate::held_ports::{Transport, Wanted};
use dawn_tftp::{Config, Limits};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

/// The service.
pub(super) struct Tftp;

impl Service for Tftp {
    fn name(&self) -> &'static str {
        "tftp"
    }

    fn ports(&self, settings: &Settings) -> Vec<Wanted> {
        vec![Wanted(Transport::Udp, settings.ports.tftp)]
    }

    fn start<'a>(&'a self, here: &'a Here, stop: Stop) -> Starting<'a> {
        Box::pin(async move {
            let settings = here.settings();
            let transfers_max = here.budget.tftp;
            let usual = Limits::default();
            let one = budget::of_one_address(usual.transfers_per_address_max, transfers_max);
            let config = Config {
                listen: SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, settings.ports.tftp),
                interfaces: settings.interfaces.clone(),
                transfer_ports: settings.tftp_transfers,
                limits: Limits { transfers_max, transfers_per_address_max: one, ..usual },
                callers: Arc::clone(&here.callers),
                ..Config::default()
            };
            let files = Arc::new(here.appliance.files()?);
            let observer = Arc::clone(&here.appliance.watcher);
            let running = dawn_tftp::serve(config, files, observer, stop).await?;
            Ok(vec![Task::new(self.name(), running.finished())])
        })
    }
}
