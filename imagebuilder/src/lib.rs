//! genimage, packimage, initramfs and squashfs.
