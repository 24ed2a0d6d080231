//! Names of the files of an image, and of the paths in a node's root that show its own files.

use std::path::Path;

/// The tree of the operating system, in the directory of an image.
pub const ROOT: &str = "rootimg";
/// How the names begin of trees that were set aside, a number follows, and of packed roots.
pub const ROOT_PREFIX: &str = "rootimg.";
/// The kernel that nodes load.
pub const KERNEL: &str = "kernel";
/// Initramfs of a stateless node.
pub const INITRD_STATELESS: &str = "initrd-stateless.gz";
/// Initramfs of a statelite node.
pub const INITRD_STATELITE: &str = "initrd-statelite.gz";
/// A packed root that nodes mount as it is.
pub const PACKED_SQUASHFS: &str = "rootimg.sfs";
/// Packed roots that nodes unpack into memory.
pub const PACKED_CPIO_GZIP: &str = "rootimg.cpio.gz";
/// See [`PACKED_CPIO_GZIP`].
pub const PACKED_CPIO_XZ: &str = "rootimg.cpio.xz";
/// See [`PACKED_CPIO_GZIP`].
pub const PACKED_TAR_GZIP: &str = "rootimg.tar.gz";
/// See [`PACKED_CPIO_GZIP`].
pub const PACKED_TAR_XZ: &str = "rootimg.tar.xz";
/// Every name `packimage` may give the packed root of stateless nodes, in the order in which they are looked
/// for. It leaves exactly one.
pub const PACKED_ROOTS: [&str; 6] =
    [PACKED_SQUASHFS, PACKED_CPIO_GZIP, PACKED_CPIO_XZ, PACKED_TAR_GZIP, PACKED_TAR_XZ, "rootimg.gz"];
/// The packed root of statelite nodes with `rootfstype=ramdisk`; made by `liteimg`.
pub const PACKED_STATELITE: &str = "rootimg-statelite.gz";

/// Whether a name in the directory of an image is that of its tree, of one that was set aside (`rootimg.1`),
/// or of a packed root.
#[must_use]
pub fn is_root(name: &str) -> bool {
    name == ROOT || name.starts_with(ROOT_PREFIX)
}

/// Whether a path is the tree of an image or in it.
#[must_use]
pub fn is_in_tree(path: &Path) -> bool {
    path.components().any(|part| is_root(&part.as_os_str().to_string_lossy()))
}

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

/// The certificate of the cluster's authority, in the initramfs of the discovery system.
pub const AUTHORITY: &str = "etc/dawn/ca.pem";

/// Directory that a root with a live overlay shows, relative to the root; below it are entries that the node
/// hides by its own mount.
pub const LIVE: &str = ".statelite/live";
/// Directory that holds the served trees by number, relative to the root.
pub const TREES: &str = ".statelite/trees";
