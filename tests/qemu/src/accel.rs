//! Whether KVM can be used.
//!
//! `/dev/kvm` may be there and still not run a guest (nested virtualisation that is half switched on: simple
//! code runs, and the first unusual instruction is fatal). So the question is answered by doing it: a boot
//! sector must print a word from real mode, floating point included, and UEFI firmware must get as far as
//! talking to its console.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::process::{Logged, read_log};
use crate::{Firmware, wait};

/// Time the boot sector gets; a working KVM needs well under a second.
const SECTOR_LIMIT: Duration = Duration::from_secs(8);
/// Time UEFI firmware gets to its first words; a working KVM needs two or three seconds.
const FIRMWARE_LIMIT: Duration = Duration::from_secs(20);
/// What UEFI firmware says first when it looks for something to boot.
const FIRMWARE_WORD: &str = "BdsDxe";
/// What the probe guest prints.
const PROBE_WORD: &[u8] = b"DAWN";
/// First serial port of a PC.
const COM1: u16 = 0x3f8;
/// A floppy's size: the smallest disk that every BIOS boots.
const FLOPPY_BYTES: usize = 1_474_560;

/// How QEMU executes the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accel {
    /// Software emulation: works everywhere.
    Tcg,
    /// Hardware virtualisation.
    Kvm,
}

impl Accel {
    /// Finds the fastest one that works; `scratch` is a directory for the probe's files.
    pub fn probe(scratch: &Path) -> Result<Self> {
        if !Path::new("/dev/kvm").exists() {
            return Ok(Self::Tcg);
        }
        let works = probe_kvm(scratch)?;
        Ok(if works { Self::Kvm } else { Self::Tcg })
    }

    /// The value for QEMU's `-accel`.
    pub fn argument(self) -> &'static str {
        match self {
            Self::Tcg => "tcg,thread=multi",
            Self::Kvm => "kvm",
        }
    }
}

fn probe_kvm(scratch: &Path) -> Result<bool> {
    let disk = scratch.join("kvm-probe.img");
    fs::write(&disk, boot_disk()).with_context(|| format!("cannot write {}", disk.display()))?;
    let sector = ["-m", "16", "-drive", &format!("if=floppy,format=raw,readonly=on,file={}", disk.display())];
    let firmware = Firmware::Uefi.arguments(scratch)?;
    let firmware: Vec<&str> = ["-m", "256"].into_iter().chain(firmware.iter().map(String::as_str)).collect();
    let word = String::from_utf8_lossy(PROBE_WORD);
    Ok(guest_says(&word, &sector, SECTOR_LIMIT, scratch)?
        && guest_says(FIRMWARE_WORD, &firmware, FIRMWARE_LIMIT, scratch)?)
}

/// Whether a guest under KVM writes `word` to its serial port in time.
fn guest_says(word: &str, args: &[&str], limit: Duration, scratch: &Path) -> Result<bool> {
    let log = scratch.join("kvm-probe.log");
    let _ = fs::remove_file(&log);
    let mut command = Command::new("qemu-system-x86_64");
    command.args(["-accel", "kvm", "-display", "none", "-nodefaults", "-serial", "stdio"]).args(args);
    let mut guest = Logged::spawn(&mut command, &log)?;
    let answer = wait::until(limit, || {
        if read_log(&log).contains(word) {
            return Ok(Some(true));
        }
        Ok(guest.ended()?.map(|_| false))
    })?;
    Ok(answer.unwrap_or(false))
}

/// A boot sector in 16-bit code: `fwait; fninit`, `mov dx, COM1; mov al, c; out dx, al` per letter, then
/// `hlt` for ever.
fn boot_disk() -> Vec<u8> {
    let [low, high] = COM1.to_le_bytes();
    let mut disk = vec![0x9b, 0xdb, 0xe3];
    disk.extend(PROBE_WORD.iter().flat_map(|&c| [0xba, low, high, 0xb0, c, 0xee]));
    disk.extend([0xfa, 0xf4, 0xeb, 0xfd]);
    disk.resize(510, 0);
    disk.extend([0x55, 0xaa]);
    disk.resize(FLOPPY_BYTES, 0);
    disk
}
