//! One machine: power, console, commands inside of it.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::channel::Channel;
use crate::net::Network;
use crate::process::{self, Logged};
use crate::{Accel, Firmware, bmc, wait};

/// Memory of a machine unless a test asks for another size, in MiB.
pub const MEMORY_MIB_DEFAULT: u32 = 1280;

/// Manufacturer of machines with a serial number; together with [`PRODUCT`] their machine type.
pub const MANUFACTURER: &str = "ACME";
/// Product name of machines with a serial number.
pub const PRODUCT: &str = "T100";

/// What a machine is made of.
#[derive(Debug, Clone)]
pub struct Hardware {
    /// Name in the cluster's tables.
    pub name: String,
    /// How it boots.
    pub firmware: Firmware,
    /// Address of its only network card.
    pub mac: String,
    /// The address the appliance gives it.
    pub ip: Ipv4Addr,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// Raw image of its disk, if it has one.
    pub disk: Option<PathBuf>,
    /// Serial number of its board, for a machine that looks like real hardware (SMBIOS).
    pub serial_number: Option<String>,
    /// It has the service processor of the cluster ([`crate::Bmc`]), which must run before it is switched on.
    pub has_bmc: bool,
    /// It has a device that gives entropy; without one, and without an instruction of its processor for that,
    /// its kernel has no secure randomness for minutes.
    pub has_entropy: bool,
    /// Time that its clock shows at power-on, in the form of `-rtc base=` of QEMU; the host's if none.
    pub clock: Option<String>,
}

impl Hardware {
    /// Machine number `index` (from 1) with addresses derived from the number.
    pub fn numbered(index: u8, name: &str, firmware: Firmware) -> Self {
        Self {
            name: name.to_owned(),
            firmware,
            mac: format!("52:54:00:da:00:{index:02x}"),
            ip: Ipv4Addr::new(10, 77, 0, 10 + index),
            memory_mib: MEMORY_MIB_DEFAULT,
            disk: None,
            serial_number: None,
            has_bmc: false,
            has_entropy: true,
            clock: None,
        }
    }

    /// UUID of a machine with a serial number. Its first groups read the same in both orders of bytes that
    /// firmware writes them in.
    pub fn uuid(&self) -> String {
        format!("11111111-2222-4444-8888-{}", self.mac.replace(':', ""))
    }
}

/// A machine of a cluster. Dropping it pulls its plug.
#[derive(Debug)]
pub struct Node {
    hardware: Hardware,
    dir: PathBuf,
    sockets: PathBuf,
    machine: Option<Logged>,
    capture: bool,
}

impl Node {
    /// Gives the machine its tap and its directories; it stays switched off.
    pub fn create(hardware: Hardware, network: &Network, dir: &Path, sockets: &Path) -> Result<Self> {
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        network.add_tap(&hardware.name)?;
        Ok(Self { hardware, dir: dir.to_owned(), sockets: sockets.to_owned(), machine: None, capture: false })
    }

    /// Whether the network traffic from the next switching on is kept, in `traffic.pcap` next to the
    /// console's log.
    pub fn set_capture(&mut self, capture: bool) {
        self.capture = capture;
    }

    /// What it is made of.
    pub fn hardware(&self) -> &Hardware {
        &self.hardware
    }

    /// Its name in the cluster.
    pub fn name(&self) -> &str {
        &self.hardware.name
    }

    /// Everything the first serial port said since the machine was made.
    pub fn console(&self) -> String {
        process::read_log(&self.console_log())
    }

    /// The file behind [`Node::console`].
    pub fn console_log(&self) -> PathBuf {
        self.dir.join("console.log")
    }

    /// Socket of the first serial port, for people.
    pub fn console_socket(&self) -> PathBuf {
        self.sockets.join(format!("{}.console", self.name()))
    }

    /// Socket of the second serial port, for [`Node::exec`].
    pub fn channel_socket(&self) -> PathBuf {
        self.sockets.join(format!("{}.channel", self.name()))
    }

    /// End of the console, for a failure message.
    pub fn console_tail(&self) -> String {
        process::tail(&self.console_log())
    }

    /// Whether QEMU runs.
    pub fn is_on(&mut self) -> Result<bool> {
        match &mut self.machine {
            Some(machine) => Ok(machine.ended()?.is_none()),
            None => Ok(false),
        }
    }

    /// Switches the machine on; it must be off.
    pub fn power_on(&mut self, network: &Network, accel: Accel) -> Result<()> {
        if self.is_on()? {
            bail!("{} is on already", self.name());
        }
        let mut command = network.command("qemu-system-x86_64");
        command.args(self.arguments(accel)?);
        let machine = Logged::spawn(&mut command, &self.dir.join("qemu.log"))?;
        self.machine = Some(machine);
        Ok(())
    }

    /// Pulls the plug.
    pub fn power_off(&mut self) -> Result<()> {
        match self.machine.take() {
            Some(mut machine) => machine.kill(),
            None => Ok(()),
        }
    }

    fn arguments(&self, accel: Accel) -> Result<Vec<String>> {
        let Hardware {
            name,
            firmware,
            mac,
            memory_mib,
            disk,
            serial_number,
            has_bmc,
            has_entropy,
            clock,
            ..
        } = &self.hardware;
        let mut args = firmware.arguments(&self.dir)?;
        let mut add = |option: &str, value: String| args.extend([option.to_owned(), value]);
        add("-name", name.clone());
        add("-accel", accel.argument().to_owned());
        add("-m", memory_mib.to_string());
        add("-display", "none".into());
        add("-netdev", format!("tap,id=net0,ifname={name},script=no,downscript=no"));
        add("-device", format!("virtio-net-pci,netdev=net0,mac={mac}{}", firmware.card_option()));
        if self.capture {
            let file = self.dir.join("traffic.pcap");
            add("-object", format!("filter-dump,id=capture,netdev=net0,file={}", file.display()));
        }
        if let Some(disk) = disk {
            // Written through, so that what the machine has synced survives its end.
            add("-drive", format!("if=virtio,format=raw,file={}", disk.display()));
        }
        if let Some(serial) = serial_number {
            let (maker, uuid) =
                (format!("manufacturer={MANUFACTURER},product={PRODUCT}"), self.hardware.uuid());
            add("-smbios", format!("type=1,{maker},serial={serial},uuid={uuid}"));
        }
        if *has_bmc {
            // QEMU ends at once if the service processor goes and it is not to connect again.
            let to = format!("socket,id=bmc,host=127.0.0.1,port={},reconnect=2", bmc::MACHINE_PORT);
            add("-chardev", to);
            add("-device", "ipmi-bmc-extern,id=bmc0,chardev=bmc".into());
            add("-device", "isa-ipmi-kcs,bmc=bmc0".into());
        }
        if let Some(clock) = clock {
            add("-rtc", format!("base={clock}"));
        }
        if *has_entropy {
            add("-device", "virtio-rng-pci".into());
        }
        add("-chardev", socket("console", &self.console_socket(), Some(&self.console_log())));
        add("-serial", "chardev:console".into());
        add("-chardev", socket("channel", &self.channel_socket(), None));
        add("-serial", "chardev:channel".into());
        args.push("-nodefaults".into());
        Ok(args)
    }

    /// Waits until the console, from byte `from` on, contains `text`; the error carries the console's end.
    pub fn wait_for_console(&self, text: &str, from: usize, limit: Duration) -> Result<()> {
        let seen = wait::until(limit, || {
            let log = self.console();
            Ok(log.get(from..).unwrap_or_default().contains(text).then_some(()))
        })?;
        if seen.is_none() {
            let (name, seconds) = (self.name(), limit.as_secs());
            bail!("{name}: console does not show `{text}` within {seconds} s\n{}", self.console_tail());
        }
        Ok(())
    }

    /// Runs a shell command as root inside the machine and gives its output; a status other than zero is an
    /// error. Needs an image with the command channel ([`crate::image`]).
    pub fn exec(&self, command: &str, limit: Duration) -> Result<String> {
        let answer = Channel::open(&self.channel_socket())
            .and_then(|mut channel| channel.exec(command, limit))
            .with_context(|| format!("{}: `{command}`\n{}", self.name(), self.console_tail()))?;
        if answer.status != 0 {
            bail!("{}: `{command}` gave status {}:\n{}", self.name(), answer.status, answer.output);
        }
        Ok(answer.output)
    }
}

/// A character device on a socket; `log` gets what the guest sends whether someone listens or not.
fn socket(id: &str, path: &Path, log: Option<&Path>) -> String {
    let log = log.map(|log| format!(",logfile={},logappend=on", log.display())).unwrap_or_default();
    format!("socket,id={id},path={},server=on,wait=off{log}", path.display())
}
