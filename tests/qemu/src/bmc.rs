//! A service processor of a machine: OpenIPMI's `ipmi_sim`, which the machine reaches by its system interface
//! and others by IPMI over LAN. It is as a board comes from its factory: a known user, and no address.
//!
//! It runs in the namespace of the cluster and ends with the [`Bmc`]. Whatever address it is given, it
//! answers at [`ADDRESS`].

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::net::Network;
use crate::process::{self, Logged};

/// Where it answers to IPMI over LAN.
pub const ADDRESS: &str = "10.77.0.50";
/// The port of the machine's system interface.
pub const MACHINE_PORT: u16 = 9101;
/// The user of the factory.
pub const FACTORY_USER: &str = "ADMIN";
/// The password of the factory.
pub const FACTORY_PASSWORD: &str = "ADMINPW";
/// The only cipher suite of `ipmi_sim` that is of use.
const SUITE: &str = "3";

/// What `ipmi_sim` calls to get and set what is the board's: power, and the address of the LAN. It is given
/// the name of the device, `get` or `set`, and names or names and values.
const BOARD: &str = r#"#!/bin/sh
cd "$(dirname "$0")" || exit 1
verb=$2
shift 2
case $verb in
get) for name in "$@"; do echo "$name:$(cat "value.$name")"; done ;;
set) while [ $# -ge 2 ]; do echo "$2" >"value.$1"; shift 2; done ;;
esac
"#;

/// What the board has at first.
const VALUES: [(&str, &str); 10] = [
    ("power", "1"),
    ("boot", "default"),
    ("ip_addr_src", "dhcp"),
    ("ip_addr", "0.0.0.0"),
    ("subnet_mask", "0.0.0.0"),
    ("mac_addr", "52:54:00:da:01:01"),
    ("default_gw_ip_addr", "0.0.0.0"),
    ("default_gw_mac_addr", "00:00:00:00:00:00"),
    ("backup_gw_ip_addr", "0.0.0.0"),
    ("backup_gw_mac_addr", "00:00:00:00:00:00"),
];

/// A management controller without sensors.
const EMULATION: &str = "mc_setbmc 0x20\nmc_add 0x20 0x23 no-device-sdrs 0x3 9 8 0x9f 0x1291 0xf02\n\
                         sel_enable 0x20 1000 0x0a\nmc_enable 0x20\n";

/// The running service processor.
#[derive(Debug)]
pub struct Bmc {
    dir: PathBuf,
    _sim: Logged,
}

impl Bmc {
    /// Gives the namespace its address and starts it; files are put into a directory below `dir`.
    pub fn start(network: &Network, dir: &Path) -> Result<Self> {
        let dir = dir.join("bmc");
        let state = dir.join("state");
        fs::create_dir_all(&state).with_context(|| format!("cannot make {}", state.display()))?;
        process::run(network.command("ip").args(["addr", "add", &format!("{ADDRESS}/32"), "dev", "lo"]))?;
        let board = dir.join("board.sh");
        write(&board, BOARD)?;
        fs::set_permissions(&board, fs::Permissions::from_mode(0o755)).context("cannot set a mode")?;
        for (name, value) in VALUES {
            write(&dir.join(format!("value.{name}")), value)?;
        }
        let (emulation, config) = (dir.join("bmc.emu"), dir.join("lan.conf"));
        write(&emulation, EMULATION)?;
        let text = format!(
            "name \"bmc1\"\nstartlan 1\n addr {ADDRESS} 623\n priv_limit admin\n \
             allowed_auths_admin none md2 md5 straight\n guid a123456789abcdefa123456789abcdef\n \
             lan_config_program \"{board} lan\"\nendlan\nchassis_control \"{board} 0x20\"\n\
             serial 15 127.0.0.1 {MACHINE_PORT} codec VM\n\
             user 2 true \"{FACTORY_USER}\" \"{FACTORY_PASSWORD}\" admin 10 none md2 md5 straight\n",
            board = board.display()
        );
        write(&config, &text)?;
        let mut command = network.command("ipmi_sim");
        command.arg("-n").arg("-c").arg(&config).arg("-f").arg(&emulation).arg("-s").arg(&state);
        let sim = Logged::spawn(&mut command, &dir.join("ipmi_sim.log"))?;
        Ok(Self { dir, _sim: sim })
    }

    /// What the board has: `ip_addr`, `subnet_mask`, `power` and others.
    pub fn value(&self, name: &str) -> Result<String> {
        let path = self.dir.join(format!("value.{name}"));
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(text.trim().to_owned())
    }

    /// What `ipmitool` hears over LAN as this user.
    pub fn ask(network: &Network, user: &str, password: &str, words: &[&str]) -> Result<String> {
        let mut command = network.command("ipmitool");
        command.args(["-I", "lanplus", "-C", SUITE, "-H", ADDRESS, "-U", user, "-P", password]).args(words);
        let output = process::output(&mut command)?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        Ok(text)
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
