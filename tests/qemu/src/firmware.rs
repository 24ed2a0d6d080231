//! The firmware of a machine: how it finds the network, and which QEMU arguments make that happen.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// iPXE as a Linux-bootable image, from Debian's `ipxe` package.
const IPXE_LKRN: &str = "/usr/lib/ipxe/ipxe.lkrn";
/// UEFI firmware without Secure Boot, from Debian's `ovmf` package.
const OVMF_CODE: &str = "/usr/share/OVMF/OVMF_CODE_4M.fd";
/// Its variable store, copied per machine.
const OVMF_VARS: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";

/// Makes the network card's iPXE behave like a vendor's PXE ROM: it announces itself as `PXE` and not as
/// iPXE, loads the named file by TFTP and jumps into it. The only BIOS PXE stack in Debian is iPXE, which would
/// otherwise be known as a second-stage loader at once, and the TFTP step would never be tested.
const PXE_ROM_SCRIPT: &str = "#!ipxe
set user-class PXE
dhcp net0 || reboot
echo PXE ROM: server ${net0/next-server}, file ${net0/filename}
chain tftp://${net0/next-server}/${net0/filename} || reboot
";

/// Kinds of machines that exist in server rooms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Firmware {
    /// BIOS with a plain PXE ROM: DHCP, then a loader by TFTP.
    Bios,
    /// BIOS whose network card carries iPXE: DHCP, then the script by HTTP at once.
    BiosIpxeRom,
    /// UEFI x86-64 with its own PXE: DHCP, then a loader by TFTP.
    Uefi,
}

impl Firmware {
    /// The word for messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bios => "BIOS",
            Self::BiosIpxeRom => "BIOS, iPXE ROM",
            Self::Uefi => "UEFI",
        }
    }

    /// QEMU arguments; files of this machine's own are put into `dir`.
    pub fn arguments(self, dir: &Path) -> Result<Vec<String>> {
        match self {
            Self::Bios => bios(dir),
            // `graphics=off` makes SeaBIOS and what follows talk to the serial port.
            Self::BiosIpxeRom => Ok(words("-machine pc,graphics=off -boot n")),
            Self::Uefi => uefi(dir),
        }
    }

    /// Option of the network card: an empty `romfile` leaves the boot to the firmware.
    pub fn card_option(self) -> &'static str {
        match self {
            Self::Bios | Self::Uefi => ",romfile=",
            Self::BiosIpxeRom => "",
        }
    }
}

fn bios(dir: &Path) -> Result<Vec<String>> {
    let script = dir.join("pxe-rom.ipxe");
    fs::write(&script, PXE_ROM_SCRIPT).with_context(|| format!("cannot write {}", script.display()))?;
    let mut args = words("-machine pc,graphics=off");
    args.extend(words("-kernel").into_iter().chain([IPXE_LKRN.to_owned()]));
    args.extend(words("-initrd").into_iter().chain([script.display().to_string()]));
    Ok(args)
}

fn uefi(dir: &Path) -> Result<Vec<String>> {
    let vars = dir.join("ovmf-vars.fd");
    fs::copy(OVMF_VARS, &vars).with_context(|| format!("cannot copy {OVMF_VARS} to {}", vars.display()))?;
    let mut args = words("-machine q35");
    for (file, mode) in [(Path::new(OVMF_CODE), ",readonly=on"), (&vars, "")] {
        args.push("-drive".into());
        args.push(format!("if=pflash,format=raw,file={}{mode}", file.display()));
    }
    // Without it the firmware tries IPv6 first, which costs a minute of time-outs.
    args.extend(words("-fw_cfg name=opt/org.tianocore/IPv6PXESupport,string=no"));
    Ok(args)
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}
