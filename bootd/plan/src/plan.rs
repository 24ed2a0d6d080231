//! The boot plan: what a node boots, computed from the tables and nothing else.
//!
//! [`plan`] is a pure function of a snapshot, a node and its [`Surroundings`], which are data. Every
//! file that a node may fetch for its boot is a view of the result ([`crate::view`]), so
//! `nodeset` writes no file and a changed table counts at the next request.
//!
//! Kernel words and the order in which servers are looked up follow xCAT, because scripts inside of images
//! read `/proc/cmdline`. Install states are known but not served yet: asking for them gives
//! [`PlanError::Unsupported`], never a wrong boot.

use crate::address::LocalAddresses;
use crate::args::{KernelArgs, MY_IP};
use crate::error::PlanError;
use crate::loader::Netboot;
use crate::lookup::{image_of, installer, is_ramdisk, node_ip, public_path};
use crate::proxied;
use crate::state::BootState;
use dawn_cluster::{Col, ImageName, NodeName, OsImage, Snapshot, Text, col};
use dawn_wire::image::{
    INITRD_STATELESS, INITRD_STATELITE, KERNEL, PACKED_ROOTS, PACKED_STATELITE, ROOT, genesis_initrd,
    genesis_kernel,
};
use dawn_wire::kernel;
use dawn_wire::status::port;
use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

/// What a node boots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The node.
    pub node: NodeName,
    /// Its state; the text is the comment line of every boot file.
    pub state: BootState,
    /// What the loader does.
    pub action: Action,
    /// The server as the node sees it, for loaders without a variable for it.
    pub server: Ipv4Addr,
    /// Another DHCP server gives the node its address (`site.proxydhcp`): the loader's variable then names
    /// that one.
    pub proxied: bool,
    /// Port of the HTTP service.
    pub http_port: u16,
}

/// What the loader does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Leaves the network: the firmware goes on to the disk.
    LocalDisk,
    /// Loads a kernel.
    Kernel(KernelBoot),
    /// A switch fetches this installer, a local file, and runs it (`noderes.netboot` is onie).
    Installer(String),
}

/// Kernel, initramfs and command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelBoot {
    /// Where the two files come from.
    pub system: System,
    /// Command line without `BOOTIF`, which each loader writes in its own way.
    pub args: KernelArgs,
}

/// What a node loads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum System {
    /// An image.
    Image {
        /// Its name, part of the paths that the node fetches.
        name: ImageName,
        /// File name of the initramfs below `xcat/osimage/<image>/`.
        initrd: &'static str,
    },
    /// The discovery system, for the tasks of a chain.
    Discovery,
}

impl KernelBoot {
    /// Path of the kernel, relative to the TFTP root.
    #[must_use]
    pub fn kernel(&self) -> String {
        match &self.system {
            System::Image { name, .. } => format!("xcat/osimage/{name}/{KERNEL}"),
            System::Discovery => genesis_kernel(DISCOVERY_ARCH),
        }
    }

    /// Path of the initramfs, relative to the TFTP root.
    #[must_use]
    pub fn initrd(&self) -> String {
        match &self.system {
            System::Image { name, initrd } => format!("xcat/osimage/{name}/{initrd}"),
            System::Discovery => genesis_initrd(DISCOVERY_ARCH),
        }
    }
}

/// The architecture of the discovery system that nodes load.
pub const DISCOVERY_ARCH: &str = "x86_64";

/// Ports of this server that go into command lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    /// HTTP.
    pub http: u16,
    /// xcatd.
    pub xcatd: u16,
    /// Node status.
    pub status: u16,
    /// NFS and MOUNT.
    pub nfs: u16,
}

impl Default for Ports {
    fn default() -> Self {
        Self { http: port::HTTP, xcatd: port::XCATD, status: port::STATUS, nfs: port::NFS }
    }
}

/// What a plan depends on besides the tables.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    /// Addresses of this machine.
    pub addresses: &'a LocalAddresses,
    /// Ports of its services.
    pub ports: Ports,
    /// Which packed roots there are.
    pub packed: &'a PackedRoots,
}

/// The packed roots that there are, by image directory, and whether there is a discovery system.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PackedRoots {
    names: HashMap<PathBuf, &'static str>,
    has_discovery: bool,
}

impl PackedRoots {
    /// The one in an image directory.
    #[must_use]
    pub fn of(&self, dir: &Path) -> Option<&'static str> {
        self.names.get(dir).copied()
    }

    /// Directories that hold one.
    pub fn dirs(&self) -> impl Iterator<Item = &Path> {
        self.names.keys().map(PathBuf::as_path)
    }

    /// The same with another content of one directory.
    #[must_use]
    pub fn with(&self, dir: &Path, name: Option<&'static str>) -> Self {
        let mut names = self.names.clone();
        match name {
            Some(name) => names.insert(dir.to_owned(), name),
            None => names.remove(dir),
        };
        Self { names, ..*self }
    }

    /// Whether there is a discovery system.
    #[must_use]
    pub fn has_discovery(&self) -> bool {
        self.has_discovery
    }

    /// The same with or without a discovery system.
    #[must_use]
    pub fn with_discovery(&self, has_discovery: bool) -> Self {
        Self { has_discovery, ..self.clone() }
    }

    /// Those of some directories.
    #[must_use]
    pub fn only(&self, wanted: impl Fn(&Path) -> bool) -> Self {
        let names = self.names.iter().filter(|(dir, _)| wanted(dir)).map(|(dir, name)| (dir.clone(), *name));
        Self { names: names.collect(), ..*self }
    }
}

/// Computes what `node` boots.
///
/// # Errors
/// [`PlanError`] says which value is missing or wrong, and how to set it.
pub fn plan(snapshot: &Snapshot, node: &str, here: Surroundings<'_>) -> Result<Plan, PlanError> {
    let node = snapshot.node_name(node).ok_or_else(|| PlanError::NoNode(node.to_owned()))?;
    let facts = Facts { snapshot, node: &node, here };
    let state = facts.state()?;
    let action = match &state {
        BootState::Boot => Action::LocalDisk,
        BootState::Netboot(_) => Action::Kernel(facts.stateless()?),
        BootState::Statelite(_) => Action::Kernel(facts.statelite()?),
        BootState::Offline => return Err(facts.no_state("offline")),
        BootState::Install(_) if facts.is_onie() => Action::Installer(facts.installer()?),
        BootState::Task(_) if !here.packed.has_discovery() => return Err(PlanError::NoDiscovery),
        BootState::Task(_) => Action::Kernel(facts.discovery(&state)?),
        BootState::Install(_) => return Err(PlanError::Unsupported(state.to_string())),
    };
    let server = facts.server_address()?;
    let proxied =
        node_ip(snapshot, &node).is_some_and(|address| proxied::is_proxied_address(snapshot, address));
    Ok(Plan { node: node.parse()?, state, action, server, proxied, http_port: here.ports.http })
}

/// One node's values, looked up in the order of xCAT.
struct Facts<'a> {
    snapshot: &'a Snapshot,
    node: &'a str,
    here: Surroundings<'a>,
}

impl Facts<'_> {
    fn attr(&self, column: Col) -> Option<Text> {
        self.snapshot.attr(self.node, column)
    }

    /// A server column; `<xcatmaster>` means "not set, take the default".
    fn server_attr(&self, column: Col) -> Option<Text> {
        self.attr(column).filter(|value| &**value != "<xcatmaster>")
    }

    fn no_state(&self, state: &str) -> PlanError {
        PlanError::NoState { node: self.node.to_owned(), state: state.to_owned() }
    }

    fn state(&self) -> Result<BootState, PlanError> {
        let text = self.attr(col::chain::CURRSTATE).unwrap_or_else(|| "".into());
        // A chain that has not begun is begun by the discovery system when it asks.
        if text.is_empty() && self.attr(col::chain::CHAIN).is_some() {
            return Ok(BootState::Task("discover".to_owned()));
        }
        BootState::parse(&text).ok_or_else(|| self.no_state(&text))
    }

    /// Our own address in the node's network.
    fn own_address(&self) -> Option<Ipv4Addr> {
        self.here.addresses.facing(node_ip(self.snapshot, self.node)?)
    }

    fn server_address(&self) -> Result<Ipv4Addr, PlanError> {
        let named = |value: Option<Text>| value.and_then(|text| self.resolve(&text));
        named(self.server_attr(col::noderes::TFTPSERVER))
            .or_else(|| named(self.server_attr(col::noderes::XCATMASTER)))
            .or_else(|| self.own_address())
            .or_else(|| named(self.snapshot.site("master")))
            .ok_or_else(|| PlanError::NoServer(self.node.to_owned()))
    }

    /// An address, or the address of a node of that name. No DNS: a plan never waits.
    fn resolve(&self, name: &str) -> Option<Ipv4Addr> {
        name.parse().ok().or_else(|| node_ip(self.snapshot, name))
    }

    /// `XCAT=`: who answers 3001 and 3002.
    fn xcat_master(&self) -> Result<String, PlanError> {
        if let Some(master) = self.server_attr(col::noderes::XCATMASTER) {
            return Ok(master.to_string());
        }
        let own = self.own_address().map(|address| address.to_string());
        own.or_else(|| self.snapshot.site("master").map(|text| text.to_string()))
            .ok_or_else(|| PlanError::NoServer(self.node.to_owned()))
    }

    /// Server of root images; [`MY_IP`] when the node is to use the server it booted from.
    fn image_server(&self) -> String {
        [col::noderes::NFSSERVER, col::noderes::TFTPSERVER, col::noderes::XCATMASTER]
            .into_iter()
            .find_map(|column| self.server_attr(column))
            .map_or_else(|| MY_IP.to_owned(), |text| text.to_string())
    }

    fn is_onie(&self) -> bool {
        Netboot::of(self.snapshot, self.node) == Netboot::Onie
    }

    fn installer(&self) -> Result<String, PlanError> {
        let image = image_of(self.snapshot, self.node)?;
        let missing = || PlanError::ImageIncomplete { image: image.name.to_string(), column: "pkgdir" };
        installer(&image).map(str::to_owned).ok_or_else(missing)
    }

    fn stateless(&self) -> Result<KernelBoot, PlanError> {
        let image = image_of(self.snapshot, self.node)?;
        let dir = image_dir(self.snapshot, &image)?;
        // One that was not packed yet gets the name it will have; `nodeset` has said what is missing.
        let root = self.here.packed.of(Path::new(&dir)).unwrap_or(PACKED_ROOTS[0]);
        let mut args = KernelArgs::default();
        args.push(self.image_url(&dir, root))?;
        self.common_args(&mut args)?;
        let flow = self.snapshot.site("useflowcontrol").unwrap_or_else(|| "0".into());
        args.push(format!("FC={flow}"))?;
        self.tail_args(&mut args, &image)?;
        Ok(KernelBoot { system: System::Image { name: image.name.parse()?, initrd: INITRD_STATELESS }, args })
    }

    fn image_url(&self, dir: &str, file: &str) -> String {
        let (server, port) = (self.image_server(), self.here.ports.http);
        format!("{}=http://{server}:{port}/{}/{file}", kernel::IMAGE_URL, public_path(self.snapshot, dir))
    }

    fn statelite(&self) -> Result<KernelBoot, PlanError> {
        let image = image_of(self.snapshot, self.node)?;
        let dir = image_dir(self.snapshot, &image)?;
        let mut args = KernelArgs::default();
        if is_ramdisk(&image) {
            args.push(self.image_url(&dir, PACKED_STATELITE))?;
        } else {
            let public = public_path(self.snapshot, &dir);
            args.push(format!("{}={}:{public}/{ROOT}", kernel::NFS_ROOT, self.image_server()))?;
        }
        args.push(format!("{}={}", kernel::STATE_MOUNT, self.attr_persistent().unwrap_or_default()))?;
        self.common_args(&mut args)?;
        let options = self.attr(col::statelite::MNTOPTS).unwrap_or_else(|| "".into());
        args.push(format!("{}={options}", kernel::STATE_OPTIONS))?;
        if self.here.ports.nfs != Ports::default().nfs {
            args.push(format!("{}={}", kernel::NFS_PORT, self.here.ports.nfs))?;
            args.push(format!("{}={}", kernel::MOUNT_PORT, self.here.ports.nfs))?;
        }
        self.tail_args(&mut args, &image)?;
        Ok(KernelBoot { system: System::Image { name: image.name.parse()?, initrd: INITRD_STATELITE }, args })
    }

    /// The server is asked for the task itself; `destiny` shows it on the console.
    fn discovery(&self, state: &BootState) -> Result<KernelBoot, PlanError> {
        let mut args = KernelArgs::default();
        args.push("quiet")?;
        if let Some(console) = self.console() {
            args.push("console=tty0")?;
            args.push(console)?;
        }
        args.push(format!("{}={}:{}", kernel::DISCOVERY, self.xcat_master()?, self.here.ports.xcatd))?;
        if self.here.ports.status != Ports::default().status {
            args.push(format!("{}={}", kernel::STATUS_PORT, self.here.ports.status))?;
        }
        let task = state.to_string();
        args.push(format!("{}={}", kernel::DESTINY, task.split(' ').next().unwrap_or_default()))?;
        if let Some(cell) = self.attr(col::bootparams::ADDKCMDLINE) {
            args.push_cell(&cell)?;
        }
        Ok(KernelBoot { system: System::Discovery, args })
    }

    /// Persistent store, variables resolved.
    fn attr_persistent(&self) -> Option<String> {
        dawn_statelite::persistent_store(self.snapshot, self.node)
    }

    fn common_args(&self, args: &mut KernelArgs) -> Result<(), PlanError> {
        let ports = self.here.ports;
        args.push(format!("{}={}:{}", kernel::MASTER, self.xcat_master()?, ports.xcatd))?;
        args.push(format!("{}={}", kernel::NODE, self.node))?;
        if !self.snapshot.site_flag("nodestatus", true) {
            args.push(kernel::NO_STATUS)?;
        }
        args.push(format!("{}={}", kernel::HTTP_PORT, ports.http))?;
        if ports.status != Ports::default().status {
            args.push(format!("{}={}", kernel::STATUS_PORT, ports.status))?;
        }
        Ok(())
    }

    /// Boot NIC, console, and what the administrator added.
    fn tail_args(&self, args: &mut KernelArgs, image: &OsImage) -> Result<(), PlanError> {
        if let Some(nic) = self.boot_nic_name() {
            args.push(format!("{}={nic}", kernel::NET_DEVICE))?;
        }
        if let Some(console) = self.console() {
            args.push("console=tty0")?;
            args.push(console)?;
        }
        for cell in
            [self.attr(col::bootparams::ADDKCMDLINE), image.get("addkcmdline").cloned()].into_iter().flatten()
        {
            args.push_cell(&cell)?;
        }
        Ok(())
    }

    /// `noderes.installnic` (or `primarynic`) when it is a name: a MAC and the word `mac` are what `BOOTIF`
    /// says anyway.
    fn boot_nic_name(&self) -> Option<Text> {
        let nic = self.attr(col::noderes::INSTALLNIC).or_else(|| self.attr(col::noderes::PRIMARYNIC))?;
        (&*nic != "mac" && nic.parse::<dawn_cluster::MacAddr>().is_err()).then_some(nic)
    }

    fn console(&self) -> Option<String> {
        let port = self.attr(col::nodehm::SERIALPORT)?;
        let speed = self.attr(col::nodehm::SERIALSPEED)?;
        let flow = self.attr(col::nodehm::SERIALFLOW).filter(|flow| flow.contains("hard"));
        Some(format!("console=ttyS{port},{speed}{}", if flow.is_some() { "n8r" } else { "" }))
    }
}

/// `R`, the directory of an image.
fn image_dir(snapshot: &Snapshot, image: &OsImage) -> Result<String, PlanError> {
    let missing = || PlanError::ImageIncomplete { image: image.name.to_string(), column: "rootimgdir" };
    image.rootimgdir(snapshot).ok_or_else(missing)
}
