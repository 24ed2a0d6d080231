//! From drivers to a lease: the boot interface, its link, its address.

use std::time::{Duration, Instant};

use crate::cmdline::{Cmdline, mac_text};
use crate::dhcp::Lease;
use crate::error::{Error, Result};
use crate::lease::{self, Client};
use crate::log;
use crate::modules::Loader;
use crate::nic::{self, Nic};
use crate::sys;

/// Wait for the boot interface to appear, in seconds.
const NIC_SECONDS_MAX: u64 = 120;
/// Wait for its link, in seconds; DHCP is tried even without one.
const LINK_SECONDS_MAX: u64 = 30;
/// Pause between two looks, in milliseconds.
const LOOK_PAUSE_MS: u64 = 100;
/// How often waiting is reported, in seconds.
const TELL_SECONDS: u64 = 10;

/// Loads drivers, brings the boot interface up and gets a lease.
pub(crate) fn bring_up(line: &Cmdline, loader: &mut Loader) -> Result<(Nic, Lease)> {
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
