//! The same program in the running system: reporting a status and keeping the lease.
//!
//! Facts come from `/run/dawn/lease`, written before the hand-over. Lines go to standard output, which is the
//! journal. Renewal follows RFC 2131 §4.4.5 with one difference: the address is kept in any case, because the
//! root may depend on it.

use std::collections::HashMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::ExitCode;
use std::time::Duration;

use crate::cmdline::parse_mac;
use crate::dhcp::Kind;
use crate::handover::RUN_DIR;
use crate::lease::Client;
use crate::log;
use crate::nic::{self, Nic};
use crate::status;
use crate::sys;

/// Lease time that means for ever (RFC 2131 §3.3).
const FOREVER: u64 = 0xffff_ffff;
/// Shortest pause between two renewals, in seconds (RFC 2131 §4.4.5).
const PAUSE_SECONDS_MIN: u64 = 60;
/// Shortest T1 that is followed, in seconds; servers with shorter leases are asked this often.
const T1_SECONDS_MIN: u64 = 5;

/// What the boot has found out.
pub(crate) type Facts = HashMap<String, String>;

/// The facts; none, with a line in the log, on a machine that was not booted by this program.
pub(crate) fn facts() -> Option<Facts> {
    let path = format!("{RUN_DIR}/lease");
    match fs::read_to_string(&path) {
        Ok(text) => Some(parse(&text)),
        Err(cause) => {
            log::problem(&format!("cannot read {path}: {cause}; this node was not booted by this program"));
            None
        }
    }
}

fn parse(text: &str) -> Facts {
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// Reports `status` to the management node.
pub(crate) fn report(status: &str) -> ExitCode {
    let Some(facts) = facts() else { return ExitCode::FAILURE };
    let Some(server) = facts.get("STATUS").and_then(|text| text.parse::<SocketAddrV4>().ok()) else {
        log::step("status reports are switched off for this node");
        return ExitCode::SUCCESS;
    };
    log::step(&format!("node {} is {status}", facts.get("NODE").map_or("?", String::as_str)));
    match status::report(*server.ip(), server.port(), status) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// Times of a lease, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Times {
    t1: u64,
    t2: u64,
    end: u64,
}

/// Renews for as long as the system runs.
pub(crate) fn renew() -> ExitCode {
    let Some(facts) = facts() else { return ExitCode::FAILURE };
    let (Some(mac), Some(address), Some(mut server)) = (
        facts.get("MAC").and_then(|text| parse_mac(text)),
        facts.get("ADDRESS").and_then(|text| text.parse::<Ipv4Addr>().ok()),
        facts.get("DHCPSERVER").and_then(|text| text.parse::<Ipv4Addr>().ok()),
    ) else {
        log::problem("the facts about this node's lease are damaged");
        return ExitCode::FAILURE;
    };
    let number = |key: &str| facts.get(key).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    let mut times = Times { t1: number("T1"), t2: number("T2"), end: number("LEASE") };
    let mut obtained = number("OBTAINED_MS") / 1000;
    if times.end >= FOREVER {
        log::step("the lease does not end, nothing to renew");
        return ExitCode::SUCCESS;
    }
    loop {
        let elapsed = (log::uptime_ms() / 1000).saturating_sub(obtained);
        let next = next_try(times, elapsed);
        sys::pause(Duration::from_secs(next.after));
        let to = if next.any_server { Ipv4Addr::BROADCAST } else { server };
        let asked = log::uptime_ms() / 1000;
        match ask(mac, address, to) {
            Some((granted, by)) => {
                log::step(&format!("lease of {address} renewed by {by} for {} s", granted.end));
                (times, obtained, server) = (granted, asked, by);
            }
            None => log::debug("lease not renewed"),
        }
    }
}

/// When to ask next and whom.
#[derive(Debug, PartialEq, Eq)]
struct Next {
    after: u64,
    any_server: bool,
}

/// Half of the remaining time to the next border, not below the minimum pause.
fn next_try(times: Times, elapsed: u64) -> Next {
    let t1 = times.t1.max(T1_SECONDS_MIN);
    if elapsed < t1 {
        return Next { after: t1 - elapsed, any_server: false };
    }
    let (border, any_server) = if elapsed < times.t2 { (times.t2, false) } else { (times.end, true) };
    let pause = border.saturating_sub(elapsed) / 2;
    Next { after: pause.max(PAUSE_SECONDS_MIN.min(times.end / 4)).max(T1_SECONDS_MIN), any_server }
}

fn ask(mac: [u8; 6], address: Ipv4Addr, to: Ipv4Addr) -> Option<(Times, Ipv4Addr)> {
    let nic: Option<Nic> = nic::present().into_iter().find(|nic| nic.mac == mac);
    let Some(nic) = nic else {
        log::problem("the boot interface is gone; its lease cannot be renewed");
        return None;
    };
    match Client::open(&nic).and_then(|mut client| client.renew(address, to)) {
        Ok(Some(reply)) if reply.kind == Kind::Ack => {
            let lease = reply.lease;
            let times = Times {
                t1: u64::from(lease.t1_seconds),
                t2: u64::from(lease.t2_seconds),
                end: u64::from(lease.lease_seconds),
            };
            Some((times, lease.server))
        }
        Ok(Some(reply)) => {
            log::problem(&format!(
                "{} refuses to renew {address} ({}); the address is kept until the next boot",
                reply.lease.server, reply.message
            ));
            None
        }
        Ok(None) => {
            log::problem(&format!("no answer from {to} to the renewal of {address}"));
            None
        }
        Err(error) => {
            log::problem(&format!("renewal of {address}: {error}"));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewal_times() {
        let times = Times { t1: 500, t2: 875, end: 1000 };
        let cases = [
            (0, 500, false),
            (499, 1, false),
            (500, 187, false),
            (870, 60, false),
            (880, 60, true),
            (5000, 60, true),
        ];
        for (elapsed, after, any_server) in cases {
            assert_eq!(next_try(times, elapsed), Next { after, any_server }, "{elapsed}");
        }
        let short = Times { t1: 0, t2: 0, end: 0 };
        assert!(next_try(short, 100).after >= T1_SECONDS_MIN, "never a busy loop");
    }

    #[test]
    fn facts_are_lines() {
        assert_eq!(parse("NODE=cn1\nbad\nT1=5\n").get("T1").map(String::as_str), Some("5"));
    }
}
