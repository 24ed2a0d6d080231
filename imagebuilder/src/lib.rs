//! genimage, packimage, initramfs and squashfs.
//!
//! Start reading at [`image`] (what an image is), then [`mod@genimage`] (how its tree is built),
//! [`initramfs`] (what a node loads first), [`tree`] (what goes into a packed root) and [`squashfs`] (how
//! that is written).

pub mod aptsource;
pub mod archive;
pub mod bundle;
pub mod cpio;
mod elf;
pub mod exec;
pub mod exlist;
#[doc(hidden)]
pub mod fuzz;
pub mod genesis;
pub mod genimage;
pub mod image;
pub mod initramfs;
pub mod kmod;
pub mod listfile;
pub mod media;
mod new_file;
pub mod oci;
pub mod packimage;
pub mod password;
pub mod pkglist;
mod pool;
pub mod squashfs;
mod synced;
pub mod tree;
