//! What the services share and commands look at, complete when it is made.

use crate::address::{self, NameServerAddresses};
use crate::answers::InstallAnswers;
use crate::consoles;
use crate::discovery::Discovery;
use crate::disk_space::DiskSpace;
use crate::files::{Files, FilesError};
use crate::image_index::ImageIndex;
use crate::kept_reports::KeptReports;
use crate::metrics::Readings;
use crate::saved_tables::SavedTables;
use crate::watch::Watcher;
use arc_swap::ArcSwapOption;
use dawn_cluster::Model;
use dawn_dhcp::lease::Lease;
use dawn_dhcp::shell;
use dawn_events::{Bus, now_ms};
use dawn_hardware::console::Hub;
use dawn_plan as plan;
use dawn_plan::{CurrentAddresses, LocalAddresses};
use dawn_roots::generations::Generations;
use dawn_roots::live::LiveRoots;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Ports of all services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    /// DHCP server, 67.
    pub dhcp: u16,
    /// Name server, 53.
    pub dns: u16,
    /// TFTP, 69.
    pub tftp: u16,
    /// HTTP, 80.
    pub http: u16,
    /// HTTPS, 443; 0 for none.
    pub https: u16,
    /// NFS and MOUNT, 2049.
    pub nfs: u16,
    /// Port mapper, 111; 0 for none, where the machine runs one already.
    pub portmap: u16,
    /// Commands, 3001.
    pub xcatd: u16,
    /// Node status, 3002.
    pub status: u16,
}

impl Default for Ports {
    fn default() -> Self {
        Self {
            dhcp: 67,
            dns: 53,
            tftp: 69,
            http: 80,
            https: 443,
            nfs: 2049,
            portmap: 111,
            xcatd: 3001,
            status: 3002,
        }
    }
}

impl Ports {
    fn of_plan(self) -> plan::Ports {
        plan::Ports { http: self.http, xcatd: self.xcatd, status: self.status, nfs: self.nfs }
    }
}

/// The options of `dawn serve`.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The data directory.
    pub data: PathBuf,
    /// Interfaces to answer DHCP and TFTP on; empty means all but loopback.
    pub interfaces: Vec<String>,
    /// Names of the services to start.
    pub services: BTreeSet<&'static str>,
    /// Whether the start fails if the name server cannot have its port: it was asked for by name.
    pub dns_required: bool,
    /// Their ports.
    pub ports: Ports,
    /// Which ports of ours carry TFTP transfers.
    pub tftp_transfers: dawn_tftp::TransferPorts,
    /// Whether IPv6 router solicitations are answered where DHCP is served.
    pub router_answers: bool,
    /// Where numbers for monitoring systems are served, if anywhere.
    pub metrics: Option<SocketAddr>,
    /// Memory the daemon may use, bytes; `None` for a quarter of what the machine has.
    pub memory_max: Option<u64>,
}

/// What the services share and commands look at.
pub struct Appliance {
    /// The model.
    pub model: Arc<Model>,
    /// What nodes did.
    pub bus: Arc<Bus>,
    /// Addresses of this machine.
    pub addresses: Arc<CurrentAddresses>,
    /// Those of them on which the name server answers.
    pub name_servers: Arc<NameServerAddresses>,
    /// What was asked for.
    pub settings: Settings,
    /// What is on disk of the images.
    pub images: ImageIndex,
    /// The answers of installers.
    pub answers: Arc<InstallAnswers>,
    /// Unknown machines that become nodes.
    pub discovery: Arc<Discovery>,
    /// What nodes have reported and the tables do not have yet.
    pub kept: Arc<KeptReports>,
    /// The tables on this daemon's own disk.
    pub(crate) saved: SavedTables,
    /// Receives what services report about nodes.
    pub watcher: Arc<Watcher>,
    /// What NFS puts over the roots of statelite nodes.
    pub live: Arc<LiveRoots>,
    /// Which node runs from which tree.
    pub generations: Arc<Generations>,
    /// Consoles of nodes.
    pub consoles: Arc<Hub>,
    /// What the DHCP service has given out.
    pub leases: Leases,
    /// Free space of this daemon's directories.
    space: DiskSpace,
}

impl Appliance {
    /// An appliance that has not started anything.
    #[must_use]
    pub fn new(model: Arc<Model>, settings: Settings) -> Self {
        let addresses = Arc::new(address::look());
        let bus = Arc::new(Bus::open(&settings.data.join("events.journal"), now_ms()));
        let watcher = Arc::new(Watcher::new(Arc::clone(&model), Arc::clone(&bus)));
        let answers = Arc::new(InstallAnswers::open(&settings.data, Arc::clone(&watcher)));
        let discovery = Arc::new(Discovery::new(Arc::clone(&model), Arc::clone(&watcher)));
        let live =
            LiveRoots::new(Arc::clone(&model), Arc::clone(&addresses), Arc::clone(&bus), &settings.data);
        let generations = Arc::new(Generations::open(settings.data.join("generations")));
        let kept = Arc::new(KeptReports::open(&settings.data));
        let saved = SavedTables::new(&settings.data);
        let (images, leases, name_servers, space) = Default::default();
        let live = Arc::new(live);
        let consoles = Arc::new(consoles::hub(&settings.data, &watcher));
        Self {
            model,
            bus,
            addresses,
            name_servers,
            settings,
            images,
            answers,
            discovery,
            kept,
            saved,
            watcher,
            live,
            generations,
            consoles,
            leases,
            space,
        }
    }

    /// What plans depend on besides the tables: the machine's addresses of this moment, the packed roots, and
    /// the ports.
    #[must_use]
    pub fn surroundings<'a>(
        &self,
        addresses: &'a LocalAddresses,
        packed: &'a plan::PackedRoots,
    ) -> plan::Surroundings<'a> {
        plan::Surroundings { addresses, ports: self.settings.ports.of_plan(), packed, proof: None }
    }

    /// What HTTP and TFTP serve.
    ///
    /// # Errors
    /// When a directory that is served cannot be opened.
    pub fn files(&self) -> Result<Files, FilesError> {
        let (model, addresses, live) = (&self.model, &self.addresses, &self.live);
        let ports = self.settings.ports.of_plan();
        let files = Files::open(
            Arc::clone(model),
            Arc::clone(addresses),
            Arc::clone(live),
            self.images.clone(),
            ports,
        );
        files.map(|files| files.with_answers(Arc::clone(&self.answers)))
    }

    /// What monitoring systems read besides the tables.
    #[must_use]
    pub fn readings(&self) -> Readings {
        let site = |key| self.model.snapshot().site(key).map(|path| PathBuf::from(&*path));
        let data = Some(self.settings.data.clone());
        let directories = [("data", data), ("install", site("installdir")), ("tftp", site("tftpdir"))];
        Readings {
            totals: self.bus.totals(),
            leases: self.leases.all().len(),
            reports_waiting: self.kept.count(),
            machines_waiting: self.discovery.waiting().len(),
            spaces: directories
                .into_iter()
                .filter_map(|(name, path)| Some((name, self.space.of(name, path?)?)))
                .collect(),
        }
    }

    /// Nodes that run from the tree at `root`.
    #[must_use]
    pub fn tree_users(&self, root: &Path) -> Vec<String> {
        self.generations.users(root, now_ms() / 1000)
    }
}

/// The leases of the DHCP service; none while it does not run.
#[derive(Default)]
pub struct Leases(ArcSwapOption<shell::Server>);

impl Leases {
    /// The service runs, and this is what it has.
    pub fn show(&self, server: shell::Server) {
        self.0.store(Some(Arc::new(server)));
    }

    /// Whether the service runs.
    #[must_use]
    pub fn are_given(&self) -> bool {
        self.0.load().is_some()
    }

    /// All leases, sorted by address.
    #[must_use]
    pub fn all(&self) -> Vec<Lease> {
        self.0.load().as_ref().map(|server| server.leases()).unwrap_or_default()
    }
}
