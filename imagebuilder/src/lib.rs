//! genimage, packimage, initramfs and squashfs.
//!
//! Start reading at [`tree`] (what goes into an image) and [`squashfs`] (how it is written).

pub mod cpio;
pub mod exlist;
pub mod glob;
pub mod initramfs;
pub mod kmod;
pub mod listfile;
pub mod squashfs;
pub mod tree;
