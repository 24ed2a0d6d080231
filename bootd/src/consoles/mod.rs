//! Consoles of nodes: which there are by the tables, where they are logged, and what of them becomes an
//! event.

pub mod log;

use crate::watch::Watcher;
use dawn_cluster::{Model, Snapshot};
use dawn_hardware::console::place::{is_on_demand, place};
use dawn_hardware::console::{AttachError, Heard, Hub, Mode, Wanted};
use log::Logs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::DuplexStream;
use tokio::time::sleep;

/// Pause between two looks at the tables.
const PERIOD: Duration = Duration::from_secs(1);
/// Bytes that wait between a console and the connection of its viewer, each way.
const STREAM_BYTES: usize = 32 << 10;

/// Receives what consoles report, for the log and the timeline.
struct Book {
    watcher: Arc<Watcher>,
    logs: Option<Logs>,
}

impl Heard for Book {
    fn line(&self, node: &Arc<str>, line: &str) {
        if let Some(logs) = &self.logs {
            logs.line(node, line);
        }
    }

    fn event(&self, node: &str, text: &str) {
        self.watcher.trouble(node, text);
    }
}

/// A hub without consoles yet, which logs below a data directory.
pub(crate) fn hub(data: &Path, watcher: &Arc<Watcher>) -> Hub {
    let logs = Logs::start(data);
    if let Err(error) = &logs {
        tracing::warn!(%error, "consoles are not logged: no thread");
    }
    Hub::new(Arc::new(Book { watcher: Arc::clone(watcher), logs: logs.ok() }), ssh_directory(data))
}

/// Where the key is that consoles over ssh show, and the keys of their hosts.
pub fn ssh_directory(data: &Path) -> PathBuf {
    data.join("consoles")
}

/// Shows a console to a caller who may see it by policy; the stream is for the caller's connection.
///
/// # Errors
/// [`AttachError`].
pub fn attach(hub: &Hub, node: &str, name: &str, mode: Mode) -> Result<DuplexStream, AttachError> {
    let (callers, hubs) = tokio::io::duplex(STREAM_BYTES);
    hub.attach(node, name, mode, hubs)?;
    Ok(callers)
}

/// Follows the tables for ever.
pub(crate) async fn follow(hub: Arc<Hub>, model: Arc<Model>) {
    let mut seen: Option<Arc<Snapshot>> = None;
    loop {
        let snapshot = model.snapshot();
        if !seen.as_ref().is_some_and(|seen| Arc::ptr_eq(seen, &snapshot)) {
            let looked = Arc::clone(&snapshot);
            // Thousands of nodes take some milliseconds.
            if let Ok(wanted) = tokio::task::spawn_blocking(move || wanted(&looked)).await {
                hub.follow(wanted);
            }
            seen = Some(snapshot);
        }
        sleep(PERIOD).await;
    }
}

fn wanted(snapshot: &Snapshot) -> Vec<Wanted> {
    let of = |node: &str| {
        let place = place(snapshot, node)?;
        Some(Wanted { node: node.to_owned(), place, on_demand: is_on_demand(snapshot, node) })
    };
    snapshot.node_names().filter_map(|node| of(node)).collect()
}
