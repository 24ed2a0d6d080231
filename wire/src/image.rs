//! Names of the files of an image, and of what a node's root shows of its own files.

/// The tree of the operating system, in the directory of an image.
pub const ROOT: &str = "rootimg";
/// The kernel that nodes load.
pub const KERNEL: &str = "kernel";
/// Initramfs of a stateless node.
pub const INITRD_STATELESS: &str = "initrd-stateless.gz";
/// Initramfs of a statelite node.
pub const INITRD_STATELITE: &str = "initrd-statelite.gz";
/// Every name `packimage` may give the packed root of stateless nodes, in the order in which they are looked
/// for. It leaves exactly one.
pub const PACKED_ROOTS: [&str; 6] =
    ["rootimg.sfs", "rootimg.cpio.gz", "rootimg.cpio.xz", "rootimg.tar.gz", "rootimg.tar.xz", "rootimg.gz"];
/// The packed root of statelite nodes with `rootfstype=ramdisk`; made by `liteimg`.
pub const PACKED_STATELITE: &str = "rootimg-statelite.gz";

/// Kernel of the discovery system of `arch`, below the TFTP root (xCAT's name).
#[must_use]
pub fn genesis_kernel(arch: &str) -> String {
    format!("xcat/genesis.kernel.{arch}")
}

/// Initramfs of the discovery system of `arch`, below the TFTP root (xCAT's name).
#[must_use]
pub fn genesis_initrd(arch: &str) -> String {
    format!("xcat/genesis.fs.{arch}.gz")
}

/// Directory that a root with a live overlay shows, relative to the root; below it are entries that the node
/// covers with a mount of its own.
pub const LIVE: &str = ".statelite/live";
/// Directory that holds the served trees by number, relative to the root.
pub const TREES: &str = ".statelite/trees";
