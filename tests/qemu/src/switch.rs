//! The bridge of a cluster as a switch that is managed: Debian's `snmpd` shows its forwarding table by
//! SNMPv3, and `lldpd` says the name of the switch and of the port to the machine on each port.
//!
//! The name of a port is the name of the machine's tap. The agents run in the namespace of the cluster and
//! end with the [`Switch`].

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::net::Network;
use crate::process::{self, Logged};
use crate::{paths, wait};

/// Name of the switch, as LLDP says it and as tests define it.
pub const NAME: &str = "sw1";
/// Its address in the namespace.
pub const ADDRESS: &str = "10.78.0.1";
/// The user that may read, and the password of authentication (SHA) and of privacy (AES).
const USER: &str = "dawn";
const PASSWORD: &str = "maplesyrup";
/// Time an agent has to start.
const START_LIMIT: Duration = Duration::from_secs(60);
/// Seconds between two LLDP frames.
const LLDP_SECONDS: u32 = 2;

/// The agents of the switch.
#[derive(Debug)]
pub struct Switch {
    dir: PathBuf,
    _snmpd: Logged,
    lldpd: Option<Logged>,
}

impl Switch {
    /// Gives the bridge its address and starts `snmpd`; files are put into `dir`.
    pub fn start(network: &Network, dir: &Path) -> Result<Self> {
        let persistent = dir.join("persistent");
        fs::create_dir_all(&persistent).with_context(|| format!("cannot make {}", persistent.display()))?;
        process::run(network.command("ip").args(["addr", "add", &format!("{ADDRESS}/32"), "dev", "lo"]))?;
        let script = dir.join("bridge-mib.sh");
        let source = paths::workspace().join("tests/qemu/switch/bridge-mib.sh");
        fs::copy(&source, &script).with_context(|| format!("cannot copy {}", source.display()))?;
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).context("cannot set a mode")?;
        let config = format!(
            "createUser {USER} SHA {PASSWORD} AES {PASSWORD}\nrouser {USER} authpriv\n\
             pass_persist .1.3.6.1.2.1.17 {}\n",
            script.display()
        );
        write(&dir.join("snmpd.conf"), &config)?;
        let mut command = network.command("/usr/sbin/snmpd");
        command.args(["-f", "-C", "-Le", "-c", "snmpd.conf", "-I", "-smux", &format!("udp:{ADDRESS}:161")]);
        // Without the names of objects, which it does not need and many of which Debian does not have.
        command.current_dir(dir).env("SNMP_PERSISTENT_DIR", &persistent).env("MIBS", "");
        let log = dir.join("snmpd.log");
        let mut snmpd = Logged::spawn(&mut command, &log)?;
        wait_for(&mut snmpd, "NET-SNMP version", &log)?;
        Ok(Self { dir: dir.to_owned(), _snmpd: snmpd, lldpd: None })
    }

    /// From now on the switch says its name, and the port's, on these ports.
    pub fn send_lldp(&mut self, network: &Network, ports: &[&str]) -> Result<()> {
        let (config, log) = (self.dir.join("lldpd.conf"), self.dir.join("lldpd.log"));
        let text = format!("configure system hostname {NAME}\nconfigure lldp tx-interval {LLDP_SECONDS}\n");
        write(&config, &text)?;
        let socket = paths::sockets().join(network.name()).join("lldpd");
        let mut command = network.command("/usr/sbin/lldpd");
        command.arg("-d").arg("-u").arg(&socket).arg("-O").arg(&config).args(["-I", &ports.join(",")]);
        let mut lldpd = Logged::spawn(&mut command, &log)?;
        wait_for(&mut lldpd, &format!("system name set to new value {NAME}"), &log)?;
        self.lldpd = Some(lldpd);
        Ok(())
    }

    /// The words of `mkdef` for it.
    pub fn attributes() -> Vec<String> {
        let words = ["groups=switch", "nodetype=switch", "snmpversion=3", "snmpauth=sha", "snmpprivacy=aes"];
        let own =
            [format!("ip={ADDRESS}"), format!("snmpusername={USER}"), format!("snmppassword={PASSWORD}")];
        words.into_iter().map(str::to_owned).chain(own).collect()
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// Waits until the agent's log says that it works.
fn wait_for(agent: &mut Logged, word: &str, log: &Path) -> Result<()> {
    let seen = wait::until(START_LIMIT, || {
        if let Some(status) = agent.ended()? {
            bail!("an agent of the switch ended: {status}\n{}", process::tail(log));
        }
        Ok(process::read_log(log).contains(word).then_some(()))
    })?;
    seen.with_context(|| format!("an agent of the switch does not start\n{}", process::tail(log)))
}
