//! The real executable and simulated BMCs: passwords stay inside, and a client that stops stops what has not
//! begun.
//!
//! Traffic stays on loopback. Waits have a bound and end with the condition; nothing is asserted about how
//! long it took.

#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

#[allow(dead_code, reason = "shared with the other tests of the executable")]
mod common;
#[path = "../../hardware/ipmi/tests/support/mod.rs"]
mod support;

use common::{Daemon, Site, wait_for};
use dawn_ipmi::sim::{Bmc, Habits};
use dawn_ipmi::{Credentials, Secret, Seed};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use support::Served;

/// The password of the BMC, and a wrong one.
const PASSWORD: &str = "hunter2-of-bmc";
const WRONG: &str = "hunter2-wrong";

/// A management node and its daemon.
fn start() -> (tempfile::TempDir, Site, Daemon) {
    let directory = tempfile::tempdir().unwrap();
    let site = Site::new(directory.path(), None);
    let daemon = site.start_logged(Some(&directory.path().join("log")));
    (directory, site, daemon)
}

fn commands_log(site: &Site) -> String {
    std::fs::read_to_string(site.data.join("log/commands.log")).unwrap_or_default()
}

fn simulated(seed: u8) -> Served {
    let credentials = Credentials::new("ADMIN", Secret::new(PASSWORD.as_bytes())).unwrap();
    Served::start(Bmc::new(credentials, Habits::default(), Seed([seed; 32])))
}

/// Processes other than this one whose arguments or environment have the text.
fn holders(text: &str) -> Vec<PathBuf> {
    let own = std::process::id().to_string();
    let processes = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let numbered = processes.filter(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.bytes().all(|byte| byte.is_ascii_digit()) && name != own
    });
    let files = numbered.flat_map(|path| ["cmdline", "environ"].map(|file| path.join(file)));
    let has = |bytes: &[u8]| String::from_utf8_lossy(bytes).contains(text);
    files.filter(|file| std::fs::read(file).is_ok_and(|bytes| has(&bytes))).collect()
}

#[test]
fn passwords_stay_inside() {
    let (directory, site, daemon) = start();
    let (good, other) = (simulated(1), simulated(2));
    for (node, bmc, password) in [("cn1", good.address, PASSWORD), ("cn2", other.address, WRONG)] {
        daemon.run(&format!("nodeadd {node} groups=all nodehm.mgt=ipmi"));
        daemon.run(&format!("chdef {node} bmc={bmc} bmcusername=ADMIN bmcpassword={password}"));
    }
    let finished = AtomicBool::new(false);
    let mut told = String::new();
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut found = Vec::new();
            while !finished.load(Ordering::Acquire) && found.is_empty() {
                found = holders("hunter2");
            }
            found
        });
        for line in [
            "rpower all stat",
            "rpower all on -V",
            "rpower all stat --json",
            "rinv all",
            "rvitals all",
            "reventlog all",
            "rspconfig all userid=3 password=hunter2-new",
            "rspconfig all password=hunter2-much-too-long",
            "ripmi all 6 1",
            "tabdump auditlog",
            "log",
        ] {
            told.push_str(&daemon.run(line).0);
        }
        finished.store(true, Ordering::Release);
        assert_eq!(watcher.join().unwrap(), Vec::<PathBuf>::new());
    });
    assert!(told.contains("cn1: off") && told.contains("cn1: on"), "{told}");
    assert!(told.contains("cn2: ") && told.contains("ERROR: Incorrect password provided"), "{told}");
    let log = std::fs::read_to_string(directory.path().join("log")).unwrap();
    for (place, text) in [("answers", told), ("log", log), ("commands.log", commands_log(&site))] {
        assert!(!text.contains("hunter2"), "{place}: {text}");
    }
}

/// The second machine would be switched on a minute after the first.
#[test]
fn a_client_that_stops() {
    let (_directory, site, daemon) = start();
    let (first, second) = (simulated(3), simulated(4));
    for (node, bmc) in [("cn1", first.address), ("cn2", second.address)] {
        daemon.run(&format!("nodeadd {node} groups=all nodehm.mgt=ipmi"));
        daemon.run(&format!("chdef {node} bmc={bmc} bmcusername=ADMIN bmcpassword={PASSWORD}"));
    }
    daemon.run("chtab key=syspowerinterval site.value=3600");
    daemon.run("chtab key=syspowermaxnodes site.value=1");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let client = scope.spawn(|| daemon.run_until("rpower cn1,cn2 on", &stop));
        let status = || daemon.run("nodels cn1 nodelist.status").0 + &daemon.run("rpower cn1 stat").0;
        wait_for("the first machine is not switched on", || status().contains("cn1: on"));
        stop.store(true, Ordering::Release);
        client.join().unwrap();
    });
    // The record of a command is written at its end.
    wait_for("the command goes on", || commands_log(&site).contains("rpower 'cn1,cn2' on"));
    assert!(daemon.run("nodels cn1 nodelist.status").0.contains("powering-on"), "what was done is written");
    assert!(daemon.run("rpower cn2 stat").0.contains("cn2: off"));
}
