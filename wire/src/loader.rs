//! Names of boot loaders in the TFTP directory: firmware asks for them, DHCP names them, and the daemon looks
//! for them.

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
/// GRUB for POWER machines.
pub const GRUB_POWER: &str = "boot/grub2/grub2.ppc";

/// The GRUB with that ending of its name.
#[must_use]
pub fn grub(suffix: &str) -> String {
    format!("boot/grub2/grub2.{suffix}")
}
