//! Checks of this machine: directories, certificates, ports, room, loaders, addresses and networks.

use super::{Finding, Site};
use crate::builder::report;
use dawn_bootd::Ports;
use dawn_bootd::address;
use dawn_bootd::closed_files;
use dawn_bootd::held_ports::{Transport, Wanted, held};
use dawn_bootd::loaders;
use dawn_bootd::patience::AwayState;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// Free bytes of the data directory below which the daemon is about to fail, and below which an administrator
/// should look.
const SPACE_MIN: u64 = 100 << 20;
const SPACE_LOW: u64 = 2 << 30;
/// Memory in KiB that should be available; the daemon takes a quarter of the machine's at most.
const MEMORY_LOW_KIB: u64 = 256 << 10;

pub(super) fn data_directory(site: &Site<'_>) -> Vec<Finding> {
    let data = site.data.display();
    let init = format!("make it: `dawn init --data {data} --master ADDRESS --domain DOMAIN`");
    let missing = ["ca", "cert", "tftpboot"].into_iter().find(|name| !site.data.join(name).exists());
    vec![match missing {
        _ if !site.data.is_dir() => Finding::failed(format!("there is no data directory {data}"), init),
        Some(name) => Finding::failed(format!("the data directory {data} has no {name}"), init),
        None => Finding::ok(format!("data directory {data}")),
    }]
}

/// The files with passwords and keys are root's alone.
pub(super) fn closed_files(site: &Site<'_>) -> Vec<Finding> {
    let open = closed_files::warning(&site.data);
    open.into_iter().map(|text| Finding::warn(text, closed_files::CURE)).collect()
}

pub(super) fn client_certificate(site: &Site<'_>) -> Vec<Finding> {
    let home = site.environment.home().join(".xcat");
    let own = std::fs::read(home.join("ca.pem")).ok();
    let authority = std::fs::read(dawn_xcatd::certificates::Authority::new(&site.data).ca_certificate()).ok();
    let init = format!("make one: `dawn init --data {}`", site.data.display());
    vec![match (own, authority) {
        (None, _) => Finding::failed(format!("you have no certificate in {}", home.display()), init),
        (Some(own), Some(authority)) if own != authority => Finding::failed(
            format!("your certificate in {} is of another data directory", home.display()),
            init,
        ),
        _ => Finding::ok(format!("certificate in {}", home.display())),
    }]
}

pub(super) fn daemon(site: &Site<'_>) -> Vec<Finding> {
    vec![match &site.daemon {
        Ok(lines) => Finding::ok(format!("the daemon answers: {}", lines.join(" "))),
        Err(error) => Finding::failed(
            format!("the daemon does not answer: {}", error.reason()),
            "`systemctl enable --now dawn` starts it; `journalctl -u dawn` says why it does not run",
        ),
    }]
}

/// Whether the daemon has its database.
pub(super) fn database(site: &Site<'_>) -> Vec<Finding> {
    #[derive(Deserialize)]
    struct Database {
        away: Option<AwayState>,
    }
    #[derive(Deserialize)]
    struct Fact {
        database: Database,
    }
    if !site.is_served() {
        return Vec::new();
    }
    let facts: Vec<Fact> = report(site.environment, "lsxcatd", &["-d"]).unwrap_or_default();
    let cure = "start the database server; changes wait for it or fail until then (docs/databases.md)";
    let states = facts.into_iter().filter_map(|fact| fact.database.away);
    states
        .map(|away| {
            let finding = Finding::failed(away.to_string(), cure);
            finding.with("away_seconds", away.seconds).with("reason", away.reason).with("change", away.change)
        })
        .collect()
}

/// Ports that other programs hold; those of a running daemon are its own.
pub(super) fn ports(_: &Site<'_>) -> Vec<Finding> {
    let Ports { dhcp, dns, tftp, http, https, nfs, portmap, xcatd, status } = Ports::default();
    let udp = [dhcp, dns, tftp, portmap].map(|port| Wanted(Transport::Udp, port));
    let tcp = [dns, http, https, nfs, portmap, xcatd, status].map(|port| Wanted(Transport::Tcp, port));
    let cure = "stop that program, or leave the service out with dawn serve --services";
    let held = held(&[udp.as_slice(), &tcp].concat());
    let foreign = held.iter().filter(|held| !held.is_by("dawn"));
    let foreign: Vec<Finding> = foreign.map(|held| Finding::failed(held.to_string(), cure)).collect();
    match foreign.is_empty() {
        true => vec![Finding::ok("no other program holds a port of the services")],
        false => foreign,
    }
}

pub(super) fn space(site: &Site<'_>) -> Vec<Finding> {
    let Ok(disk) = rustix::fs::statvfs(&site.data) else { return Vec::new() };
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let text = format!("{} MiB are free in {}", free >> 20, site.data.display());
    vec![
        match free {
            _ if free < SPACE_MIN => {
                Finding::failed(text, "make room: changes of tables and leases will fail")
            }
            _ if free < SPACE_LOW => Finding::warn(text, "an image takes one to ten GiB"),
            _ => Finding::ok(text),
        }
        .with("free_bytes", free)
        .with("directory", site.data.display().to_string()),
    ]
}

pub(super) fn memory(_: &Site<'_>) -> Vec<Finding> {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    let Some(kib) = kib else { return Vec::new() };
    let text = format!("{} MiB of memory are available", kib >> 10);
    vec![
        match kib < MEMORY_LOW_KIB {
            true => Finding::warn(
                text,
                "give the machine more memory; nodes that boot at once need it for their files",
            ),
            false => Finding::ok(text),
        }
        .with("available_bytes", kib << 10),
    ]
}

pub(super) fn loaders(site: &Site<'_>) -> Vec<Finding> {
    let directory = site.data.join("tftpboot");
    let missing: Vec<&str> = loaders::required().filter(|name| !directory.join(name).is_file()).collect();
    if missing.is_empty() {
        return vec![Finding::ok(format!("loaders for BIOS and UEFI in {}", directory.display()))];
    }
    vec![
        Finding::failed(
            format!("{} has no {}", directory.display(), missing.join(" and no ")),
            format!("install it: `apt install ipxe`, then `dawn init --data {}`", site.data.display()),
        )
        .with("directory", directory.display().to_string())
        .with("missing", missing),
    ]
}

/// `site.master` is an address of this machine.
pub(super) fn master(site: &Site<'_>) -> Vec<Finding> {
    if !site.is_served() {
        return Vec::new();
    }
    let Some(master) = site.setting("master") else {
        return vec![Finding::warn(
            "site.master is not set: each node gets the address on which this machine answers it",
            "set one: `dawn chdef -t site master=ADDRESS`",
        )];
    };
    let own = address::of_this_machine().unwrap_or_default();
    let found = master.parse::<Ipv4Addr>().ok().and_then(|wanted| {
        own.iter().find(|local| local.address == wanted).map(|local| local.interface.clone())
    });
    vec![match found {
        Some(interface) => Finding::ok(format!("site.master {master} is on {interface}")),
        None => Finding::failed(
            format!("site.master {master} is not an address of this machine"),
            format!(
                "`ip addr add {master}/BITS dev INTERFACE` gives it to this machine, `dawn chdef -t site master=ADDRESS` sets another one"
            ),
        ),
    }]
}

/// What DHCP cannot do of what the tables ask.
pub(super) fn networks(site: &Site<'_>) -> Vec<Finding> {
    if !site.is_served() {
        return Vec::new();
    }
    let cure = "docs/dhcp.md; dawn lsdef -t network -l shows the networks";
    match site.answer(None, &["makedhcp", "-n"]).map(|(lines, warnings)| [lines, warnings].concat()) {
        Ok(lines) if lines.is_empty() => vec![Finding::ok("DHCP can do what the tables ask")],
        Ok(lines) => lines.into_iter().map(|line| Finding::warn(line, cure)).collect(),
        Err(error) => vec![Finding::failed(error.reason(), cure)],
    }
}

pub(super) fn password(site: &Site<'_>) -> Vec<Finding> {
    if !site.is_served() {
        return Vec::new();
    }
    let rows: Vec<BTreeMap<String, String>> =
        report(site.environment, "tabdump", &["passwd"]).unwrap_or_default();
    vec![match rows.iter().any(|row| row.get("key").is_some_and(|key| key == "system")) {
        true => Finding::ok("a password for root of the images is set"),
        false => Finding::warn(
            "no password for root of the images is set: only ssh keys let you in",
            "set one: `dawn chtab key=system passwd.username=root passwd.password=HASH`",
        ),
    }]
}
