//! The kernel line of the discovery system on a machine that is not a known node.

use crate::surroundings::Ports;
use dawn_cluster::Snapshot;
use dawn_wire::kernel as word;

/// Its words, as every loader writes them; the boot interface is the loader's to add.
pub(super) fn words(snapshot: &Snapshot, master: &str, ports: Ports) -> String {
    let status = match ports.status == Ports::default().status {
        true => String::new(),
        false => format!(" {}={}", word::STATUS_PORT, ports.status),
    };
    format!(
        "{server}={master}:{port}{status}{console} {task}=discover",
        server = word::DISCOVERY,
        port = ports.xcatd,
        console = default_console(snapshot),
        task = word::DESTINY,
    )
}

/// `site.defserialport` and related keys: the tables have no console for a machine that is not a node.
fn default_console(snapshot: &Snapshot) -> String {
    let number = |key| snapshot.site(key).and_then(|text| text.trim().parse::<u32>().ok());
    match (number("defserialport"), number("defserialspeed")) {
        (Some(port), Some(speed)) => {
            let flow = snapshot.site("defserialflow").is_some_and(|flow| flow.contains("hard"));
            format!(" console=tty0 console=ttyS{port},{speed}{}", if flow { "n8r" } else { "" })
        }
        _ => String::new(),
    }
}
