//! The last steps: what the new root must know about the boot, and giving it control.
//!
//! The image needs no changes. Everything that a stateless or read-only root needs to know is put under
//! `/run` (which is moved into the root): a copy of this program, the lease, systemd units that run the post
//! scripts and renew the lease, and drop-ins that keep network managers away from the boot interface where it
//! carries the root. A system without systemd gets both as processes that are started next to its init.
//! `/etc/hostname` and `/etc/resolv.conf` are written where the root can be written, else bind mounted.

use std::convert::Infallible;
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::cmdline::mac_text;
use crate::dhcp::Lease;
use crate::error::{Error, Result};
use crate::inroot;
use crate::log;
use crate::nic::Nic;
use crate::sys;

/// Where this program and its knowledge live in the running system.
pub(crate) const RUN_DIR: &str = "/run/dawn";
/// The copy of this program.
pub(crate) const RUN_INIT: &str = "/run/dawn/init";

const UNIT_DIR: &str = "/run/systemd/system";
const BOOTED_UNIT: &str = "dawn-booted.service";
const RENEW_UNIT: &str = "dawn-renew.service";
/// Programs that may take over, in order.
const INIT_PROGRAMS: [&str; 4] = ["/sbin/init", "/etc/init", "/bin/init", "/lib/systemd/systemd"];
/// Mounts that move into the root.
const MOVED: [&str; 4] = ["/dev", "/proc", "/sys", "/run"];

/// What the running system needs to know.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    /// Name of this node.
    pub node: String,
    /// Boot interface.
    pub nic: Nic,
    /// Its lease.
    pub lease: Lease,
    /// The server, if the kernel line names one.
    pub manager: Option<Manager>,
    /// The root depends on the boot interface, which must not be touched.
    pub root_on_network: bool,
}

/// The server of this node.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manager {
    /// Its address.
    pub address: Ipv4Addr,
    /// Where it serves files.
    pub http_port: u16,
    /// Where it receives reports of nodes.
    pub status_port: u16,
    /// It wants reports of this one.
    pub wants_reports: bool,
}

impl Facts {
    /// Address and port for status reports, if reports are wanted.
    pub(crate) fn status(&self) -> Option<(Ipv4Addr, u16)> {
        let manager = self.manager.filter(|manager| manager.wants_reports);
        manager.map(|manager| (manager.address, manager.status_port))
    }
}

/// Prepares `/run` for the new root.
pub(crate) fn prepare(facts: &Facts) -> Result<()> {
    sys::make_dirs(RUN_DIR)?;
    fs::copy("/proc/self/exe", RUN_INIT).map_err(|cause| Error::file("write", RUN_INIT, cause))?;
    sys::write_file(&format!("{RUN_DIR}/lease"), &lease_text(facts))?;
    unit(RENEW_UNIT, &renew_unit())?;
    if facts.manager.is_some() {
        unit(BOOTED_UNIT, &booted_unit())?;
    }
    keep_network_managers_away(facts)?;
    let servers: Vec<String> = facts.lease.dns.iter().map(ToString::to_string).collect();
    let domain = facts.lease.domain.as_deref().unwrap_or_default();
    if servers.is_empty() {
        return Ok(());
    }
    let text = format!("[Resolve]\nDNS={}\nDomains={domain}\n", servers.join(" "));
    sys::write_file("/run/systemd/resolved.conf.d/dawn.conf", &text)
}

fn unit(name: &str, text: &str) -> Result<()> {
    sys::write_file(&format!("{UNIT_DIR}/{name}"), text)?;
    let wants = format!("{UNIT_DIR}/multi-user.target.wants");
    sys::make_dirs(&wants)?;
    let link = format!("{wants}/{name}");
    match std::os::unix::fs::symlink(format!("../{name}"), &link) {
        Err(cause) if cause.kind() != io::ErrorKind::AlreadyExists => Err(Error::file("create", link, cause)),
        _ => Ok(()),
    }
}

/// Keeps units of the image from being started (systemd.unit(5), "masked").
pub(crate) fn mask(units: &[&str]) {
    let made = sys::make_dirs(UNIT_DIR);
    for unit in units {
        let link = format!("{UNIT_DIR}/{unit}");
        if let Err(cause) = std::os::unix::fs::symlink("/dev/null", &link) {
            log::debug(&format!("cannot mask {unit}: {cause}"));
        }
    }
    if let Err(error) = made {
        log::problem(&error.to_string());
    }
}

/// Without default dependencies the unit may be wanted by the target it waits for. It waits, because a post
/// script that starts or restarts a service of the image would wait for the boot otherwise, and the boot for
/// it. A script may leave a service behind, so only the agent itself is ended with the unit.
fn booted_unit() -> String {
    format!(
        "[Unit]\nDescription=Run the post scripts and report to the management node that this node is up\n\
         DefaultDependencies=no\nAfter=multi-user.target\nIgnoreOnIsolate=yes\n\n[Service]\nType=oneshot\n\
         RemainAfterExit=yes\nKillMode=process\nExecStart={RUN_INIT} boot\nStandardOutput=journal+console\n"
    )
}

fn renew_unit() -> String {
    format!(
        "[Unit]\nDescription=Keep the address this node booted with\nDefaultDependencies=no\n\
         IgnoreOnIsolate=yes\n\n[Service]\nExecStart={RUN_INIT} renew\nRestart=on-failure\nRestartSec=30\n"
    )
}

/// One fact per line; read back by the modes `report` and `renew`.
fn lease_text(facts: &Facts) -> String {
    let lease = &facts.lease;
    let mut text = format!(
        "NODE={}\nNIC={}\nMAC={}\nADDRESS={}\nPREFIX={}\nDHCPSERVER={}\nLEASE={}\nT1={}\nT2={}\nOBTAINED_MS={}\n",
        facts.node,
        facts.nic.name,
        mac_text(&facts.nic.mac),
        lease.address,
        lease.prefix,
        lease.server,
        lease.lease_seconds,
        lease.t1_seconds,
        lease.t2_seconds,
        log::uptime_ms(),
    );
    if let Some(Manager { address, http_port, status_port, .. }) = facts.manager {
        text.push_str(&format!("MANAGER={address}:{status_port}\nHTTPPORT={http_port}\n"));
    }
    if let Some((server, port)) = facts.status() {
        text.push_str(&format!("STATUS={server}:{port}\n"));
    }
    text
}

fn keep_network_managers_away(facts: &Facts) -> Result<()> {
    let mac = mac_text(&facts.nic.mac);
    // A root in memory may be reconfigured by the image's own files, which sort before `zz-`.
    let rank = if facts.root_on_network { "00" } else { "zz" };
    let text = format!("[Match]\nMACAddress={mac}\n\n[Link]\nUnmanaged=yes\n");
    sys::write_file(&format!("/run/systemd/network/{rank}-dawn.network"), &text)?;
    if facts.root_on_network {
        let text = format!("[keyfile]\nunmanaged-devices+=mac:{mac}\n");
        sys::write_file("/run/NetworkManager/conf.d/dawn.conf", &text)?;
    }
    Ok(())
}

/// Host name and name servers, visible inside the root.
pub(crate) fn name_node(facts: &Facts, root: &str) {
    if let Err(cause) = rustix::system::sethostname(facts.node.as_bytes()) {
        log::problem(&format!("cannot set the host name {}: {cause}", facts.node));
    }
    give_file(root, "etc/hostname", &format!("{}\n", facts.node));
    let mut resolv = String::new();
    if let Some(domain) = &facts.lease.domain {
        resolv.push_str(&format!("search {domain}\n"));
    }
    for server in &facts.lease.dns {
        resolv.push_str(&format!("nameserver {server}\n"));
    }
    if !facts.lease.dns.is_empty() {
        give_file(root, "etc/resolv.conf", &resolv);
    }
    if !facts.root_on_network && is_without_statelite(root) {
        let present = fs::read_to_string(format!("{root}/etc/hosts")).unwrap_or_default();
        let (domain, address) = (facts.lease.domain.as_deref(), facts.lease.address);
        if let Some(text) = hosts_with(&present, &facts.node, domain, address) {
            give_file(root, "etc/hosts", &text);
        }
    }
}

/// No statelite entry has come into this root. Where they have, the tables decide the content of
/// `/etc/hosts`.
fn is_without_statelite(root: &str) -> bool {
    fs::read_dir(format!("{root}/.statelite")).map_or(true, |mut list| list.next().is_none())
}

/// The hosts file with a line for the node itself, which must find its own name without a name server; `None`
/// if it has one.
fn hosts_with(present: &str, node: &str, domain: Option<&str>, address: Ipv4Addr) -> Option<String> {
    let names = |line: &str| -> bool {
        let line = line.split('#').next().unwrap_or_default();
        line.split_whitespace().skip(1).any(|word| word == node)
    };
    if present.lines().any(names) {
        return None;
    }
    let full = domain.map(|domain| format!("{node}.{domain} ")).unwrap_or_default();
    let end = if present.is_empty() || present.ends_with('\n') { "" } else { "\n" };
    Some(format!("{present}{end}{address} {full}{node}\n"))
}

/// Writes a file of the root; a read-only root gets it bind mounted from `/run`. A symbolic link is left
/// alone: it belongs to a service of the image, which has its own drop-in. Links to the node's own files are
/// followed.
fn give_file(root: &str, name: &str, text: &str) {
    let mut path = format!("{root}/{name}");
    if fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_symlink()) {
        let target = inroot::follow(root, name);
        let Some(own) = target.filter(|target| target.starts_with(&format!("{root}/.statelite/"))) else {
            log::debug(&format!("/{name} is a link in the image and stays as it is"));
            return;
        };
        path = own;
    }
    if fs::write(&path, text).is_ok() {
        return;
    }
    let source = format!("{RUN_DIR}/{}", name.replace('/', "-"));
    let result = sys::write_file(&source, text).and_then(|()| sys::bind(&source, &path));
    if let Err(error) = result {
        log::problem(&format!("/{name} of the root keeps its old content: {error}"));
    }
}

/// Whether the program that takes over is systemd, which starts the units under `/run`.
fn is_systemd(root: &str, init: &str) -> bool {
    inroot::follow(root, init).is_some_and(|program| program.ends_with("/systemd"))
}

/// What systemd would start from the units, for other systems: processes next to the root's init, which
/// becomes process 1 and takes them over. The agent waits for the system by itself. No other way works with
/// every init: its own configuration is in the image, which is not changed.
fn start_beside_init(facts: &Facts) {
    let agent: &[&str] = &["boot", "wait"];
    for mode in facts.manager.map(|_| agent).into_iter().chain([&["renew"][..]]) {
        let mut command = std::process::Command::new(RUN_INIT);
        if let Err(cause) = command.args(mode).env_clear().stdin(std::process::Stdio::null()).spawn() {
            log::problem(&format!("cannot start {RUN_INIT} {}: {cause}", mode.join(" ")));
        }
    }
}

/// Program that takes over, as a path inside the root.
pub(crate) fn find_init(root: &str, asked: Option<&str>) -> Result<String> {
    let candidates: Vec<&str> = asked.into_iter().chain(INIT_PROGRAMS).collect();
    for candidate in &candidates {
        let path = format!("{root}{candidate}");
        // A link with an absolute target is resolved in the root, later; here its existence is enough.
        if fs::symlink_metadata(&path).is_ok() {
            return Ok((*candidate).to_owned());
        }
        log::debug(&format!("{candidate} is not in the root"));
    }
    Err(Error::Image(format!("the root has no init program (looked for {})", candidates.join(", "))))
}

/// Gives control to the root's init. Returns only on failure.
pub(crate) fn switch_root(root: &str, init: &str, facts: &Facts) -> Result<Infallible> {
    let has_units = is_systemd(root, init);
    for dir in MOVED {
        let target = format!("{root}{dir}");
        if let Err(error) = sys::move_mount(dir, &target) {
            log::problem(&error.to_string());
        }
    }
    let old = fs::File::open("/").map_err(|cause| Error::file("open", "/", cause))?;
    rustix::process::chdir(root).map_err(|cause| Error::file("enter", root, cause))?;
    empty_initramfs(root);
    sys::move_mount(".", "/")?;
    rustix::process::chroot(".").map_err(|cause| Error::file("change root to", root, cause))?;
    rustix::process::chdir("/").map_err(|cause| Error::file("enter", "/", cause))?;
    drop(old);
    if !has_units {
        start_beside_init(facts);
    }
    exec(init)
}

/// Gives the initramfs' memory back. Only files on its own file system are deleted.
fn empty_initramfs(root: &str) {
    let Ok(meta) = fs::metadata("/") else { return };
    let keep = Path::new(root);
    for entry in fs::read_dir("/").into_iter().flatten().flatten() {
        if entry.path() != keep {
            remove(&entry.path(), meta.dev());
        }
    }
}

fn remove(path: &Path, device: u64) {
    let Ok(meta) = fs::symlink_metadata(path) else { return };
    if meta.dev() != device {
        return;
    }
    if meta.is_dir() {
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            remove(&entry.path(), device);
        }
        let _ = fs::remove_dir(path);
    } else {
        let _ = fs::remove_file(path);
    }
}

fn exec(program: &str) -> Result<Infallible> {
    use std::os::unix::process::CommandExt;
    let cause = std::process::Command::new(program).env_clear().env("TERM", "linux").exec();
    Err(Error::file("run", program, cause))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_finds_its_own_name() {
        let with = |present: &str, domain| hosts_with(present, "cn1", domain, [10, 1, 0, 11].into());
        assert_eq!(with("", None).as_deref(), Some("10.1.0.11 cn1\n"));
        assert_eq!(
            with("127.0.0.1 localhost # cn1", Some("c.example")).as_deref(),
            Some("127.0.0.1 localhost # cn1\n10.1.0.11 cn1.c.example cn1\n")
        );
        assert_eq!(with("10.1.0.12 cn1.c.example cn1\n", None), None);
        // An address is not a name, and cn11 is another node.
        assert!(with("cn1 x\n10.1.0.21 cn11\n", None).is_some());
    }
}
