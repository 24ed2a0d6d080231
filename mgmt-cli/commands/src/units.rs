//! Services of this machine that systemd runs, for commands that write their files.

use std::process::{Command, Stdio};

/// The first of these units that runs; `None` without systemd.
pub fn running(units: &[&'static str]) -> Option<&'static str> {
    units.iter().find(|unit| systemctl("is-active", unit)).copied()
}

/// Whether `systemctl VERB UNIT` succeeds.
pub fn systemctl(verb: &str, unit: &str) -> bool {
    let mut command = Command::new("systemctl");
    command.args(["--quiet", verb, unit]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
