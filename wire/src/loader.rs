//! Names of boot loaders in the TFTP directory: firmware asks for them, DHCP names them, and the daemon looks
//! for them.

use crate::boot_path;

/// shim, the loader that Secure Boot firmware accepts.
pub const SHIM: &str = "shimx64.efi";
/// iPXE for BIOS.
pub const IPXE_BIOS: &str = "undionly.kpxe";
/// iPXE for UEFI.
pub const IPXE_UEFI: &str = "snponly.efi";
/// PXELINUX, for BIOS only.
pub const PXELINUX: &str = "pxelinux.0";
/// GRUB for ARM firmware of 32 bits.
pub const GRUB_ARM32: &str = "boot/grub2/grub2.arm";
/// GRUB for ARM firmware of 64 bits.
pub const GRUB_ARM64: &str = "boot/grub2/grub2.aarch64";
/// GRUB for PC firmware of 32 bits.
pub const GRUB_IA32: &str = "boot/grub2/grub2.i386";
/// GRUB for PC firmware of 64 bits, and for BIOS.
pub const GRUB_X64: &str = "boot/grub2/grub2.x86_64";
/// GRUB for POWER machines.
pub const GRUB_POWER: &str = "boot/grub2/grub2.ppc";

/// iPXE for UEFI of 32 bits.
pub const IPXE_IA32: &str = "ipxe32.efi";
/// elilo, for Itanium.
pub const ELILO: &str = "elilo.efi";
/// PXELINUX of ScaleMP's machines.
pub const PXELINUX_SCALEMP: &str = "vsmp/pxelinux.0";
/// The installer of switches as HTTP serves it, if no image names one.
pub const ONIE_INSTALLER: &str = "/install/onie/onie-installer";

/// The GRUB with that ending of its name.
#[must_use]
pub fn grub(suffix: &str) -> String {
    format!("{}/{}{suffix}", boot_path::GRUB, boot_path::GRUB_OF_ARCH)
}

/// The GRUB of a node as DHCP names it: GRUB finds its folder by it.
#[must_use]
pub fn grub_of_node(node: &str) -> String {
    format!("/{}/{}{node}", boot_path::GRUB, boot_path::GRUB_OF_NODE)
}

/// The configuration of Petitboot for a node.
#[must_use]
pub fn petitboot(node: &str) -> String {
    format!("{}/{node}", boot_path::PETITBOOT)
}
