//! The boot, step by step. A step that fails ends in [`rescue::give_up`].

use std::fs;
use std::net::Ipv4Addr;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use dawn_wire::{image, status as word};
use rustix::mount::MountFlags;

use crate::cmdline::{Cmdline, Root, mac_text};
use crate::dhcp::Lease;
use crate::discover;
use crate::error::{Error, Result};
use crate::handover::{self, Facts, Manager};
use crate::log;
use crate::modules::Loader;
use crate::network;
use crate::nic::Nic;
use crate::rescue;
use crate::resolve::resolve;
use crate::stateless::{self, Writable};
use crate::statelite::{self, Image};
use crate::status;
use crate::sys;

/// Where the new root is built.
pub(crate) const ROOT: &str = "/sysroot";

/// Pause between two looks, in milliseconds.
const LOOK_PAUSE_MS: u64 = 100;
/// How long the hand-over waits for a status report under way, in seconds.
const REPORT_SECONDS_MAX: u64 = 3;

/// Boots the node; comes back never.
pub(crate) fn run() -> ! {
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
    if line.root == Root::Missing && discover::is_meant(line) {
        return discover::run(line, &mut Loader::open(&line.blacklist));
    }
    if line.root == Root::Missing {
        return Err(Error::Cmdline(
            "no root: neither imgurl=http://… nor NFSROOT=server:/dir is given".to_owned(),
        ));
    }
    let mut loader = Loader::open(&line.blacklist);
    let (nic, lease) = network::bring_up(line, &mut loader)?;
    let node = node_name(line, &lease, &nic);
    let server = line.server.as_deref().map(|host| resolve(host, &lease)).transpose();
    let server = server.unwrap_or_else(|error| {
        log::problem(&format!("{error}; no status reports"));
        None
    });
    let manager = server.map(|address| Manager {
        address,
        http_port: line.http_port,
        status_port: line.status_port,
        wants_reports: line.report_status,
    });
    let root_on_network = matches!(line.root, Root::Nfs { .. });
    let facts = Facts { node, nic, lease, manager, root_on_network };
    let status = facts.status();
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
    if let Some((server, port)) = facts.status() {
        status::report_troubles(server, port);
    }
    handover::prepare(facts)?;
    handover::name_node(facts, ROOT);
    let init = handover::find_init(ROOT, line.init.as_deref())?;
    if line.shell {
        rescue::shell(ROOT);
    }
    if let Some(report) = report {
        wait_for(&report);
    }
    log::step(&format!("root ready, {init} takes over"));
    handover::switch_root(ROOT, &init, facts)
}

fn build_root(line: &Cmdline, facts: &Facts, server: Option<Ipv4Addr>, loader: &mut Loader) -> Result<()> {
    match &line.root {
        Root::Missing => Ok(()),
        Root::Image(url) => {
            if line.local_disk {
                log::problem(
                    "local disk layout is not supported yet for roots in memory; continuing without it",
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
