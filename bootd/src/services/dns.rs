//! Names of the cluster. If `dns` was not named in `--services`, another name server on its port is left
//! alone and ours does not run.

use super::{Here, Service, Starting, Stop, Task};
use crate::appliance::Settings;
use crate::budget;
use crate::held_ports::{self, PORT_RETRY_PAUSE, PORTS_TIME_MAX, Transport, Wanted};
use crate::names::service::{ListenError, NameService};
use dawn_serving::shares::Limit;
use std::sync::Arc;
use std::time::Instant;
use tokio::time::sleep;

/// Connections of one address to the name server.
const CONNECTIONS_OF_ADDRESS: usize = 64;

/// The service.
pub(super) struct Dns;

impl Service for Dns {
    fn name(&self) -> &'static str {
        super::DNS
    }

    fn ports(&self, settings: &Settings) -> Vec<Wanted> {
        [Transport::Udp, Transport::Tcp].map(|transport| Wanted(transport, settings.ports.dns)).into()
    }

    fn start<'a>(&'a self, here: &'a Here, stop: Stop) -> Starting<'a> {
        Box::pin(async move {
            let names = Arc::new(name_service(here)?);
            let made = Arc::clone(&names);
            let _ = tokio::task::spawn_blocking(move || made.refresh()).await;
            if here.settings().dns_required
                && let Err(error) = names.listen()
            {
                names.stop();
                return Err(error.into());
            }
            let wanted = self.ports(here.settings());
            Ok(vec![Task::new(self.name(), async move {
                tokio::select! { () = serve(&names, &wanted) => {}, () = stop.cancelled() => {} }
                names.stop();
            })])
        })
    }
}

fn name_service(here: &Here) -> Result<NameService, super::Failure> {
    let total = here.budget.dns;
    let own = budget::of_one_address(CONNECTIONS_OF_ADDRESS, total);
    let config = dawn_dns::shell::Config {
        workers: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        connections: Limit { total, per_stranger: own / 2 + 1, per_source: own, local: total / 2 + 1 },
        waiting: here.budget.dns_waiting,
        callers: Arc::clone(&here.callers),
    };
    let appliance = &here.appliance;
    let (model, addresses) = (Arc::clone(&appliance.model), Arc::clone(&appliance.addresses));
    let servers = Arc::clone(&appliance.name_servers);
    Ok(NameService::new(model, addresses, servers, &config, here.settings().ports.dns)?)
}

/// Serves for ever, or says which other server has the port.
async fn serve(names: &Arc<NameService>, wanted: &[Wanted]) {
    match listening_soon(names).await {
        Ok(()) => {
            let follow = Arc::clone(names);
            std::thread::spawn(move || follow.follow());
        }
        Err(error) => {
            names.stop();
            warn_of_other_server(&error, wanted);
        }
    }
    std::future::pending::<()>().await;
}

/// Has the name server's addresses bound, again and again while patience lasts.
async fn listening_soon(names: &NameService) -> Result<(), ListenError> {
    let ends = Instant::now() + PORTS_TIME_MAX;
    loop {
        match names.listen() {
            Err(_) if Instant::now() < ends => sleep(PORT_RETRY_PAUSE).await,
            result => return result,
        }
    }
}

fn warn_of_other_server(error: &ListenError, wanted: &[Wanted]) {
    let holders: Vec<String> = held_ports::held_by_others(wanted).iter().map(ToString::to_string).collect();
    let holders = if holders.is_empty() { String::new() } else { format!(" ({})", holders.join(", ")) };
    tracing::warn!(
        hint = "Stop the other server and start Dawn again; or, if the names are to stay there, give them to it with \
                `chtab key=dnshandler site.value=ddns` and `makedns`.",
        "the name server does not run: {error}{holders}"
    );
}
