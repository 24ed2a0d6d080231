//! The boot, step by step. A step that fails ends in [`rescue::give_up`].

use std::fs;
use std::net::Ipv4Addr;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use dawn_wire::{image, status as word};
use rustix::mount::MountFlags;

use crate::cmdline::{Cmdline, Root, mac_text};
use crate::dhcp::Lease;
use crate::error::{Error, Result};
use crate::handover::{self, Facts};
use crate::lease::{self, Client};
use crate::log;
use crate::modules::Loader;
use crate::nic::{self, Nic};
use crate::rescue;
use crate::resolve::resolve;
use crate::stateless::{self, Writable};
use crate::statelite::{self, Image};
use crate::status;
use crate::sys;

/// Where the new root is built.
pub const ROOT: &str = "/sysroot";

/// Wait for the boot interface to appear, in seconds.
const NIC_SECONDS_MAX: u64 = 120;
/// Wait for its link, in seconds; DHCP is tried even without one.
const LINK_SECONDS_MAX: u64 = 30;
/// Pause between two looks, in milliseconds.
const LOOK_PAUSE_MS: u64 = 100;
/// How often waiting is told, in seconds.
const TELL_SECONDS: u64 = 10;
/// How long the hand-over waits for a status report under way, in seconds.
const REPORT_SECONDS_MAX: u64 = 3;

/// Boots the node; comes back never.
pub fn run() -> ! {
    let mounted = mount_kernel_filesystems();
    log::open();
    rescue::catch_panics();
    log::step(&format!("dawn-init {} on Linux {}", env!("CARGO_PKG_VERSION"), kernel_release()));
    if let Err(error) = mounted {
        rescue::give_up(&error.to_string(), false, ROOT);
    }
    let line = Cmdline::parse(&fs::read_to_string("/proc/cmdline").unwrap_or_default());
    log::set_debug(line.debug);
    for complaint in &line.complaints {
        log::problem(&format!("kernel line: {complaint}"));
    }
    let error = match boot(&line) {
        Ok(never) => match never {},
        Err(error) => error,
    };
    rescue::give_up(&error.to_string(), line.shell, ROOT);
}

fn boot(line: &Cmdline) -> Result<std::convert::Infallible> {
    if line.root == Root::Missing {
        return Err(Error::Cmdline(
            "no root: neither imgurl=http://… nor NFSROOT=server:/dir is given".to_owned(),
        ));
    }
    let mut loader = Loader::open(&line.blacklist);
    let (nic, lease) = network(line, &mut loader)?;
    let node = node_name(line, &lease, &nic);
    let server = line.server.as_deref().map(|host| resolve(host, &lease)).transpose();
    let server = server.unwrap_or_else(|error| {
        log::problem(&format!("{error}; no status reports"));
        None
    });
    let status = server.filter(|_| line.report_status).map(|server| (server, line.status_port));
    let root_on_network = matches!(line.root, Root::Nfs { .. });
    let facts = Facts { node, nic, lease, status, root_on_network };
    let report = status.map(|(server, port)| report_in_background(server, port, word::NETBOOTING));
    enter_root(line, &facts, server, report, &mut loader).inspect_err(|error| {
        if let Some((server, port)) = status {
            log::remember(&error.to_string());
            status::report_troubles(server, port);
            status::report_once(server, port, word::FAILED);
        }
    })
}

/// Everything after the network is up: from here on the management node learns of a failure.
fn enter_root(
    line: &Cmdline,
    facts: &Facts,
    server: Option<Ipv4Addr>,
    report: Option<JoinHandle<bool>>,
    loader: &mut Loader,
) -> Result<std::convert::Infallible> {
    build_root(line, facts, server, loader)?;
    if let Some((server, port)) = facts.status {
        status::report_troubles(server, port);
    }
    handover::prepare(facts)?;
    handover::name_node(facts, ROOT);
    handover::warn_without_systemd(ROOT);
    let init = handover::find_init(ROOT, line.init.as_deref())?;
    if line.shell {
        rescue::shell(ROOT);
    }
    if let Some(report) = report {
        wait_for(&report);
    }
    log::step(&format!("root ready, {init} takes over"));
    handover::switch_root(ROOT, &init)
}

fn build_root(line: &Cmdline, facts: &Facts, server: Option<Ipv4Addr>, loader: &mut Loader) -> Result<()> {
    match &line.root {
        Root::Missing => Ok(()),
        Root::Image(url) => {
            if line.local_disk {
                log::problem(
                    "local disk layout is not supported yet for roots in memory; going on without it",
                );
            }
            let writable = Writable { limit: line.root_limit.as_deref(), flags: line.root_flags.as_deref() };
            if url.file_name() == image::PACKED_STATELITE {
                let image = Image::Archive(url, writable);
                return statelite::build(&statelite::Wish { line, facts, server, image }, loader, ROOT);
            }
            stateless::build(url, &|host| resolve(host, &facts.lease), writable, loader, ROOT)
        }
        Root::Nfs { remote, options } => {
            let image = Image::Shared(remote, options);
            statelite::build(&statelite::Wish { line, facts, server, image }, loader, ROOT)
        }
    }
}

fn mount_kernel_filesystems() -> Result<()> {
    let hidden = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    for dir in ["/proc", "/sys", "/dev", "/run"] {
        sys::make_dirs(dir)?;
    }
    sys::mount("proc", "/proc", "proc", hidden, "")?;
    sys::mount("sysfs", "/sys", "sysfs", hidden, "")?;
    sys::mount("devtmpfs", "/dev", "devtmpfs", MountFlags::NOSUID, "mode=755")?;
    sys::mount("tmpfs", "/run", "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, "mode=755")
}

fn kernel_release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// Drivers, boot interface, link, lease.
fn network(line: &Cmdline, loader: &mut Loader) -> Result<(Nic, Lease)> {
    let candidates = wait_for_nics(line, loader)?;
    if let Err(error) = nic::up("lo") {
        log::problem(&error.to_string());
    }
    for nic in &candidates {
        nic.up()?;
        log::step(&format!("boot interface {} {} ({})", nic.name, mac_text(&nic.mac), nic.driver()));
    }
    let linked = wait_for_link(&candidates);
    let boot_server = line.server.as_deref().and_then(lease::literal);
    let mut last = None;
    for nic in linked {
        match Client::open(&nic).and_then(|mut client| client.acquire(boot_server)) {
            Ok(lease) => {
                nic.configure(&lease)?;
                tell_lease(&nic, &lease);
                return Ok((nic, lease));
            }
            Err(error) => {
                log::problem(&error.to_string());
                last = Some(error);
            }
        }
    }
    Err(last.unwrap_or_else(|| no_nic(line, &[])))
}

fn tell_lease(nic: &Nic, lease: &Lease) {
    let router = lease.router.map_or_else(|| "no router".to_owned(), |router| format!("router {router}"));
    log::step(&format!(
        "DHCP: {} has {}/{} from {}, {router}, lease {} s",
        nic.name, lease.address, lease.prefix, lease.server, lease.lease_seconds
    ));
}

fn no_nic(line: &Cmdline, present: &[Nic]) -> Error {
    Error::NoNic { wanted: line.nic.to_string(), present: nic::describe(present) }
}

/// Loads drivers until the wanted interface is there; a slow bus shows its devices late.
fn wait_for_nics(line: &Cmdline, loader: &mut Loader) -> Result<Vec<Nic>> {
    let started = Instant::now();
    let mut told = 0;
    loop {
        let new = loader.coldplug();
        let present = nic::present();
        let found = nic::matching(&line.nic, &present);
        if !found.is_empty() {
            return Ok(found);
        }
        let waited = started.elapsed().as_secs();
        if waited >= NIC_SECONDS_MAX {
            return Err(no_nic(line, &present));
        }
        if waited >= told + TELL_SECONDS {
            told = waited;
            log::problem(&format!("{}; waiting since {waited} s", no_nic(line, &present)));
        }
        if new == 0 {
            sys::pause(Duration::from_millis(LOOK_PAUSE_MS));
        }
    }
}

/// Interfaces with a link, or all of them when none gets one in time.
fn wait_for_link(nics: &[Nic]) -> Vec<Nic> {
    let deadline = Instant::now() + Duration::from_secs(LINK_SECONDS_MAX);
    loop {
        let linked: Vec<Nic> = nics.iter().filter(|nic| nic.has_link()).cloned().collect();
        if !linked.is_empty() {
            return linked;
        }
        if Instant::now() >= deadline {
            log::problem(&format!(
                "no link after {LINK_SECONDS_MAX} s (cable, switch port?); trying DHCP anyway"
            ));
            return nics.to_vec();
        }
        sys::pause(Duration::from_millis(LOOK_PAUSE_MS));
    }
}

fn node_name(line: &Cmdline, lease: &Lease, nic: &Nic) -> String {
    let named = line.node.clone().or_else(|| lease.hostname.clone());
    let name = named.unwrap_or_else(|| {
        let plain = mac_text(&nic.mac).replace(':', "");
        log::problem("neither NODE= nor the DHCP lease names this node");
        format!("node{plain}")
    });
    name.split('.').next().unwrap_or_default().to_owned()
}

fn report_in_background(server: Ipv4Addr, port: u16, word: &'static str) -> JoinHandle<bool> {
    std::thread::spawn(move || status::report(server, port, word))
}

fn wait_for(report: &JoinHandle<bool>) {
    let deadline = Instant::now() + Duration::from_secs(REPORT_SECONDS_MAX);
    while !report.is_finished() && Instant::now() < deadline {
        sys::pause(Duration::from_millis(LOOK_PAUSE_MS));
    }
}
