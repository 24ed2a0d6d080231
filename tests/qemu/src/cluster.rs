//! A cluster: network, data directory, daemon and machines, from `up` to drop.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::net::{BRIDGE, MASK, Network, SERVER};
use crate::node::{Hardware, Node};
use crate::process::{self, Logged};
use crate::{Accel, BootEvent, events, paths, stale, wait};

/// Time the daemon has to print `ready`.
const READY_LIMIT: Duration = Duration::from_secs(60);
/// Time the daemon has to end after SIGTERM.
const STOP_LIMIT: Duration = Duration::from_secs(20);
/// Set in the environment to keep the traffic of a test's machines.
const CAPTURE_VARIABLE: &str = "DAWN_CAPTURE";
/// Words for every kernel. It counts ticks of its timer while it starts, and panics ("IO-APIC + timer doesn't
/// work!") when an emulated machine on a busy host gets no CPU meanwhile.
const KERNEL_WORDS: &str = "addkcmdline=no_timer_check";
/// The cluster's DNS domain.
const DOMAIN: &str = "cluster.test";

/// Number of the next test cluster of this process.
static NEXT: AtomicU32 = AtomicU32::new(1);

/// Where a cluster lives and what it runs.
#[derive(Debug, Clone)]
pub struct Options {
    /// Name of the namespace and of the directory for sockets.
    pub name: String,
    /// Directory of data, logs and console captures.
    pub dir: PathBuf,
    /// The program under test.
    pub dawn: PathBuf,
    /// Whether the directory outlives the cluster.
    pub keep_dir: bool,
    /// Whether each machine's network traffic is kept, in `traffic.pcap` next to its console; the directory
    /// then stays.
    pub capture: bool,
    /// How machines are run; `None` finds out.
    pub accel: Option<Accel>,
}

impl Options {
    /// A cluster of a test, with a unique name.
    pub fn test() -> Self {
        let capture = std::env::var_os(CAPTURE_VARIABLE).is_some();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}{}-{number}", stale::PREFIX, std::process::id());
        let dir = paths::runs().join(&name);
        Self { name, dir, dawn: paths::dawn(), keep_dir: capture, capture, accel: None }
    }
}

/// A node to define: the machine and the image it boots.
#[derive(Debug, Clone)]
pub struct Definition {
    /// The machine.
    pub hardware: Hardware,
    /// Name of the `osimage`.
    pub image: String,
}

/// A running appliance with its machines. Dropping it ends everything but leaves the files: that is what
/// happens when a test fails. A test that passes calls [`Cluster::down`].
#[derive(Debug)]
pub struct Cluster {
    // Dropped in this order: machines, daemon, network.
    nodes: Vec<Node>,
    daemon: Option<Logged>,
    network: Network,
    options: Options,
    accel: Accel,
}

impl Cluster {
    /// Cleans up after dead runs, makes the network, initialises the data directory, starts the daemon and
    /// describes the network in its tables.
    pub fn up(options: Options) -> Result<Self> {
        stale::clean()?;
        for dir in [&options.dir, &options.dir.join("home"), &paths::sockets().join(&options.name)] {
            fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        }
        let accel = options.accel.map_or_else(|| Accel::probe(&options.dir), Ok)?;
        let network = Network::create(&options.name)?;
        let mut cluster = Self { nodes: Vec::new(), daemon: None, network, options, accel };
        cluster.init()?;
        cluster.serve()?;
        cluster.define_network()?;
        Ok(cluster)
    }

    /// The directory given to `--data`.
    pub fn data(&self) -> PathBuf {
        self.options.dir.join("data")
    }

    /// Published by HTTP and NFS as `/install`.
    pub fn install_dir(&self) -> PathBuf {
        self.data().join("install")
    }

    /// Where tests put files of their own.
    pub fn dir(&self) -> &Path {
        &self.options.dir
    }

    /// The network, for tests that look at it.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// How machines are run.
    pub fn accel(&self) -> Accel {
        self.accel
    }

    /// Where the daemon's output goes.
    pub fn daemon_log(&self) -> PathBuf {
        self.options.dir.join("daemon.log")
    }

    /// Runs `dawn init`; again does no harm.
    pub fn init(&self) -> Result<()> {
        let mut command = self.dawn_command();
        command.arg("init").arg("--data").arg(self.data());
        command.args(["--master", &SERVER.to_string(), "--domain", DOMAIN]);
        process::run(&mut command).map(drop)
    }

    /// Starts the daemon and waits for its `ready`.
    pub fn serve(&mut self) -> Result<()> {
        let mut command = self.dawn_command();
        command.arg("serve").arg("--data").arg(self.data()).args(["--interface", BRIDGE]);
        let seen = process::read_log(&self.daemon_log()).len();
        let mut daemon = Logged::spawn(&mut command, &self.daemon_log())?;
        let ready = wait::until(READY_LIMIT, || {
            if let Some(status) = daemon.ended()? {
                bail!("`dawn serve` ended: {status}\n{}", process::tail(&self.daemon_log()));
            }
            let log = process::read_log(&self.daemon_log());
            Ok(log.get(seen..).unwrap_or_default().lines().any(|line| line == "ready").then_some(()))
        })?;
        if ready.is_none() {
            bail!("`dawn serve` is not ready in {READY_LIMIT:?}\n{}", process::tail(&self.daemon_log()));
        }
        self.daemon = Some(daemon);
        Ok(())
    }

    /// Ends the daemon as a crash would (SIGKILL).
    pub fn kill_daemon(&mut self) -> Result<()> {
        self.daemon.take().context("no daemon runs")?.kill()
    }

    /// Ends the daemon as an administrator would (SIGTERM) and checks that it ends cleanly.
    pub fn stop_daemon(&mut self) -> Result<()> {
        let status = self.daemon.take().context("no daemon runs")?.terminate(STOP_LIMIT)?;
        if !status.success() {
            bail!("`dawn serve` ended with {status}\n{}", process::tail(&self.daemon_log()));
        }
        Ok(())
    }

    fn define_network(&self) -> Result<()> {
        let (keys, server) = (format!("net=10.77.0.0,mask={MASK}"), format!("networks.tftpserver={SERVER}"));
        // `dawn init` has made the row under another name.
        self.dawn(["chtab", &keys, "networks.netname=cluster", "networks.mgtifname=br0", &server])?;
        self.dawn(["makedhcp", "-n"]).map(drop)
    }

    /// Defines nodes in the tables, runs makedhcp, sets what they boot, and builds their machines.
    pub fn add_nodes(&mut self, definitions: &[Definition]) -> Result<()> {
        for definition in definitions {
            self.define(definition)?;
            self.add_machine(definition.hardware.clone())?;
        }
        Ok(())
    }

    /// Builds a machine that the tables do not know.
    pub fn add_machine(&mut self, hardware: Hardware) -> Result<()> {
        let dir = self.options.dir.join("nodes").join(&hardware.name);
        let sockets = paths::sockets().join(&self.options.name);
        let mut node = Node::create(hardware, &self.network, &dir, &sockets)?;
        node.set_capture(self.options.capture);
        self.nodes.push(node);
        Ok(())
    }

    fn define(&self, Definition { hardware, image }: &Definition) -> Result<()> {
        let name = &hardware.name;
        let (ip, mac) = (format!("ip={}", hardware.ip), format!("mac={}", hardware.mac));
        let attributes = ["groups=compute,all", "arch=x86_64", "mgt=ipmi", "netboot=xnba", &ip, &mac];
        let console = ["serialport=0", "serialspeed=115200", KERNEL_WORDS];
        self.dawn([&["mkdef", "-f", "-t", "node", "-o", name], &attributes[..], &console[..]].concat())?;
        self.dawn(["makedhcp", name])?;
        self.dawn(["nodeset", name, &format!("osimage={image}")]).map(drop)
    }

    /// A node by name.
    pub fn node(&self, name: &str) -> Result<&Node> {
        self.nodes.iter().find(|node| node.name() == name).with_context(|| format!("no machine `{name}`"))
    }

    /// All nodes.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Switches a machine on.
    pub fn power_on(&mut self, name: &str) -> Result<()> {
        let (network, accel) = (&self.network, self.accel);
        let node = self.nodes.iter_mut().find(|node| node.name() == name);
        node.with_context(|| format!("no machine `{name}`"))?.power_on(network, accel)
    }

    /// Pulls a machine's plug.
    pub fn power_off(&mut self, name: &str) -> Result<()> {
        let node = self.nodes.iter_mut().find(|node| node.name() == name);
        node.with_context(|| format!("no machine `{name}`"))?.power_off()
    }

    /// The environment a command needs to reach this cluster's daemon from outside of the namespace.
    pub fn environment(&self) -> [(&'static str, String); 2] {
        let host = format!("{}:3001", self.network.inside_address());
        [("HOME", self.options.dir.join("home").display().to_string()), ("XCATHOST", host)]
    }

    fn dawn_command(&self) -> Command {
        let mut command = self.network.command(&self.options.dawn);
        command.env("HOME", self.options.dir.join("home")).env_remove("XCATHOST");
        command
    }

    /// Runs a management command inside the namespace; a status other than zero is an error.
    pub fn dawn<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Result<String> {
        let result = process::run(self.dawn_command().args(args));
        result.with_context(|| process::tail(&self.daemon_log()))
    }

    /// Runs a management command inside the namespace and returns its output and exit code.
    pub fn dawn_output<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Result<Output> {
        process::output(self.dawn_command().args(args))
    }

    /// A management command that runs outside of the namespace and so has the outside network, over the link.
    pub fn outside_command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(&self.options.dawn);
        command.args(args).envs(self.environment());
        command
    }

    /// Whether every machine runs.
    pub fn all_on(&mut self) -> Result<bool> {
        self.nodes.iter_mut().try_fold(true, |all, node| Ok(all && node.is_on()?))
    }

    /// The node's `status` attribute, empty if it has none.
    pub fn status(&self, name: &str) -> Result<String> {
        let text = self.dawn(["lsdef", "-t", "node", "-o", name, "-i", "status"])?;
        let value = text.lines().find_map(|line| line.trim().strip_prefix("status="));
        Ok(value.unwrap_or_default().to_owned())
    }

    /// Waits until the appliance knows `status` of a node, which is the machine of the same name.
    pub fn wait_for_status(&mut self, name: &str, status: &str, limit: Duration) -> Result<()> {
        self.wait_for_status_of(name, name, status, limit)
    }

    /// Waits until the appliance knows `status` of a node; `machine` is the machine that is the node.
    pub fn wait_for_status_of(
        &mut self,
        node: &str,
        machine: &str,
        status: &str,
        limit: Duration,
    ) -> Result<()> {
        let mut last = String::new();
        let mut died = false;
        let seen = wait::until(limit, || {
            last = self.status(node)?;
            died = !self.is_on(machine)?;
            Ok((last == status || died).then_some(last == status))
        })?;
        match seen {
            Some(true) => Ok(()),
            Some(false) => bail!("{node}: the machine went off\n{}", self.evidence(machine)),
            None => {
                let seconds = limit.as_secs();
                bail!("{node}: not `{status}` within {seconds} s but `{last}`\n{}", self.evidence(machine))
            }
        }
    }

    fn is_on(&mut self, name: &str) -> Result<bool> {
        self.nodes.iter_mut().find(|node| node.name() == name).map_or(Ok(false), Node::is_on)
    }

    /// Forgets the node's status, so that the next boot's can be waited for.
    pub fn clear_status(&self, name: &str) -> Result<()> {
        self.dawn(["chdef", "-t", "node", "-o", name, "status="]).map(drop)
    }

    /// Ends of the console and of the daemon's log.
    pub fn evidence(&self, name: &str) -> String {
        let console = self.node(name).map(Node::console_tail).unwrap_or_default();
        format!("{console}{}", process::tail(&self.daemon_log()))
    }

    /// The node's events since the daemon's start.
    pub fn events(&self, name: &str) -> Result<Vec<BootEvent>> {
        events::parse(&self.dawn(["events", name, "--json"])?)
    }

    /// The good end of a test: the daemon must stop cleanly, and nothing is left.
    pub fn down(mut self) -> Result<()> {
        self.nodes.clear();
        if self.daemon.is_some() {
            self.stop_daemon()?;
        }
        let dir = self.options.dir.clone();
        let keep = self.options.keep_dir;
        self.options.keep_dir = true;
        drop(self);
        if !keep {
            fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
        }
        Ok(())
    }

    /// Lets daemon and machines run on without this process.
    pub fn leave_running(self) {
        std::mem::forget(self);
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.nodes.clear();
        self.daemon = None;
        let _ = fs::remove_dir_all(paths::sockets().join(&self.options.name));
        if !self.options.keep_dir {
            eprintln!("logs and consoles are kept in {} until the next run", self.options.dir.display());
        }
    }
}
