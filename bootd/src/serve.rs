//! `dawn serve`: all services of the appliance in the foreground.

use crate::address::host_name;
use crate::appliance::{Appliance, Ports, Settings};
use crate::budget::{self, MEMORY_MIN};
use crate::clock;
use crate::command::Registry;
use crate::daemon::{self, Daemon};
use crate::failures::as_command_error;
use crate::output::{CommandError, ErrorKind};
use crate::owner::{DAEMON, Owner};
use crate::saved_tables;
use crate::services::{self, CommandPort};
use crate::supervisor;
use anyhow::{Context, Result};
use dawn_cluster::saved::Saved;
use dawn_cluster::{Model, ModelError, Snapshot, StoreAddress, StoreError};
use dawn_tftp::TransferPorts;
use dawn_xcatd::certificates::Authority;
use std::io::Write;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

/// How long a daemon whose tables are on its own disk waits for their database.
const SAVED_PATIENCE: Duration = Duration::from_secs(2);
/// Time between its attempts.
const SAVED_PAUSE: Duration = Duration::from_millis(500);
/// Pauses after the first failures to reach the database server, then the one between all further attempts.
const DATABASE_PAUSES: [Duration; 3] =
    [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];
const DATABASE_PAUSE_MAX: Duration = Duration::from_secs(5);
/// The file that `makehosts` writes.
const HOSTS_FILE: &str = "/etc/hosts";
/// How long commands may keep running after the services have stopped.
const COMMANDS_END_TIME_MAX: Duration = Duration::from_secs(5);

/// Run the appliance in the foreground: DHCP, DNS, TFTP, HTTP, NFS and the command daemon.
///
/// Prints one line `ready` when every service listens, and notifies systemd. SIGTERM and SIGINT stop it
/// cleanly.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Data directory made by `dawn init`
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Answer DHCP and TFTP on this interface only; can be repeated [default: all but loopback]
    #[arg(long, value_name = "IF")]
    pub interface: Vec<String>,
    /// Do not answer loaders that there is no IPv6 router; without a router they then wait seconds for one at
    /// every stage
    #[arg(long)]
    pub no_ra: bool,
    /// Names of the services to run; the help lists them
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = services::name,
        help = format!(
            "Services to run, separated by commas: {} [default: all; dns only if its port is free and \
             site.dnshandler does not leave names to BIND]",
            services::list()
        ))]
    pub services: Vec<&'static str>,
    /// Memory the daemon may use, such as 800M or 4G; at least 256M [default: a quarter of the machine's]
    #[arg(long, value_name = "SIZE", value_parser = memory_size)]
    pub memory_max: Option<u64>,
    /// Port of the DHCP server
    #[arg(long, value_name = "PORT", default_value_t = Ports::default().dhcp)]
    pub dhcp_port: u16,
    /// Port of the name server
    #[arg(long, value_name = "PORT", default_value_t = Ports::default().dns)]
    pub dns_port: u16,
    /// Port of the TFTP server
    #[arg(long, value_name = "PORT", default_value_t = Ports::default().tftp)]
    pub tftp_port: u16,
    /// Ports that carry TFTP transfers: any two, one (the server's own, for strict firewalls), or a range
    #[arg(long, value_name = "any|one|FIRST-LAST", default_value = "any")]
    pub tftp_transfers: TransferPorts,
    /// Port of the HTTP server [default: site.httpport, else 80]
    #[arg(long, value_name = "PORT")]
    pub http_port: Option<u16>,
    /// Port of the HTTPS server; 0 for none
    #[arg(long, value_name = "PORT", default_value_t = Ports::default().https)]
    pub https_port: u16,
    /// Port of NFS and MOUNT
    #[arg(long, value_name = "PORT", default_value_t = Ports::default().nfs)]
    pub nfs_port: u16,
    /// Port of the port mapper; 0 for none
    #[arg(long, value_name = "PORT", default_value_t = Ports::default().portmap)]
    pub portmap_port: u16,
    /// Port of the command daemon [default: site.xcatdport, else 3001]
    #[arg(long, value_name = "PORT")]
    pub xcatd_port: Option<u16>,
    /// Serve numbers for Prometheus at http://ADDRESS:PORT/metrics, to everybody who can connect there
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub metrics_listen: Option<std::net::SocketAddr>,
    /// Port of the node status protocol [default: site.xcatiport, else 3002]
    #[arg(long, value_name = "PORT")]
    pub status_port: Option<u16>,
}

/// A text that is not a share of memory.
#[derive(Debug, thiserror::Error)]
enum MemoryError {
    #[error("it is less than {} MiB", MEMORY_MIN >> 20)]
    TooSmall,
    #[error("it is not a size such as 800M or 4G")]
    NotSize,
}

/// A size in bytes, or with K, M, G or T for powers of 1,024.
fn memory_size(text: &str) -> Result<u64, MemoryError> {
    const UNITS: [(char, u32); 4] = [('K', 10), ('M', 20), ('G', 30), ('T', 40)];
    let unit = |(letter, shift): &(char, u32)| {
        Some((text.strip_suffix([*letter, letter.to_ascii_lowercase()])?, *shift))
    };
    let (digits, shift) = UNITS.iter().find_map(unit).unwrap_or((text, 0));
    let size = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
    match size {
        Some(size) if size >= MEMORY_MIN => Ok(size),
        Some(_) => Err(MemoryError::TooSmall),
        None => Err(MemoryError::NotSize),
    }
}

/// Settings from the program's environment.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// Where relative paths begin.
    pub directory: PathBuf,
    /// `DAWN_LOG`: what is logged.
    pub log: Option<String>,
    /// `NOTIFY_SOCKET`: where the service manager listens.
    pub notify_socket: Option<String>,
    /// `XCATCFG`: the database.
    pub database: Option<String>,
}

/// Runs until a signal; the exit code.
pub fn run(args: &Args, given: &Given, registry: Registry) -> i32 {
    budget::few_arenas();
    crate::daemon_log::start(given.log.as_deref());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let result = match runtime {
        Ok(runtime) => {
            let result = runtime.block_on(serve(args, given, registry));
            // Dropping it would wait without end for a command that hangs in the kernel.
            runtime.shutdown_timeout(COMMANDS_END_TIME_MAX);
            result
        }
        Err(error) => Err(anyhow::Error::from(error).context("cannot start the runtime")),
    };
    match result {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("Error: {}", as_command_error(ErrorKind::Unavailable, error));
            1
        }
    }
}

async fn serve(args: &Args, given: &Given, registry: Registry) -> Result<()> {
    let notify = given.notify_socket.as_deref();
    check_interfaces(&args.interface)?;
    let data = given.directory.join(&args.data);
    let make = format!("make it: `dawn init --data {}`", data.display());
    let data = data.canonicalize().map_err(|error| {
        let text = format!("no data directory {}", data.display());
        CommandError::not_found(text).cause(error).hint(make.as_str())
    })?;
    if !Authority::new(&data).server_cred().exists() {
        let text = format!("{} is not a data directory of Dawn yet", data.display());
        return Err(CommandError::not_found(text).hint(make).into());
    }
    let _owner = Owner::take(&data, DAEMON)?;
    let address = crate::database::address(&data, given.database.as_deref())?;
    // Signals are caught before anything listens: a stop during the start must not be lost.
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let model = tokio::select! {
        model = open_patiently(&data, &address) => Arc::new(model?),
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    crate::notify::start(&model);
    // Other processes on the same database (another daemon, `dawn init`) are noticed from here on.
    let _follower = model.follow().context("cannot follow the database")?;
    if let Some(text) = crate::closed_files::warning(&data) {
        tracing::warn!("{text}: {}", crate::closed_files::CURE);
    }
    let appliance = Arc::new(Appliance::new(Arc::clone(&model), settings(args, data, &model)));
    let commands = command_port(&appliance, &address, registry)?;
    let mut running = tokio::select! {
        started = supervisor::start(&appliance, commands) => started?,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    tell_ready(notify);
    let snapshot = model.snapshot();
    // Disks that hang keep this thread, and nothing waits for it.
    drop(tokio::task::spawn_blocking(move || {
        crate::set_id::warning(&snapshot).inspect(|text| tracing::warn!("{text}"))
    }));
    let ended = tokio::select! {
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        ended = running.first_end() => ended,
    };
    tell(notify, "STOPPING=1");
    running.stop().await;
    let _ = tokio::task::spawn_blocking(move || appliance.saved.keep_up(&appliance.model, true)).await;
    match ended {
        Some(service) => anyhow::bail!("the service {service} has ended by itself; the log above says why"),
        None => Ok(()),
    }
}

/// Opens the database. A server that is not up yet (both machines come back from a power failure, say) is
/// asked until it is there, unless the tables are on this disk, too: then they are served after a moment.
/// What waiting does not repair, a wrong password for one, ends the start.
async fn open_patiently(data: &Path, address: &StoreAddress) -> Result<Model> {
    let mut pauses = DATABASE_PAUSES.iter();
    let begun = Instant::now();
    let mut looks_at_disk = address.server().is_some();
    loop {
        let (directory, place) = (data.to_owned(), address.clone());
        let mut opening = tokio::task::spawn_blocking(move || Model::open_in(&directory, &place));
        if looks_at_disk {
            let moment = SAVED_PATIENCE.saturating_sub(begun.elapsed());
            let failed = match timeout(moment, &mut opening).await {
                Err(_) => StoreError::Silent,
                Ok(opened) => match opened? {
                    Err(ModelError::Store(error)) if error.is_passing() => error,
                    opened => return described(opened, data),
                },
            };
            if begun.elapsed() < SAVED_PATIENCE {
                tokio::time::sleep(SAVED_PAUSE).await;
                continue;
            }
            looks_at_disk = false;
            if let Some(saved) = stored_tables(data, address).await {
                return Ok(serve_saved(data, address, saved, failed));
            }
            continue;
        }
        match opening.await? {
            Err(ModelError::Store(error)) if address.server().is_some() && error.is_passing() => {
                let pause = pauses.next().copied().unwrap_or(DATABASE_PAUSE_MAX);
                tracing::warn!("{error}; next attempt in {} s", pause.as_secs());
                tokio::time::sleep(pause).await;
            }
            opened => return described(opened, data),
        }
    }
}

/// A start that fails says what is to be done where there is no database.
fn described(opened: Result<Model, ModelError>, data: &Path) -> Result<Model> {
    match opened {
        Err(error @ ModelError::Store(StoreError::Missing { .. })) => {
            let text = "Nothing is served: without its tables this machine would not know any node.";
            let hint = format!(
                "put the database back from a backup, or begin with an empty one: `dawn init --data {}`",
                data.display()
            );
            Err(CommandError::not_found(format!("{error}\n{text}")).hint(hint).into())
        }
        opened => Ok(opened?),
    }
}

/// The tables of this disk, if they are those of the database.
async fn stored_tables(data: &Path, address: &StoreAddress) -> Option<Saved> {
    let (directory, place) = (data.to_owned(), address.clone());
    let read = tokio::task::spawn_blocking(move || saved_tables::read(&directory, &place)).await;
    read.ok()?.unwrap_or_else(|error| {
        tracing::error!("{error}; it is not used, should the database be away");
        None
    })
}

fn serve_saved(data: &Path, address: &StoreAddress, saved: Saved, error: StoreError) -> Model {
    let (change, at) = (saved.snapshot().seq(), clock::local_time(saved.at_ms));
    tracing::warn!(%error, "serving change {change} of {at}; the database is away");
    Model::open_saved(data, address, saved, error)
}

/// A mistyped name would leave every machine without an answer and without any message.
fn check_interfaces(names: &[String]) -> Result<()> {
    let known: Vec<String> = std::fs::read_dir("/sys/class/net")
        .context("cannot list the network interfaces")?
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    match names.iter().find(|name| !known.contains(name)) {
        Some(name) => {
            let text = format!("there is no network interface '{name}'");
            Err(CommandError::not_found(text).hint(format!("this machine has {}", known.join(", "))).into())
        }
        None => Ok(()),
    }
}

fn settings(args: &Args, data: PathBuf, model: &Model) -> Settings {
    let snapshot = model.snapshot();
    let port = |given: Option<u16>, key: &str, default: u16| {
        given.or_else(|| snapshot.site(key)?.parse().ok()).unwrap_or(default)
    };
    let usual = Ports::default();
    let mut wanted = if args.services.is_empty() { usual_services(&snapshot) } else { args.services.clone() };
    wanted.extend(args.metrics_listen.map(|_| services::METRICS));
    Settings {
        data,
        interfaces: args.interface.clone(),
        router_answers: !args.no_ra,
        tftp_transfers: args.tftp_transfers,
        memory_max: args.memory_max,
        metrics: args.metrics_listen,
        dns_required: args.services.contains(&services::DNS),
        services: wanted.into_iter().collect(),
        ports: Ports {
            dhcp: args.dhcp_port,
            dns: args.dns_port,
            tftp: args.tftp_port,
            http: port(args.http_port, "httpport", usual.http),
            https: args.https_port,
            nfs: args.nfs_port,
            portmap: args.portmap_port,
            xcatd: port(args.xcatd_port, "xcatdport", usual.xcatd),
            status: port(args.status_port, "xcatiport", usual.status),
        },
    }
}

/// All services; the name server only if the tables do not leave names to another one.
fn usual_services(snapshot: &Snapshot) -> Vec<&'static str> {
    let elsewhere = crate::names::records::kept_elsewhere(snapshot);
    if let Some(who) = &elsewhere {
        tracing::info!("the name server does not run: {who} leaves names to another one");
    }
    let usual = services::names().filter(|name| *name != services::METRICS);
    usual.filter(|name| *name != services::DNS || elsewhere.is_none()).collect()
}

fn command_port(
    appliance: &Arc<Appliance>,
    address: &StoreAddress,
    registry: Registry,
) -> Result<CommandPort> {
    let data = &appliance.settings.data;
    let authority = Authority::new(data);
    let tls = dawn_tls::server_config(&authority.server_cred(), &authority.ca_certificate())
        .context("cannot use the server certificate; `dawn init` makes a missing one")?;
    let settings = daemon::Settings {
        host: host_name(),
        commands_log: Some(data.join("log").join("commands.log")),
        hosts_file: HOSTS_FILE.to_owned(),
        database: crate::database::Place::of(address),
        data: Some(data.clone()),
    };
    let (model, boot) = (Arc::clone(&appliance.model), Arc::clone(appliance));
    let daemon = Daemon::new(model, boot, Arc::new(registry), settings);
    let daemon = Arc::new(daemon.keeping(Arc::clone(&appliance.kept)));
    Ok(CommandPort { dispatcher: daemon.clone(), reports: daemon, tls })
}

/// `ready` for the person who started us by hand, `READY=1` for systemd.
fn tell_ready(notify: Option<&str>) {
    let mut out = std::io::stdout();
    let _ = writeln!(out, "ready").and_then(|()| out.flush());
    tell(notify, "READY=1");
}

/// Sends one word to the supervisor's socket (sd_notify(3)); without one there is no supervisor.
fn tell(notify: Option<&str>, word: &str) {
    let Some(name) = notify else { return };
    let address = match name.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(name),
    };
    let sent = address.and_then(|address| UnixDatagram::unbound()?.send_to_addr(word.as_bytes(), &address));
    if let Err(error) = sent {
        tracing::warn!(%error, "cannot send {word} to the service manager");
    }
}

#[cfg(test)]
#[path = "../../cluster/tests/servers/server.rs"]
#[allow(
    dead_code,
    clippy::unwrap_used,
    missing_docs,
    reason = "shared with the tests of the model, which use more of it"
)]
mod server;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systemd_hears_the_word() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        tell(path.to_str(), "READY=1");
        let mut buffer = [0; 32];
        let length = socket.recv(&mut buffer).unwrap();
        assert_eq!(buffer.get(..length), Some(&b"READY=1"[..]));
        // Without a service manager, or with one that is gone, nothing happens.
        tell(None, "READY=1");
        drop(socket);
        tell(path.to_str(), "STOPPING=1");
    }

    #[test]
    fn an_interface_must_exist() {
        assert!(check_interfaces(&["lo".to_owned()]).is_ok());
        let error = check_interfaces(&["lo".to_owned(), "nosuch".to_owned()]).unwrap_err().to_string();
        assert!(error.contains("'nosuch'") && error.contains("Hint:") && error.contains("lo"), "{error}");
    }

    #[test]
    fn sizes_of_memory() {
        for (text, size) in [
            ("268435456", Ok(256 << 20)),
            ("262144K", Ok(256 << 20)),
            ("800m", Ok(800 << 20)),
            ("4G", Ok(4 << 30)),
            ("1T", Ok(1 << 40)),
            ("255M", Err("it is less than 256 MiB")),
            ("99999999999T", Err("it is not a size such as 800M or 4G")),
            ("", Err("it is not a size such as 800M or 4G")),
            ("-1G", Err("it is not a size such as 800M or 4G")),
            ("4GB", Err("it is not a size such as 800M or 4G")),
        ] {
            assert_eq!(
                memory_size(text).map_err(|error| error.to_string()),
                size.map_err(str::to_owned),
                "{text}"
            );
        }
    }

    /// Needs the Debian package `mariadb-server`, and root.
    #[test]
    fn the_database_server_comes_up_later() {
        use super::server::{Engine, Server};
        let mut server = Server::start(Engine::Mysql);
        let address = server.database("late");
        Model::open_at(&address).expect("tables");
        let data = tempfile::tempdir().expect("a directory");
        server.kill();
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let (directory, place) = (data.path().to_owned(), address.clone());
        let opening = runtime.spawn(async move { open_patiently(&directory, &place).await.map(drop) });
        std::thread::park_timeout(Duration::from_millis(500));
        assert!(!opening.is_finished());
        server.launch();
        runtime.block_on(opening).expect("no panic").expect("opened");
        let StoreAddress::Mysql(mut wrong) = address else { panic!("another server") };
        wrong.password = dawn_cluster::Secret::new("wrong");
        let refused = runtime.block_on(open_patiently(data.path(), &StoreAddress::Mysql(wrong)));
        let text = format!("{:#}", refused.err().expect("refused"));
        assert!(text.contains("Access denied") && text.matches("mysql:late@").count() == 1, "{text}");
    }
}
