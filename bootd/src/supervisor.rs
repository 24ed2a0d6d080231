//! Starts the services in order and stops them together.
//!
//! [`start`] returns when every wanted service listens: that is what `ready` means. A service that cannot
//! start ends the start, with its name and the reason; half an appliance is worse than none, because
//! nodes would hang where a machine without a server would go on to its disk.

use crate::address::{self, NameServerAddresses};
use crate::budget::{self, Budget, TableCallers};
use crate::dhcp::TableDirectory;
use crate::files::{Files, FilesError};
use crate::held_ports::{self, Transport, Wanted};
use crate::image_index::{self, ImageIndex};
use crate::names::service::{ListenError, NameService};
use crate::watch::Watcher;
use dawn_cluster::Model;
use dawn_dhcp::directory::{Directory, Mode};
use dawn_events::{Bus, now_ms};
use dawn_plan as plan;
use dawn_plan::{CurrentAddresses, LocalAddresses};
use dawn_roots::exports::TableExports;
use dawn_roots::extra_exports::WithExtras;
use dawn_roots::generations::{Generations, ROUND_SECONDS};
use dawn_roots::live::{self, LiveRoots};
use dawn_serving::shares::{Callers, Limit};
use dawn_xcatd::Dispatcher;
use dawn_xcatd::node_status::NodeReports;
use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How long services may take to end their work after a signal.
const STOP_TIME_MAX: Duration = Duration::from_secs(10);
/// How long the start waits for ports that are in use: those of a predecessor that is being ended come free.
const PORTS_TIME_MAX: Duration = Duration::from_secs(5);
/// Pause between two attempts to have a port.
const PORT_RETRY_PAUSE: Duration = Duration::from_millis(100);

/// Connections of one address to the name server.
const DNS_CONNECTIONS_OF_ADDRESS: usize = 64;

/// A service that can be started on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    /// Addresses and boot files.
    Dhcp,
    /// Names of the cluster.
    Dns,
    /// Loaders, kernels, boot configurations.
    Tftp,
    /// The same and root images.
    Http,
    /// Root file systems, with MOUNT and the port mapper.
    Nfs,
    /// Commands (3001) and node status (3002).
    Xcatd,
}

impl Service {
    /// All services, in the order of their start: those that answer a node last come first, so that no
    /// node is led to something that is not there yet.
    pub const ALL: [Self; 6] = [Self::Xcatd, Self::Nfs, Self::Http, Self::Tftp, Self::Dns, Self::Dhcp];

    /// Name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Dhcp => "dhcp",
            Self::Dns => "dns",
            Self::Tftp => "tftp",
            Self::Http => "http",
            Self::Nfs => "nfs",
            Self::Xcatd => "xcatd",
        }
    }
}

impl FromStr for Service {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = Self::ALL.map(Self::name).join(", ");
        Self::ALL
            .into_iter()
            .find(|service| service.name() == text)
            .ok_or_else(|| format!("there is no service '{text}'; services are {names}"))
    }
}

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

/// What `dawn serve` was told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The data directory.
    pub data: PathBuf,
    /// Interfaces to answer DHCP and TFTP on; empty means all but loopback.
    pub interfaces: Vec<String>,
    /// Services to start.
    pub services: BTreeSet<Service>,
    /// Whether the start fails if the name server cannot have its port: it was asked for by name.
    pub dns_required: bool,
    /// Their ports.
    pub ports: Ports,
    /// Which ports of ours carry TFTP transfers.
    pub tftp_transfers: dawn_tftp::TransferPorts,
    /// Whether IPv6 router solicitations are answered where DHCP is served.
    pub router_answers: bool,
    /// Memory the daemon may use, bytes; `None` for a quarter of what the machine has.
    pub memory_max: Option<u64>,
}

/// A service could not start.
#[derive(Debug, thiserror::Error)]
#[error("{service} cannot start: {reason}{}", self.hint())]
pub struct StartError {
    /// Which one.
    pub service: &'static str,
    reason: String,
    in_use: bool,
    /// Who has the ports, as far as it can be told.
    holders: Vec<String>,
}

impl StartError {
    fn new(service: Service, error: &(dyn std::error::Error + 'static)) -> Self {
        Self::of(service.name(), error)
    }

    fn of(service: &'static str, error: &(dyn std::error::Error + 'static)) -> Self {
        let mut reason = error.to_string();
        let mut in_use = false;
        let mut next = Some(error);
        while let Some(link) = next {
            let text = link.to_string();
            in_use |= text.contains("os error 98");
            if !reason.contains(&text) {
                reason = format!("{reason}: {text}");
            }
            next = link.source();
        }
        Self { service, reason, in_use, holders: Vec::new() }
    }

    fn hint(&self) -> String {
        if !self.in_use {
            return String::new();
        }
        let holders = match self.holders.as_slice() {
            [] => "another program has the port (`ss -lntup` shows which)".to_owned(),
            known => known.join(", "),
        };
        format!("\nHint: {holders}; stop it, choose another port, or leave the service out with --services")
    }
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
    watcher: Arc<Watcher>,
    live: Arc<LiveRoots>,
    leases: std::sync::OnceLock<dawn_dhcp::shell::Server>,
    generations: std::sync::OnceLock<Arc<Generations>>,
    names: std::sync::OnceLock<Arc<NameService>>,
}

impl Appliance {
    /// An appliance that has not started anything.
    #[must_use]
    pub fn new(model: Arc<Model>, settings: Settings) -> Self {
        let addresses = Arc::new(address::look());
        let bus = Arc::new(Bus::open(&settings.data.join("events.journal"), now_ms()));
        let watcher = Arc::new(Watcher::new(Arc::clone(&model), Arc::clone(&bus)));
        let live =
            LiveRoots::new(Arc::clone(&model), Arc::clone(&addresses), Arc::clone(&bus), &settings.data);
        let (images, leases, generations, names, name_servers) = Default::default();
        let live = Arc::new(live);
        Self {
            model,
            bus,
            addresses,
            name_servers,
            settings,
            images,
            watcher,
            live,
            leases,
            generations,
            names,
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
        plan::Surroundings { addresses, ports: self.settings.ports.of_plan(), packed }
    }

    /// Who hears what nodes report on the status port.
    #[must_use]
    pub fn watcher(&self) -> &Watcher {
        &self.watcher
    }

    /// Nodes that run from the tree at `root`; none when the NFS service does not run.
    #[must_use]
    pub fn tree_users(&self, root: &std::path::Path) -> Vec<String> {
        self.generations.get().map(|all| all.users(root, now_ms() / 1000)).unwrap_or_default()
    }

    /// The name server, if it runs.
    #[must_use]
    pub fn names(&self) -> Option<&NameService> {
        self.names.get().map(|names| &**names)
    }

    /// Leases of the DHCP service; empty when it does not run.
    #[must_use]
    pub fn leases(&self) -> Vec<dawn_dhcp::lease::Lease> {
        self.leases.get().map(dawn_dhcp::shell::Server::leases).unwrap_or_default()
    }
}

/// Who carries out commands and node reports, and how the command port is secured.
pub struct CommandPort {
    /// Commands.
    pub dispatcher: Arc<dyn Dispatcher>,
    /// Reports of nodes.
    pub reports: Arc<dyn NodeReports>,
    /// Certificates.
    pub tls: Arc<rustls::ServerConfig>,
}

/// Running services.
pub struct Running {
    shutdown: watch::Sender<bool>,
    tasks: JoinSet<&'static str>,
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Running({} services)", self.tasks.len())
    }
}

impl Running {
    /// Returns the name of the first service that ends by itself, which none should.
    pub async fn first_end(&mut self) -> Option<&'static str> {
        self.tasks.join_next().await.map(|ended| ended.unwrap_or("a service"))
    }

    /// Stops all services; those that take longer than 10 s are cut off.
    pub async fn stop(mut self) {
        let _ = self.shutdown.send(true);
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_TIME_MAX, all).await.is_err() {
            tracing::warn!("services did not stop within {} s and are cut off", STOP_TIME_MAX.as_secs());
        }
    }
}

/// Starts what the settings ask for. When it returns, every service listens.
///
/// # Errors
/// [`StartError`] of the first service that cannot start; the others are stopped again. Ports that are in use
/// are waited for, 5 s for all services together.
pub async fn start(appliance: &Arc<Appliance>, commands: CommandPort) -> Result<Running, StartError> {
    let budget = Budget::of_this_process(appliance.settings.memory_max);
    let callers: Arc<dyn Callers> = Arc::new(TableCallers::new(Arc::clone(&appliance.model)));
    let (shutdown, until) = watch::channel(false);
    let watcher = Arc::clone(&appliance.watcher);
    let patience_ends = Instant::now() + PORTS_TIME_MAX;
    let (images, snapshot) = (appliance.images.clone(), appliance.model.snapshot());
    let _ = tokio::task::spawn_blocking(move || images.first_round(&snapshot)).await;
    let mut starter =
        Starter { appliance, budget, callers, watcher, until, tasks: JoinSet::new(), patience_ends };
    for service in Service::ALL.into_iter().filter(|service| appliance.settings.services.contains(service)) {
        match service {
            Service::Xcatd => starter.xcatd(&commands).await?,
            Service::Nfs => starter.nfs().await?,
            Service::Http => starter.http(&commands).await?,
            Service::Tftp => starter.tftp().await?,
            Service::Dns => starter.dns().await?,
            Service::Dhcp => starter.dhcp().await?,
        }
        tracing::info!(service = service.name(), "listening");
    }
    starter.until_stopped("addresses", follow_addresses(Arc::clone(appliance)));
    starter.until_stopped("images", follow_images(Arc::clone(appliance)));
    starter.until_stopped("memory", budget::watch_memory(budget.memory));
    Ok(Running { shutdown, tasks: starter.tasks })
}

/// Looks for addresses that have come or gone, and says what the tables ask of those that are left.
async fn follow_addresses(appliance: Arc<Appliance>) {
    let addresses = &appliance.addresses;
    loop {
        tokio::time::sleep(address::REFRESH_PERIOD).await;
        if address::refresh(addresses) {
            let own: Vec<String> = addresses.now().iter().map(|local| local.address.to_string()).collect();
            tracing::info!("the addresses of this machine are now {}", own.join(", "));
            if appliance.settings.services.contains(&Service::Dhcp) {
                warn_of_addresses(&appliance);
            }
        }
    }
}

/// Looks for packed roots that have come or gone.
async fn follow_images(appliance: Arc<Appliance>) {
    loop {
        tokio::time::sleep(image_index::PERIOD).await;
        appliance.images.begin_round(&appliance.model.snapshot());
    }
}

/// What tables and command line ask of DHCP and this machine cannot do, in the log.
fn warn_of_addresses(here: &Appliance) {
    let now = here.addresses.now();
    let bare = crate::dhcp::without_address(&here.settings.interfaces, &now);
    for problem in crate::dhcp::problems(&here.model.snapshot(), &now).into_iter().chain(bare) {
        tracing::warn!("dhcp: {problem}");
    }
}

struct Starter<'a> {
    appliance: &'a Arc<Appliance>,
    /// How much each service may use.
    budget: Budget,
    /// Who has an address.
    callers: Arc<dyn Callers>,
    watcher: Arc<Watcher>,
    until: watch::Receiver<bool>,
    tasks: JoinSet<&'static str>,
    patience_ends: Instant,
}

impl Starter<'_> {
    /// Has the sockets of a service bound, again and again while one of `ports` is in use and patience lasts.
    async fn listening<T, E: std::error::Error + 'static>(
        &self,
        service: &'static str,
        ports: &[Wanted],
        bind: impl AsyncFn() -> Result<T, E>,
    ) -> Result<T, StartError> {
        let mut waiting = false;
        loop {
            let error = match bind().await {
                Ok(bound) => return Ok(bound),
                Err(error) => StartError::of(service, &error),
            };
            if !error.in_use {
                return Err(error);
            }
            if Instant::now() >= self.patience_ends {
                return Err(StartError { holders: held_ports::sentences(ports), ..error });
            }
            if !std::mem::replace(&mut waiting, true) {
                tracing::info!(service, "waiting for a port that is in use");
            }
            tokio::time::sleep(PORT_RETRY_PAUSE).await;
        }
    }

    fn settings(&self) -> &Settings {
        &self.appliance.settings
    }

    fn files(&self) -> Result<Files, FilesError> {
        let here = self.appliance;
        let (model, addresses, live) = (&here.model, &here.addresses, &here.live);
        let ports = here.settings.ports.of_plan();
        Files::open(Arc::clone(model), Arc::clone(addresses), Arc::clone(live), here.images.clone(), ports)
    }

    async fn xcatd(&mut self, commands: &CommandPort) -> Result<(), StartError> {
        let bind = async |name, port| {
            let wanted = [Wanted(Transport::Tcp, port)];
            let bind = async || dawn_xcatd::server::bind(port).map_err(|error| port_error(port, error));
            self.listening(name, &wanted, bind).await
        };
        let command_port = bind("xcatd", self.settings().ports.xcatd).await?;
        let status_port = bind("node status", self.settings().ports.status).await?;
        let flow_port = self.settings().ports.xcatd;
        let bind_flow =
            async || dawn_xcatd::flow::bind(flow_port).await.map_err(|error| port_error(flow_port, error));
        let flow = [Wanted(Transport::Udp, flow_port)];
        let flow = self.listening("flow control", &flow, bind_flow).await?;
        let (tls, dispatcher) = (Arc::clone(&commands.tls), Arc::clone(&commands.dispatcher));
        let snapshot = self.appliance.model.snapshot();
        let number = |key: &str| snapshot.site(key).and_then(|text| text.trim().parse().ok());
        let limit = number("xcatmaxconnections");
        let grants = number("xcatmaxbatchconnections").unwrap_or(dawn_xcatd::limits::FLOW_GRANTS_DEFAULT);
        let command_settings = dawn_xcatd::server::Settings {
            commands: limit.unwrap_or(dawn_xcatd::limits::COMMANDS_DEFAULT),
            connections: self.budget.commands,
            request_bytes: self.budget.request_bytes,
            callers: Arc::clone(&self.callers),
        };
        let (sessions, callers) = (self.budget.sessions, Arc::clone(&self.callers));
        let reports = Arc::clone(&commands.reports);
        self.until_stopped(
            "xcatd",
            dawn_xcatd::server::serve(command_port, tls, dispatcher, command_settings),
        );
        self.until_stopped("flow control", dawn_xcatd::flow::serve(flow, Arc::clone(&reports), grants));
        let node_status = dawn_xcatd::node_status::serve(status_port, reports, sessions, callers);
        self.until_stopped("node status", node_status);
        Ok(())
    }

    /// Runs a service that ends when its future is dropped.
    fn until_stopped(&mut self, name: &'static str, service: impl Future<Output = ()> + Send + 'static) {
        let stopped = stopped(self.until.clone());
        self.tasks.spawn(async move {
            tokio::select! { () = service => {}, () = stopped => {} }
            name
        });
    }

    async fn nfs(&mut self) -> Result<(), StartError> {
        let ports = self.settings().ports;
        let config = dawn_nfs::ServerConfig {
            nfs_port: ports.nfs,
            portmap_port: (ports.portmap != 0).then_some(ports.portmap),
            connections_max: self.budget.nfs,
            open_objects_max: self.budget.nfs_objects,
            waiting_bytes_max: self.budget.nfs_waiting_bytes,
            ..dawn_nfs::ServerConfig::new(&self.settings().data)
        };
        let generations = Generations::open(self.settings().data.join("generations"));
        let generations = Arc::new(generations);
        let _ = self.appliance.generations.set(Arc::clone(&generations));
        self.tidy_generations(&generations);
        self.sweep_live_roots();
        let (model, live) = (Arc::clone(&self.appliance.model), Arc::clone(&self.appliance.live));
        let exports = TableExports::new(model, generations, live);
        let exports = WithExtras::open(exports, &self.settings().data);
        let exports = Arc::new(exports.map_err(|error| StartError::new(Service::Nfs, &error))?);
        let observer = Arc::clone(&self.watcher);
        let both = |port| [Wanted(Transport::Tcp, port), Wanted(Transport::Udp, port)];
        let wanted: Vec<Wanted> = [ports.nfs, ports.portmap].into_iter().flat_map(both).collect();
        let serve = async || {
            let (exports, observer) = (Arc::clone(&exports), Arc::clone(&observer));
            dawn_nfs::serve(config.clone(), exports, observer, stopped(self.until.clone())).await
        };
        let server = self.listening(Service::Nfs.name(), &wanted, serve).await?;
        // The server stops by itself with `until`; the task keeps it alive so long.
        let until = stopped(self.until.clone());
        self.tasks.spawn(async move {
            until.await;
            drop(server);
            "nfs"
        });
        Ok(())
    }

    /// Every few minutes: which trees are in use, and which may go. Removing a tree takes its time,
    /// elsewhere.
    fn tidy_generations(&mut self, generations: &Arc<Generations>) {
        let (model, generations) = (Arc::clone(&self.appliance.model), Arc::clone(generations));
        self.until_stopped("image generations", async move {
            loop {
                tokio::time::sleep(Duration::from_secs(ROUND_SECONDS)).await;
                let snapshot = model.snapshot();
                let images = snapshot.osimage_names().filter_map(|name| snapshot.osimage(name));
                let dirs: Vec<PathBuf> =
                    images.filter_map(|image| Some(image.rootimgdir(&snapshot)?.into())).collect();
                let generations = Arc::clone(&generations);
                let tidy = tokio::task::spawn_blocking(move || generations.tidy(dirs, now_ms() / 1000));
                for path in tidy.await.unwrap_or_default() {
                    tracing::info!(path = %path.display(), "removed a tree that no node uses any more");
                }
            }
        });
    }

    /// Files may be on slow disks, so the looks have a thread of their own.
    fn sweep_live_roots(&mut self) {
        let (roots, mut until) = (Arc::clone(&self.appliance.live), self.until.clone());
        self.tasks.spawn(async move {
            while tokio::time::timeout(live::SWEEP_PERIOD, until.wait_for(|stop| *stop)).await.is_err() {
                let roots = Arc::clone(&roots);
                if let Err(error) = tokio::task::spawn_blocking(move || roots.sweep()).await {
                    tracing::error!(%error, "defect while looking after live roots");
                }
            }
            "live roots"
        });
    }

    /// The same tree in the clear and, with the certificate of the command port, inside TLS.
    async fn http(&mut self, commands: &CommandPort) -> Result<(), StartError> {
        let ports = self.settings().ports;
        let files = self.files().map_err(|error| StartError::new(Service::Http, &error))?;
        let files = files.with_post_scripts(Arc::clone(&commands.reports));
        let files: Arc<dyn dawn_serving::Source> = Arc::new(files);
        let tls = (ports.https != 0).then(|| (ports.https, Some(Arc::clone(&commands.tls).into())));
        for (port, tls) in [(ports.http, None)].into_iter().chain(tls) {
            let listen = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
            let connections_max = if tls.is_some() { self.budget.https } else { self.budget.http };
            let usual = dawn_http::Limits::default().connections_per_address_max;
            let connections_per_address_max = budget::of_one_address(usual, connections_max);
            let limits = dawn_http::Limits {
                connections_max,
                connections_per_address_max,
                ..dawn_http::Limits::default()
            };
            let callers = Arc::clone(&self.callers);
            let config = dawn_http::Config { listen, tls, limits, callers, ..Default::default() };
            let serve = async || {
                let (observer, until) = (Arc::clone(&self.watcher), self.until.clone());
                dawn_http::serve(config.clone(), Arc::clone(&files), observer, until).await
            };
            let wanted = [Wanted(Transport::Tcp, port)];
            let running = self.listening(Service::Http.name(), &wanted, serve).await?;
            self.tasks.spawn(async move {
                running.finished().await;
                "http"
            });
        }
        Ok(())
    }

    async fn tftp(&mut self) -> Result<(), StartError> {
        let files = self.files().map_err(|error| StartError::new(Service::Tftp, &error))?;
        let files = Arc::new(files);
        let transfers_max = self.budget.tftp;
        let usual = dawn_tftp::Limits::default().transfers_per_address_max;
        let transfers_per_address_max = budget::of_one_address(usual, transfers_max);
        let config = dawn_tftp::Config {
            listen: SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, self.settings().ports.tftp),
            interfaces: self.settings().interfaces.clone(),
            transfer_ports: self.settings().tftp_transfers,
            limits: dawn_tftp::Limits { transfers_max, transfers_per_address_max, ..Default::default() },
            callers: Arc::clone(&self.callers),
            ..Default::default()
        };
        let serve = async || {
            let (observer, until) = (Arc::clone(&self.watcher), self.until.clone());
            dawn_tftp::serve(config.clone(), Arc::clone(&files) as _, observer, until).await
        };
        let wanted = [Wanted(Transport::Udp, self.settings().ports.tftp)];
        let running = self.listening(Service::Tftp.name(), &wanted, serve).await?;
        self.tasks.spawn(async move {
            running.finished().await;
            "tftp"
        });
        Ok(())
    }

    /// The name server. One that nobody asked for by name gives way to another server on its port.
    async fn dns(&mut self) -> Result<(), StartError> {
        let (here, port) = (self.appliance, self.settings().ports.dns);
        let own = |limit: usize| budget::of_one_address(DNS_CONNECTIONS_OF_ADDRESS, limit);
        let total = self.budget.dns;
        let limit =
            Limit { total, per_stranger: own(total) / 2 + 1, per_source: own(total), local: total / 2 + 1 };
        let config = dawn_dns::shell::Config {
            workers: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            connections: limit,
            waiting: self.budget.dns_waiting,
            callers: Arc::clone(&self.callers),
        };
        let (model, addresses) = (Arc::clone(&here.model), Arc::clone(&here.addresses));
        let names = NameService::new(model, addresses, Arc::clone(&here.name_servers), &config, port);
        let names = Arc::new(names.map_err(|error| StartError::new(Service::Dns, &error))?);
        let made = Arc::clone(&names);
        let _ = tokio::task::spawn_blocking(move || made.refresh()).await;
        let wanted = [Wanted(Transport::Udp, port), Wanted(Transport::Tcp, port)];
        if here.settings.dns_required {
            self.listening(Service::Dns.name(), &wanted, async || names.listen()).await?;
        }
        let (patience_ends, until) = (self.patience_ends, stopped(self.until.clone()));
        let here = Arc::clone(here);
        self.tasks.spawn(async move {
            let serve = async {
                match listening_soon(&names, patience_ends).await {
                    Ok(()) => {
                        let _ = here.names.set(Arc::clone(&names));
                        let follow = Arc::clone(&names);
                        std::thread::spawn(move || follow.follow());
                    }
                    Err(error) => {
                        names.stop();
                        warn_of_other_server(&error, &wanted);
                    }
                }
                std::future::pending::<()>().await;
            };
            tokio::select! { () = serve => {}, () = until => {} }
            names.stop();
            "dns"
        });
        Ok(())
    }

    async fn dhcp(&mut self) -> Result<(), StartError> {
        let settings = self.settings();
        let config = dawn_dhcp::shell::Config {
            interfaces: settings.interfaces.clone(),
            settings: dawn_dhcp::engine::Settings {
                server_port: settings.ports.dhcp,
                http_port: settings.ports.http,
                ..Default::default()
            },
            journal: Some(settings.data.join("leases.journal")),
            ..Default::default()
        };
        let here = self.appliance;
        warn_of_addresses(here);
        let directory = TableDirectory::new(
            Arc::clone(&here.model),
            Arc::clone(&here.addresses),
            Arc::clone(&here.name_servers),
        );
        let directory = Arc::new(directory);
        let serve = async || {
            let (observer, answers) = (Arc::clone(&self.watcher), Arc::clone(&directory));
            let until = stopped(self.until.clone());
            dawn_dhcp::shell::serve(config.clone(), answers, observer, until).await
        };
        let wanted = [settings.ports.dhcp, dawn_dhcp::engine::PORT_PXE];
        let wanted = wanted.map(|port| Wanted(Transport::Udp, port));
        let server = self.listening(Service::Dhcp.name(), &wanted, serve).await?;
        let _ = here.leases.set(server.clone());
        if settings.router_answers {
            self.router_answers(directory);
        }
        self.tasks.spawn(async move {
            server.stopped().await;
            "dhcp"
        });
        Ok(())
    }
}

impl Starter<'_> {
    /// Loaders that look for an IPv6 router are told that there is none, on links where DHCP is served.
    fn router_answers(&mut self, directory: Arc<TableDirectory>) {
        let addresses = Arc::clone(&self.appliance.addresses);
        let mut interfaces = self.settings().interfaces.clone();
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
        let config = dawn_ndp::Config { interfaces, serves: Arc::new(serves) };
        let until = self.until.clone();
        self.tasks.spawn(async move {
            dawn_ndp::serve(config, until).await;
            "router answers"
        });
    }
}

/// Has the name server's addresses bound, again and again until `ends`: those of a predecessor come free.
async fn listening_soon(names: &NameService, ends: Instant) -> Result<(), ListenError> {
    loop {
        match names.listen() {
            Err(_) if Instant::now() < ends => tokio::time::sleep(PORT_RETRY_PAUSE).await,
            result => return result,
        }
    }
}

fn warn_of_other_server(error: &ListenError, wanted: &[Wanted]) {
    let holders = held_ports::sentences(wanted);
    let holders = if holders.is_empty() { String::new() } else { format!(" ({})", holders.join(", ")) };
    tracing::warn!(
        "the name server does not run: {error}{holders}. Stop the other server and start Dawn again; or, if the names \
         shall stay there, say so with `chtab key=dnshandler site.value=ddns` and give it its files with `makedns`"
    );
}

/// Ends when the shutdown is announced, or its sender is gone.
async fn stopped(mut until: watch::Receiver<bool>) {
    let _ = until.wait_for(|stop| *stop).await;
}

fn port_error(port: u16, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot listen on port {port}: {error}"))
}
