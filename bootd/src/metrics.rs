//! What monitoring systems read of the daemon: numbers in the text format of OpenMetrics 1.0, which
//! Prometheus reads.
//!
//! No label is the name of a node or comes from a machine: every set of labels is bounded by what is listed
//! here and in the status words.

use std::collections::BTreeMap;
use std::fs;

use dawn_cluster::{Snapshot, col};
use dawn_events::{Step, Total};
use dawn_xcatd::node_status::STATUS_WORDS;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use crate::command::VERSION;
use crate::disk_space::Space;

/// The media type of the text.
pub(crate) const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// A status that is not one of the known words.
const OTHER: &str = "other";
/// The status of a node that has none.
const UNKNOWN: &str = "unknown";

type Labels = Vec<(&'static str, &'static str)>;

/// What the numbers are made of besides the tables.
#[derive(Debug, Clone, Default)]
pub struct Readings {
    /// What nodes and strangers did, see [`dawn_events::Bus::totals`].
    pub totals: BTreeMap<(Step, bool), Total>,
    /// Addresses that DHCP has given out.
    pub leases: usize,
    /// Reports of nodes that wait for the database.
    pub reports_waiting: usize,
    /// Unknown machines that wait for a decision.
    pub machines_waiting: usize,
    /// Directories whose free space counts, each with the name it has in a label.
    pub(crate) spaces: Vec<(&'static str, Space)>,
}

/// The text for one request.
pub(crate) fn render(snapshot: &Snapshot, readings: &Readings) -> String {
    let mut registry = Registry::with_prefix("dawn");
    let info = Family::<Labels, Gauge>::default();
    info.get_or_create(&vec![("version", VERSION)]).set(1);
    registry.register("build_info", "The running version", info);
    nodes(snapshot, &mut registry);
    boots(&readings.totals, &mut registry);
    let number = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
    gauge(&mut registry, "dhcp_leases", "Addresses given out from dynamic ranges", number(readings.leases));
    let waiting = number(readings.reports_waiting);
    gauge(&mut registry, "pending_reports", "Reports of nodes that wait for the database", waiting);
    let waiting = number(readings.machines_waiting);
    gauge(&mut registry, "discovery_queue", "Unknown machines that wait for a decision", waiting);
    disks(&readings.spaces, &mut registry);
    let mut process = Registry::default();
    of_process(&mut process);
    let mut text = String::new();
    // Writing to a text does not fail; the end of the first registry is the end of the second one.
    let _ = prometheus_client::encoding::text::encode_registry(&mut text, &registry);
    let _ = encode(&mut text, &process);
    text
}

fn gauge(registry: &mut Registry, name: &str, help: &str, value: i64) {
    let gauge = Gauge::<i64>::default();
    gauge.set(value);
    registry.register(name, help, gauge);
}

/// Nodes by `nodelist.status`.
fn nodes(snapshot: &Snapshot, registry: &mut Registry) {
    let mut counts: BTreeMap<&'static str, i64> = STATUS_WORDS.iter().map(|word| (*word, 0)).collect();
    for node in snapshot.node_names() {
        let status = snapshot.attr(node, col::nodelist::STATUS);
        let word = match status.as_deref() {
            None => UNKNOWN,
            Some(status) => STATUS_WORDS.into_iter().find(|word| *word == status).unwrap_or(OTHER),
        };
        *counts.entry(word).or_default() += 1;
    }
    let family = Family::<Labels, Gauge>::default();
    for (word, count) in counts {
        family.get_or_create(&vec![("status", word)]).set(count);
    }
    registry.register("nodes", "Nodes by their status", family);
}

/// Steps of boots.
fn boots(totals: &BTreeMap<(Step, bool), Total>, registry: &mut Registry) {
    let (events, bytes) = (Family::<Labels, Counter>::default(), Family::<Labels, Counter>::default());
    let seconds = Family::<Labels, Counter<f64, std::sync::atomic::AtomicU64>>::default();
    for ((step, is_node), total) in totals {
        let of = if *is_node { "node" } else { "stranger" };
        let labels = vec![("step", step.name()), ("machine", of)];
        events.get_or_create(&labels).inc_by(total.count);
        bytes.get_or_create(&labels).inc_by(total.bytes);
        seconds
            .get_or_create(&labels)
            .inc_by(std::time::Duration::from_millis(total.duration_ms).as_secs_f64());
    }
    registry.register("boot_steps", "Steps that machines took, as `dawn events` shows them", events);
    registry.register_with_unit("sent", "Bytes sent for a step", Unit::Bytes, bytes);
    registry.register_with_unit("step_duration", "Time that steps took in all", Unit::Seconds, seconds);
}

fn disks(spaces: &[(&'static str, Space)], registry: &mut Registry) {
    let (free, silent) = (Family::<Labels, Gauge>::default(), Family::<Labels, Gauge>::default());
    for (name, space) in spaces {
        let labels = vec![("dir", *name)];
        silent.get_or_create(&labels).set(i64::from(*space == Space::Unresponsive));
        if let Space::Free(bytes) = space {
            free.get_or_create(&labels).set(i64::try_from(*bytes).unwrap_or(i64::MAX));
        }
    }
    registry.register("disk_unresponsive", "Whether the file system does not answer", silent);
    registry.register_with_unit("disk_free", "Free space of the file systems", Unit::Bytes, free);
}

/// The numbers that every exporter has of its process (proc(5)).
fn of_process(registry: &mut Registry) {
    let read = |name: &str| fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
    let status = read("status");
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
    let resident = kib.and_then(|kib| kib.trim().parse::<i64>().ok()).unwrap_or_default();
    let fds = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    let times = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let memory = Gauge::<i64>::default();
    memory.set(resident.saturating_mul(1024));
    registry.register_with_unit("process_resident_memory", "Memory of the daemon", Unit::Bytes, memory);
    let open = Gauge::<i64>::default();
    open.set(i64::try_from(fds).unwrap_or(i64::MAX));
    registry.register("process_open_fds", "Open files of the daemon", open);
    let cpu = Counter::<f64, std::sync::atomic::AtomicU64>::default();
    let nanos = u32::try_from(times.tv_nsec).unwrap_or_default();
    cpu.inc_by(
        std::time::Duration::new(u64::try_from(times.tv_sec).unwrap_or_default(), nanos).as_secs_f64(),
    );
    registry.register_with_unit("process_cpu", "Processor time of the daemon", Unit::Seconds, cpu);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use dawn_cluster::{Change, Edit, Model};

    #[test]
    fn numbers_of_a_small_cluster() {
        let model = Model::in_memory().unwrap();
        let rows = [("cn1", "booted"), ("cn2", "booted"), ("cn3", "strange"), ("cn4", "")];
        let row = |(node, status)| {
            Edit::set("nodelist", &[("node", node)], &[("groups", "all"), ("status", status)])
        };
        let edits = rows.into_iter().map(|pair| row(pair).unwrap()).collect();
        model.apply(Change::new("root", "test", edits)).unwrap();
        let total = Total { count: 3, bytes: 5_000, duration_ms: 1_500 };
        let readings = Readings {
            totals: [((Step::Kernel, true), total)].into(),
            leases: 7,
            spaces: vec![("data", Space::Free(9)), ("tftp", Space::Unresponsive)],
            ..Readings::default()
        };
        let text = render(&model.snapshot(), &readings);
        for line in [
            "dawn_nodes{status=\"booted\"} 2",
            "dawn_nodes{status=\"other\"} 1",
            "dawn_nodes{status=\"unknown\"} 1",
            "dawn_nodes{status=\"failed\"} 0",
            "dawn_boot_steps_total{step=\"kernel\",machine=\"node\"} 3",
            "dawn_sent_bytes_total{step=\"kernel\",machine=\"node\"} 5000",
            "dawn_step_duration_seconds_total{step=\"kernel\",machine=\"node\"} 1.5",
            "dawn_dhcp_leases 7",
            "dawn_disk_free_bytes{dir=\"data\"} 9",
            "dawn_disk_unresponsive{dir=\"data\"} 0",
            "dawn_disk_unresponsive{dir=\"tftp\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in {text}");
        }
        assert!(text.contains("\nprocess_resident_memory_bytes ") && text.ends_with("# EOF\n"));
    }
}
