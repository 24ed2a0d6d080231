//! Whether KVM can be used.
//!
//! `/dev/kvm` may be there and still not run a guest (nested virtualisation that is half switched on). So the
//! question is answered by doing it: a boot sector that prints a word must print it under KVM within seconds.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::process::{Logged, read_log};
use crate::wait;

/// Time the probe guest gets; a working KVM needs well under a second.
const PROBE_LIMIT: Duration = Duration::from_secs(8);
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
    let (disk, log) = (scratch.join("kvm-probe.img"), scratch.join("kvm-probe.log"));
    fs::write(&disk, boot_disk()).with_context(|| format!("cannot write {}", disk.display()))?;
    let _ = fs::remove_file(&log);
    let mut command = Command::new("qemu-system-x86_64");
    command.args(["-accel", "kvm", "-m", "16", "-display", "none", "-nodefaults", "-serial", "stdio"]);
    command.arg("-drive").arg(format!("if=floppy,format=raw,readonly=on,file={}", disk.display()));
    let mut guest = Logged::spawn(command.stdin(Stdio::null()), &log)?;
    let word = String::from_utf8_lossy(PROBE_WORD);
    let answer = wait::until(PROBE_LIMIT, || {
        if read_log(&log).contains(&*word) {
            return Ok(Some(true));
        }
        Ok(guest.ended()?.map(|_| false))
    })?;
    Ok(answer.unwrap_or(false))
}

/// A boot sector in 16-bit code: `mov dx, COM1; mov al, c; out dx, al` per letter, then `hlt` for ever.
fn boot_disk() -> Vec<u8> {
    let [low, high] = COM1.to_le_bytes();
    let mut disk: Vec<u8> = PROBE_WORD.iter().flat_map(|&c| [0xba, low, high, 0xb0, c, 0xee]).collect();
    disk.extend([0xfa, 0xf4, 0xeb, 0xfd]);
    disk.resize(510, 0);
    disk.extend([0x55, 0xaa]);
    disk.resize(FLOPPY_BYTES, 0);
    disk
}
