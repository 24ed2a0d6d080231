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
/// The same with Secure Boot, which needs the system management mode of the processor.
const OVMF_SECURE_CODE: &str = "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd";
/// Its variable store with Microsoft's keys in it.
const OVMF_SECURE_VARS: &str = "/usr/share/OVMF/OVMF_VARS_4M.ms.fd";

/// A BIOS machine. Firmware and loader write to a screen that is not shown: on the serial port
/// (`graphics=off`) each of their progress marks costs so much emulated real-mode code that a kernel takes
/// minutes instead of seconds. What they load is in the daemon's events; the kernel is the first to use the
/// serial console.
const PC: &str = "-machine pc -vga std";

/// Makes the network card's iPXE behave like a vendor's PXE ROM: it announces itself as `PXE` and not as
/// iPXE, loads the named file by TFTP and jumps into it. The only BIOS PXE stack in Debian is iPXE, which
/// would otherwise be known as a second-stage loader at once, and the TFTP step would never be tested.
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
    /// UEFI x86-64 with Secure Boot and Microsoft's keys, booting by HTTP.
    SecureHttp,
    /// The same, booting by PXE.
    SecurePxe,
}

impl Firmware {
    /// The word for messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bios => "BIOS",
            Self::BiosIpxeRom => "BIOS, iPXE ROM",
            Self::Uefi => "UEFI",
            Self::SecureHttp => "UEFI, Secure Boot, HTTP",
            Self::SecurePxe => "UEFI, Secure Boot, PXE",
        }
    }

    /// QEMU arguments; files of this machine's own are put into `dir`.
    pub fn arguments(self, dir: &Path) -> Result<Vec<String>> {
        match self {
            Self::Bios => bios(dir),
            Self::BiosIpxeRom => Ok(words(PC).into_iter().chain(words("-boot n")).collect()),
            Self::Uefi => uefi(dir),
            // What is left is HTTP.
            Self::SecureHttp => secure(dir, &["IPv4PXESupport", "IPv6PXESupport"]),
            Self::SecurePxe => secure(dir, &["IPv6PXESupport"]),
        }
    }

    /// Option of the network card: an empty `romfile` leaves the boot to the firmware.
    pub fn card_option(self) -> &'static str {
        match self {
            Self::Bios | Self::Uefi | Self::SecureHttp | Self::SecurePxe => ",romfile=",
            Self::BiosIpxeRom => "",
        }
    }
}

fn bios(dir: &Path) -> Result<Vec<String>> {
    let script = dir.join("pxe-rom.ipxe");
    fs::write(&script, PXE_ROM_SCRIPT).with_context(|| format!("cannot write {}", script.display()))?;
    let mut args = words(PC);
    args.extend(words("-kernel").into_iter().chain([IPXE_LKRN.to_owned()]));
    args.extend(words("-initrd").into_iter().chain([script.display().to_string()]));
    Ok(args)
}

fn uefi(dir: &Path) -> Result<Vec<String>> {
    let mut args = words("-machine q35");
    args.extend(flash(dir, OVMF_CODE, OVMF_VARS)?);
    // Without it the firmware tries IPv6 first, which costs a minute of time-outs.
    args.extend(words("-fw_cfg name=opt/org.tianocore/IPv6PXESupport,string=no"));
    Ok(args)
}

fn secure(dir: &Path, without: &[&str]) -> Result<Vec<String>> {
    let mut args = words("-machine q35,smm=on -global driver=cfi.pflash01,property=secure,value=on");
    args.extend(flash(dir, OVMF_SECURE_CODE, OVMF_SECURE_VARS)?);
    for protocol in without {
        args.extend(words(&format!("-fw_cfg name=opt/org.tianocore/{protocol},string=no")));
    }
    Ok(args)
}

/// Code, and a variable store of the machine's own.
fn flash(dir: &Path, code: &str, vars_template: &str) -> Result<Vec<String>> {
    let vars = dir.join("ovmf-vars.fd");
    fs::copy(vars_template, &vars)
        .with_context(|| format!("cannot copy {vars_template} to {}", vars.display()))?;
    let mut args = Vec::new();
    for (file, mode) in [(Path::new(code), ",readonly=on"), (&vars, "")] {
        args.push("-drive".into());
        args.push(format!("if=pflash,format=raw,file={}{mode}", file.display()));
    }
    Ok(args)
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}
