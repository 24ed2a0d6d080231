//! Tasks that run alongside the services: they look at the addresses of this machine, the images on disk, the
//! memory in use, reports of nodes that wait for the database and tables that have changed since they were
//! stored.

use crate::address;
use crate::appliance::Appliance;
use crate::budget::watch_memory;
use crate::image_index;
use crate::services::{Here, Stop, Task, warn_of_addresses};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

/// How often reports that wait are tried again.
const REPORTS_PERIOD: Duration = Duration::from_secs(1);

/// How often tables that have changed are looked for, to be stored.
const TABLES_PERIOD: Duration = Duration::from_secs(1);

/// All of them.
pub(crate) fn tasks(here: &Here, stop: &Stop) -> Vec<Task> {
    let appliance = || Arc::clone(&here.appliance);
    vec![
        Task::until(stop.clone(), "addresses", follow_addresses(appliance())),
        Task::until(stop.clone(), "images", follow_images(appliance())),
        Task::until(stop.clone(), "reports of nodes", write_reports(appliance())),
        Task::until(stop.clone(), "stored tables", store_tables(appliance())),
        Task::until(stop.clone(), "memory", watch_memory(here.budget.memory)),
    ]
}

/// Looks for new and removed addresses, and reports what the tables demand of the others.
async fn follow_addresses(appliance: Arc<Appliance>) {
    loop {
        sleep(address::REFRESH_PERIOD).await;
        let addresses = Arc::clone(&appliance.addresses);
        if spawn_blocking(move || address::refresh(&addresses)).await.unwrap_or(false) {
            let addresses = &appliance.addresses;
            let own: Vec<String> = addresses.now().iter().map(|local| local.address.to_string()).collect();
            tracing::info!("the addresses of this machine are now {}", own.join(", "));
            if appliance.leases.are_given() {
                warn_of_addresses(&appliance);
            }
        }
    }
}

/// Looks for packed roots that have come or gone.
async fn follow_images(appliance: Arc<Appliance>) {
    loop {
        sleep(image_index::PERIOD).await;
        appliance.images.begin_round(&appliance.model.snapshot());
    }
}

/// Writes what nodes have reported while the database was away.
async fn write_reports(appliance: Arc<Appliance>) {
    loop {
        sleep(REPORTS_PERIOD).await;
        if appliance.model.away().is_none() && appliance.kept.are_late() {
            let appliance = Arc::clone(&appliance);
            let write = move || {
                let trouble = |node: &str, reason: &str| appliance.watcher.trouble(node, reason);
                appliance.kept.write(&appliance.model, &trouble);
            };
            let _ = spawn_blocking(write).await;
        }
    }
}

/// Stores the tables after changes, for a daemon that starts while their database is away.
async fn store_tables(appliance: Arc<Appliance>) {
    loop {
        sleep(TABLES_PERIOD).await;
        let appliance = Arc::clone(&appliance);
        let store = move || appliance.saved.keep_up(&appliance.model, false);
        let _ = spawn_blocking(store).await;
    }
}
