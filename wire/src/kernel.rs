//! Words of the kernel command line, as xCAT spells them: scripts inside of images read `/proc/cmdline`.

/// `imgurl=http://…`: an image that is loaded into memory.
pub const IMAGE_URL: &str = "imgurl";
/// `NFSROOT=server:/directory`: a shared root.
pub const NFS_ROOT: &str = "NFSROOT";
/// `STATEMNT=server:/directory`: persistent storage, base directory.
pub const STATE_MOUNT: &str = "STATEMNT";
/// `MNTOPTS=`: mount options of the persistent storage.
pub const STATE_OPTIONS: &str = "MNTOPTS";
/// `NODE=`: name of the node.
pub const NODE: &str = "NODE";
/// `XCAT=server:port`: who answers commands and status reports.
pub const MASTER: &str = "XCAT";
/// `xcatd=server:port`: the server that the discovery system asks.
pub const DISCOVERY: &str = "xcatd";
/// `destiny=`: what the discovery system is to do, for the console; the server is still asked.
pub const DESTINY: &str = "destiny";
/// `XCATHTTPPORT=`: port of the HTTP service.
pub const HTTP_PORT: &str = "XCATHTTPPORT";
/// `XCATIPORT=`: port of the status service.
pub const STATUS_PORT: &str = "XCATIPORT";
/// `nfsport=`: port of the NFS service, for servers without a port mapper.
pub const NFS_PORT: &str = "nfsport";
/// `mountport=`: port of the MOUNT service, for servers without a port mapper.
pub const MOUNT_PORT: &str = "mountport";
/// `BOOTIF=01-aa-bb-…`: the interface that the loader came over.
pub const BOOT_INTERFACE: &str = "BOOTIF";
/// `netdev=`: name of the interface to boot from.
pub const NET_DEVICE: &str = "netdev";
/// `nonodestatus`: the node reports no status.
pub const NO_STATUS: &str = "nonodestatus";
