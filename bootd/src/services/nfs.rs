//! Root file systems: NFS with MOUNT and the port mapper, and what looks after the trees it shows.

use super::{Here, Service, Starting, Stop, Task};
use crate::appliance::{Appliance, Settings};
use crate::held_ports::{Transport, Wanted};
use dawn_events::now_ms;
use dawn_nfs::ServerConfig;
use dawn_roots::exports::TableExports;
use dawn_roots::extra_exports::WithExtras;
use dawn_roots::generations::ROUND_SECONDS;
use dawn_roots::live::SWEEP_PERIOD;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// The service.
pub(super) struct Nfs;

impl Service for Nfs {
    fn name(&self) -> &'static str {
        "nfs"
    }

    fn ports(&self, settings: &Settings) -> Vec<Wanted> {
        let both = |port| [Wanted(Transport::Tcp, port), Wanted(Transport::Udp, port)];
        let ports = [settings.ports.nfs, settings.ports.portmap].into_iter();
        ports.filter(|port| *port != 0).flat_map(both).collect()
    }

    fn start<'a>(&'a self, here: &'a Here, stop: Stop) -> Starting<'a> {
        Box::pin(async move {
            let (appliance, settings) = (&here.appliance, here.settings());
            let config = ServerConfig {
                nfs_port: settings.ports.nfs,
                portmap_port: (settings.ports.portmap != 0).then_some(settings.ports.portmap),
                connections_max: here.budget.nfs,
                open_objects_max: here.budget.nfs_objects,
                waiting_bytes_max: here.budget.nfs_waiting_bytes,
                ..ServerConfig::new(&settings.data)
            };
            let (model, live) = (Arc::clone(&appliance.model), Arc::clone(&appliance.live));
            let exports = TableExports::new(model, Arc::clone(&appliance.generations), live);
            let exports = Arc::new(WithExtras::open(exports, &settings.data)?);
            let observer = Arc::clone(&appliance.watcher);
            let server = dawn_nfs::serve(config, exports, observer, stop.clone()).await?;
            // The server stops by itself; the task keeps it alive so long.
            let until = stop.clone();
            let keep = async move {
                until.cancelled().await;
                drop(server);
            };
            Ok(vec![
                Task::new(self.name(), keep),
                Task::until(stop.clone(), "image generations", tidy_generations(Arc::clone(appliance))),
                Task::new("live roots", sweep_live_roots(Arc::clone(appliance), stop)),
            ])
        })
    }
}

/// Every few minutes: which trees are in use, and which may go. Removing a tree takes its time, elsewhere.
async fn tidy_generations(appliance: Arc<Appliance>) {
    loop {
        sleep(Duration::from_secs(ROUND_SECONDS)).await;
        let snapshot = appliance.model.snapshot();
        let images = snapshot.osimage_names().filter_map(|name| snapshot.osimage(name));
        let dirs: Vec<PathBuf> =
            images.filter_map(|image| Some(image.rootimgdir(&snapshot)?.into())).collect();
        let generations = Arc::clone(&appliance.generations);
        let tidy = tokio::task::spawn_blocking(move || generations.tidy(dirs, now_ms() / 1000));
        for path in tidy.await.unwrap_or_default() {
            tracing::info!(path = %path.display(), "removed a tree that no node uses any more");
        }
    }
}

/// Files may be on slow disks, so a separate thread looks at them.
async fn sweep_live_roots(appliance: Arc<Appliance>, stop: Stop) {
    while timeout(SWEEP_PERIOD, stop.cancelled()).await.is_err() {
        let roots = Arc::clone(&appliance.live);
        if let Err(error) = tokio::task::spawn_blocking(move || roots.sweep()).await {
            tracing::error!(%error, "defect while looking after live roots");
        }
    }
}
