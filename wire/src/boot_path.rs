//! Folders below the TFTP directory whose files are made of the tables when a machine asks: DHCP names them,
//! the views answer them, and the timeline of a boot recognises them.

/// Scripts of iPXE for nodes.
pub const XNBA_NODES: &str = "xcat/xnba/nodes";
/// Scripts of iPXE for unknown machines, by network.
pub const XNBA_NETS: &str = "xcat/xnba/nets";
/// Configurations of PXELINUX.
pub const PXELINUX: &str = "pxelinux.cfg";
/// Configurations of Petitboot for nodes.
pub const PETITBOOT: &str = "petitboot";
/// The same for unknown machines, by network.
pub const PETITBOOT_NETS: &str = "pxelinux.cfg/p";
/// GRUB: loaders, their modules, and configurations.
pub const GRUB: &str = "boot/grub2";
/// Images of UEFI HTTP Boot for nodes.
pub const HTTP_BOOT: &str = "xcat/httpboot";
/// The same for unknown machines, by network.
pub const HTTP_BOOT_NETS: &str = "xcat/httpboot/nets";
/// Files of images: each has a folder here.
pub const IMAGES: &str = "xcat/osimage";

/// How the name of a node's own GRUB begins.
pub const GRUB_OF_NODE: &str = "grub2-";
/// How the name of the GRUB for an architecture begins.
pub const GRUB_OF_ARCH: &str = "grub2.";

/// Whether a name in [`GRUB`] is a loader's.
#[must_use]
pub fn is_grub(name: &str) -> bool {
    name.starts_with(GRUB_OF_NODE) || name.starts_with(GRUB_OF_ARCH)
}
