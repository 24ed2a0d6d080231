//! Translates what each engine reports into boot events.
//!
//! Engines report addresses and paths; the bus wants nodes and steps. The step of a file follows from its
//! path, which is why the paths of the boot are named in one place only, the views.

use dawn_cluster::{MacAddr, Model, Text};
use dawn_events::{Amount, Bus, Step, Subject, now_ms};
use dawn_nfs::ExportId;
use dawn_plan::view::without_token;
use dawn_wire::script::{Outcome, ScriptResult};
use dawn_wire::{boot_path, image, status};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The same refusal or trouble of one NFS client is reported again after this time.
const AGAIN_AFTER: Duration = Duration::from_secs(10);
/// Refusals and troubles remembered at most; beyond, repeated ones are reported too.
const TOLD_MAX: usize = 4096;

/// What nodes fetch before they run their post scripts.
const POST_SCRIPTS: &str = "install/postscripts/";

/// Receives the events of all engines.
pub struct Watcher {
    model: Arc<Model>,
    bus: Arc<Bus>,
    /// What was reported of which client, by hash, and when.
    told: Mutex<HashMap<(IpAddr, u64), Instant>>,
}

impl Watcher {
    /// A watcher that writes to `bus` and names nodes by `model`.
    #[must_use]
    pub fn new(model: Arc<Model>, bus: Arc<Bus>) -> Self {
        Self { model, bus, told: Mutex::default() }
    }

    fn node_at(&self, address: IpAddr) -> Option<Text> {
        self.model.snapshot().node_by_ip(address.to_canonical())
    }

    fn at_address(&self, address: IpAddr, step: Step, amount: Amount, detail: impl Into<String>) {
        let stranger = address.to_canonical().to_string();
        let node = self.node_at(address);
        let subject = node.as_deref().map_or(Subject::Stranger(&stranger), Subject::Node);
        self.bus.publish(subject, step, now_ms(), amount, detail);
    }

    /// Whether the same was reported of the same machine less than [`AGAIN_AFTER`] ago; a machine may ask any
    /// number of times.
    fn is_told(&self, address: IpAddr, detail: &str, now: Instant) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() >= TOLD_MAX {
            told.retain(|_, when| now.saturating_duration_since(*when) < AGAIN_AFTER);
        }
        let key = (address.to_canonical(), ExportId::of(&[detail]).0);
        if told.get(&key).is_some_and(|when| now.saturating_duration_since(*when) < AGAIN_AFTER) {
            return true;
        }
        if told.len() < TOLD_MAX {
            told.insert(key, now);
        }
        false
    }

    /// A status word of a node (3002).
    pub fn status(&self, node: &str, word: &str) {
        let step = match word {
            status::NETBOOTING => Step::Init,
            status::POSTBOOTING => Step::Post,
            status::BOOTED => Step::Booted,
            _ => Step::Status,
        };
        self.bus.publish(Subject::Node(node), step, now_ms(), Amount::default(), word);
    }

    /// What became of a post script of a node (3002).
    pub fn post_script(&self, node: &str, result: &ScriptResult) {
        let step = if result.outcome.is_good() { Step::Post } else { Step::Trouble };
        let amount = Amount { bytes: 0, duration_ms: result.duration_ms };
        self.bus.publish(Subject::Node(node), step, now_ms(), amount, text_of(result));
    }

    /// A machine has become this node.
    pub fn discovered(&self, node: &str, why: &str) {
        let detail = format!("discovered: {why}");
        self.bus.publish(Subject::Node(node), Step::Status, now_ms(), Amount::default(), detail);
    }

    /// A step of the node's chain is done; `output`: the step and what it printed last (3002).
    pub fn task_done(&self, node: &str, output: &str) {
        let detail = format!("node: {output}");
        self.bus.publish(Subject::Node(node), Step::Status, now_ms(), Amount::default(), detail);
    }

    /// A command that the tables name for the node has been run.
    pub fn followed_up(&self, node: &str, command: &str) {
        let detail = format!("ondiscover: {command}: done");
        self.bus.publish(Subject::Node(node), Step::Status, now_ms(), Amount::default(), detail);
    }

    /// Something of the node's machine is not as it was when discovery saw it last.
    pub fn hardware_changed(&self, node: &str, difference: &str) {
        let detail = format!("hardware changed: {difference}");
        self.bus.publish(Subject::Node(node), Step::Status, now_ms(), Amount::default(), detail);
    }

    /// What a node asked for cannot be done.
    pub fn trouble(&self, node: &str, detail: &str) {
        self.bus.publish(Subject::Node(node), Step::Trouble, now_ms(), Amount::default(), detail);
    }

    /// A machine that is not a node asked for something that everybody may ask.
    pub fn asked(&self, address: IpAddr, detail: &str) {
        if !self.is_told(address, detail, Instant::now()) {
            self.at_address(address, Step::Unknown, Amount::default(), detail);
        }
    }

    /// A machine at this address says that it has an interface of the node's, and other evidence is against
    /// it.
    pub fn contradicted(&self, node: &str, address: IpAddr, why: &str) {
        let detail = format!("a machine at {} is not taken for this node: {why}", address.to_canonical());
        if !self.is_told(address, &format!("{node}: {detail}"), Instant::now()) {
            self.trouble(node, &detail);
        }
    }

    /// A machine at this address, which is not the node's, asked for the answers of the node's installer.
    pub fn answers_asked(&self, node: &str, address: IpAddr) {
        let detail = format!("{} asked for the answers of its installer", address.to_canonical());
        if !self.is_told(address, &format!("{node}: {detail}"), Instant::now()) {
            self.trouble(node, &detail);
        }
    }

    /// A machine asked for what it may not have.
    pub fn refused(&self, address: IpAddr, detail: &str) {
        self.at_address(address, Step::Refused, Amount::default(), detail);
    }
}

/// The result of a post script, for people.
fn text_of(result: &ScriptResult) -> String {
    let seconds = Duration::from_millis(result.duration_ms).as_secs();
    let what = match result.outcome {
        Outcome::Exit(code) => format!("exit code {code}"),
        Outcome::Signal(number) => format!("ended by signal {number}"),
        Outcome::Late => format!("ended by the node after {seconds} s, the limit of its time"),
        Outcome::Flood => "ended by the node: it wrote more than the log takes".to_owned(),
        Outcome::Missing => "there is no such file in the server's postscripts directory".to_owned(),
        Outcome::Unstartable => "cannot be started".to_owned(),
        Outcome::Running => format!("still runs after {seconds} s"),
    };
    let said = if result.said.is_empty() { String::new() } else { format!(": {}", result.said) };
    format!("{} {}: {what}{said}", result.half.script(), result.script)
}

impl dawn_serving::Observer for Watcher {
    fn event(&self, event: &dawn_serving::Event<'_>) {
        use dawn_serving::EventKind;
        let service = event.service.name();
        let path = &*without_token(event.path);
        let (step, amount, detail) = match event.kind {
            EventKind::Started { .. } | EventKind::Probed => return,
            // A hundred files for each boot would displace the boots before; what matters is what became of
            // the scripts.
            EventKind::Done { .. } if path.trim_start_matches('/').starts_with(POST_SCRIPTS) => return,
            EventKind::Done { bytes, duration, .. } => {
                let duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
                (step_of(path), Amount { bytes, duration_ms }, format!("{service} {path}"))
            }
            EventKind::NotFound => (Step::Missing, Amount::default(), format!("{service} {path}: not found")),
            EventKind::Refused { reason } => {
                (Step::Refused, Amount::default(), format!("{service} {path}: {reason}"))
            }
            EventKind::TimedOut { bytes, .. } => {
                trouble(bytes, format!("{service} {path}: the node stopped answering"))
            }
            EventKind::Aborted { reason, bytes } => {
                trouble(bytes, format!("{service} {path}: the node ended it: {reason}"))
            }
            EventKind::Failed { reason, bytes } => trouble(bytes, format!("{service} {path}: {reason}")),
            EventKind::Malformed { reason } | EventKind::Limited { reason } => {
                trouble(0, format!("{service} {path}: {reason}"))
            }
        };
        self.at_address(event.peer.ip(), step, amount, detail);
    }
}

fn trouble(bytes: u64, detail: String) -> (Step, Amount, String) {
    (Step::Trouble, Amount { bytes, duration_ms: 0 }, detail)
}

/// Which step of a boot a fetched file is.
fn step_of(path: &str) -> Step {
    let path = path.trim_start_matches('/');
    let path = path.strip_prefix("tftpboot/").unwrap_or(path);
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let in_image = folder.strip_prefix(boot_path::IMAGES).is_some_and(|rest| rest.starts_with('/'));
    let of_scripts = [
        boot_path::XNBA_NODES,
        boot_path::XNBA_NETS,
        boot_path::PXELINUX,
        boot_path::PETITBOOT_NETS,
        boot_path::PETITBOOT,
    ];
    match name {
        _ if of_scripts.contains(&folder) || name.starts_with("grub.cfg") => Step::Script,
        _ if folder == boot_path::GRUB && boot_path::is_grub(name) => Step::Loader,
        _ if folder == boot_path::GRUB && !name.contains('.') => Step::Script,
        image::KERNEL | "vmlinuz" | "linux" if in_image => Step::Kernel,
        _ if in_image && name.starts_with("initrd") => Step::Initrd,
        _ if image::is_root(name) || name == image::PACKED_STATELITE => Step::Root,
        _ if folder == boot_path::HTTP_BOOT || folder == boot_path::HTTP_BOOT_NETS => Step::Loader,
        _ if [".kpxe", ".pxe", ".efi", ".0"].iter().any(|end| name.ends_with(end)) => Step::Loader,
        _ => Step::File,
    }
}

impl dawn_nfs::Observer for Watcher {
    fn event(&self, client: std::net::SocketAddr, event: dawn_nfs::Event) {
        use dawn_nfs::Event;
        let (step, detail) = match event {
            Event::Mounted { path, .. } if path.rsplit('/').next() == Some(image::ROOT) => {
                (Step::Root, format!("nfs {path}"))
            }
            Event::Mounted { path, .. } => (Step::File, format!("nfs mount {path}")),
            Event::Unmounted { .. } | Event::Stale { .. } => return,
            Event::MountRefused { path, reason } => (Step::Refused, format!("nfs mount {path}: {reason}")),
            Event::HandleRefused { reason, .. } => (Step::Refused, format!("nfs: {reason}")),
            Event::OverlayProblem { path, reason, .. } => {
                (Step::Trouble, format!("nfs: the node's own {path} cannot be shown: {reason}"))
            }
            Event::ForgedHandle => (Step::Refused, "nfs: a file handle that is not ours".to_owned()),
            Event::CredentialRefused => {
                (Step::Refused, "nfs: credentials that the export does not take".to_owned())
            }
            Event::Dropped(reason) => (Step::Trouble, format!("nfs: connection closed: {reason}")),
        };
        let address = dawn_nfs::observe::client_ip(client);
        let repeats = matches!(step, Step::Refused | Step::Trouble);
        if repeats && self.is_told(address, &detail, Instant::now()) {
            return;
        }
        self.at_address(address, step, Amount::default(), detail);
    }
}

impl dawn_dhcp::event::Observer for Watcher {
    fn event(&self, event: &dawn_dhcp::event::Event) {
        use dawn_dhcp::event::What;
        let step = match event.what {
            What::Discover => Step::Discover,
            What::Offer | What::ProxyOffer => Step::Offer,
            What::Ack => Step::Ack,
            What::Inform | What::Release | What::Expired => return,
            What::Unknown | What::NoNetwork => Step::Unknown,
            What::NotBooting | What::NoAddress(_) | What::NotServed | What::WrongNetwork | What::Nak(_) => {
                Step::Refused
            }
            _ => Step::Trouble,
        };
        let address = event.address.map(|address| format!(" {address}")).unwrap_or_default();
        let file = event.file.as_deref().map(|file| format!(" {file}")).unwrap_or_default();
        let client = event.client.map(|client| format!(" ({client})")).unwrap_or_default();
        let detail = format!("dhcp {}{address}{file}{client}", event.what);
        let stranger = event.hw.as_ref().map_or_else(|| "?".to_owned(), |hw| mac_text(hw.bytes()));
        let subject = event.node.as_deref().map_or(Subject::Stranger(&stranger), Subject::Node);
        self.bus.publish(subject, step, now_ms(), Amount::default(), detail);
    }
}

fn mac_text(bytes: &[u8]) -> String {
    match <[u8; 6]>::try_from(bytes) {
        Ok(bytes) => MacAddr(bytes).to_string(),
        Err(_) => bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_same_of_one_client_is_told_once_in_a_while() {
        let watcher = Watcher::new(Arc::new(Model::in_memory().unwrap()), Arc::default());
        let (one, other) = (IpAddr::from([10, 1, 0, 1]), IpAddr::from([10, 1, 0, 2]));
        let start = Instant::now();
        assert!(!watcher.is_told(one, "a", start));
        assert!(watcher.is_told(one, "a", start));
        assert!(!watcher.is_told(one, "b", start));
        assert!(!watcher.is_told(other, "a", start));
        assert!(!watcher.is_told(one, "a", start + AGAIN_AFTER));
    }

    #[test]
    fn results_of_scripts_are_events() {
        let (bus, model) = (Arc::<Bus>::default(), Arc::new(Model::in_memory().unwrap()));
        let watcher = Watcher::new(model, Arc::clone(&bus));
        for line in [
            "scriptresult postscript 120 exit:0 syslog",
            "scriptresult postbootscript 3000 exit:3 custom/x.sh a\tno disk",
            "scriptresult postscript 1800000 late slow",
            "scriptresult postscript 0 missing otherpkgs",
        ] {
            watcher.post_script("cn1", &ScriptResult::parse(line).unwrap());
        }
        watcher.status("cn1", "postbooting");
        let events = bus.of("cn1");
        let seen: Vec<_> =
            events.iter().map(|one| (one.step, one.duration_ms, one.detail.as_str())).collect();
        let missing = "postscript otherpkgs: there is no such file in the server's postscripts directory";
        assert_eq!(
            seen,
            [
                (Step::Post, 120, "postscript syslog: exit code 0"),
                (Step::Trouble, 3000, "postbootscript custom/x.sh a: exit code 3: no disk"),
                (
                    Step::Trouble,
                    1_800_000,
                    "postscript slow: ended by the node after 1800 s, the limit of its time"
                ),
                (Step::Trouble, 0, missing),
                (Step::Post, 0, "postbooting"),
            ]
        );
        assert!(bus.is_up("cn1"), "a node that runs post scripts is up");
    }

    #[test]
    fn a_path_tells_the_step() {
        for (path, step) in [
            ("undionly.kpxe", Step::Loader),
            ("/snponly.efi", Step::Loader),
            ("/tftpboot/xcat/xnba/nodes/cn1.uefi", Step::Script),
            ("pxelinux.cfg/01-52-54-00-00-00-01", Step::Script),
            ("/tftpboot/pxelinux.cfg/p/10.1.0.0_16", Step::Script),
            ("boot/grub2/grub2-cn1", Step::Loader),
            ("/boot/grub2/grub2.aarch64", Step::Loader),
            ("boot/grub2/cn1", Step::Script),
            ("boot/grub2/grub.cfg-0A010005", Step::Script),
            ("boot/grub2/fonts/unicode.pf2", Step::File),
            ("/tftpboot/xcat/osimage/deb/kernel", Step::Kernel),
            ("/tftpboot/xcat/osimage/deb/initrd-statelite.gz", Step::Initrd),
            ("/tftpboot/xcat/osimage/el9/vmlinuz", Step::Kernel),
            ("/tftpboot/xcat/osimage/sles/linux", Step::Kernel),
            ("/tftpboot/xcat/osimage/el9/initrd.img", Step::Initrd),
            ("//install/netboot/debian12/x86_64/compute/rootimg.sfs", Step::Root),
            ("/install/postscripts/syslog", Step::File),
            ("", Step::File),
        ] {
            assert_eq!(step_of(path), step, "{path}");
        }
    }
}
