//! The initramfs of a node: our `/init`, and the modules it may need to reach its root.
//!
//! The archive is small on purpose: firmware loads it, and firmware fails with big files. It holds `/init`
//! (built static and embedded in this executable), `/dev/console`, network drivers and the file systems of
//! the root with all they need, firmware files those drivers name, and busybox for the rescue shell if the
//! caller has a static one. Modules are stored unpacked, because an older kernel cannot unpack them itself;
//! the archive is compressed as a whole. Equal input gives an equal archive.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use flate2::{Compression, GzBuilder};

use dawn_serving::beneath::Beneath;
use dawn_wire::image::AUTHORITY;

use crate::cpio::Archive;
use crate::elf::{Elf, PT_INTERP};
use crate::kmod::{self, KmodError, Module, Selection, Tree, Wanted};
use crate::new_file::create_new;

/// The static `/init` executable of every node.
pub static INIT: &[u8] = include_bytes!(env!("DAWN_INIT_EXECUTABLE"));

/// Compression level; the archive is written once and loaded at every boot.
const GZIP_LEVEL: u32 = 7;

/// Drivers that a node may need to reach its root, by directory.
const DRIVER_DIRECTORIES: [&str; 9] = [
    "kernel/drivers/net/ethernet/",
    "kernel/drivers/net/phy/",
    "kernel/drivers/net/mdio/",
    "kernel/drivers/net/pcs/",
    "kernel/drivers/net/hyperv/",
    "kernel/drivers/net/vmxnet3/",
    "kernel/drivers/virtio/",
    "kernel/drivers/hv/",
    "kernel/drivers/pci/controller/",
];

/// Further drivers for the discovery system: disks and their controllers, keyboards, and the
/// local interface of a BMC.
const HARDWARE_DIRECTORIES: [&str; 13] = [
    "kernel/drivers/ata/",
    "kernel/drivers/block/",
    "kernel/drivers/char/ipmi/",
    "kernel/drivers/firmware/",
    "kernel/drivers/hid/",
    "kernel/drivers/infiniband/hw/",
    "kernel/drivers/message/",
    "kernel/drivers/mmc/",
    "kernel/drivers/nvme/",
    "kernel/drivers/scsi/",
    "kernel/drivers/usb/host/",
    "kernel/drivers/usb/storage/",
    "kernel/drivers/net/usb/",
];

/// Modules that the discovery system needs by name.
const HARDWARE: [&str; 9] = [
    "af_packet",
    "virtio_net",
    "virtio_pci",
    "virtio_rng",
    "virtio_blk",
    "xen_netfront",
    "ipmi_si",
    "ipmi_devintf",
    "sd_mod",
];

/// Modules every kind of root needs.
const COMMON: [&str; 9] = [
    "virtio_net",
    "virtio_pci",
    "virtio_mmio",
    "virtio_rng",
    "xen_netfront",
    "af_packet",
    "overlay",
    "loop",
    "squashfs",
];

/// Modules of a root by NFS.
const NFS: [&str; 5] = ["nfs", "nfsv3", "nfsv4", "lockd", "sunrpc"];

/// Modules that some kernels do not have; their absence is not a reason for a warning.
const MAY_BE_ABSENT: [&str; 9] = [
    "virtio_mmio",
    "virtio_rng",
    "xen_netfront",
    "virtio_pci",
    "virtio_net",
    "virtio_blk",
    "ipmi_si",
    "ipmi_devintf",
    "sd_mod",
];

/// How the names begin in an executable of busybox.
const APPLETS_BEGIN: &[u8] = b"\0[\0[[\0";
/// Names that are looked at; a busybox has about 400.
const APPLETS_MAX: usize = 1024;
/// Longest name, in bytes.
const APPLET_BYTES_MAX: usize = 32;
/// Commands of a busybox that does not list its own.
const SHELL_COMMANDS: [&str; 18] = [
    "sh", "ls", "cat", "cp", "mv", "rm", "mkdir", "mount", "umount", "ip", "ping", "dmesg", "ps", "grep",
    "less", "vi", "wget", "reboot",
];

/// Which root the initramfs is for. The kinds differ in the modules they carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Root in memory.
    Stateless,
    /// Root by NFS.
    Statelite,
    /// No root: the discovery system, which looks at the hardware.
    Discovery,
}

/// What to build.
#[derive(Debug, Clone)]
pub struct Spec<'a> {
    /// Root tree with the kernel's modules and firmware.
    pub root: &'a Path,
    /// Kernel release.
    pub kernel_version: &'a str,
    /// Kind of root.
    pub kind: Kind,
    /// More modules, by name (`linuximage.netdrivers`; a `.ko` suffix is allowed).
    pub drivers: &'a [String],
    /// A static busybox for the rescue shell.
    pub busybox: Option<&'a Path>,
    /// The certificate of the authority whose servers `/init` trusts; for the discovery system.
    pub authority: Option<&'a Path>,
}

/// What was built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Modules inside.
    pub modules: usize,
    /// Firmware files inside.
    pub firmware: usize,
    /// Size of the compressed archive, in bytes.
    pub bytes: u64,
    /// Things the operator should know, in sentences.
    pub warnings: Vec<String>,
}

/// An initramfs that could not be built.
#[derive(Debug, thiserror::Error)]
pub enum InitramfsError {
    /// The kernel's modules cannot be used.
    #[error(transparent)]
    Modules(#[from] KmodError),
    /// A driver that was asked for does not exist for this kernel.
    #[error("kernel {version} has no module named {names}")]
    NoDriver {
        /// Kernel release.
        version: String,
        /// Comma list of names.
        names: String,
    },
    /// A file could not be read or written.
    #[error("{path}: {cause}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
}

/// Writes the initramfs of `spec` to `output`. The file appears whole or not at all.
pub fn build(spec: &Spec<'_>, output: &Path) -> Result<Summary, InitramfsError> {
    let tree = Tree::open(spec.root, spec.kernel_version)?;
    let selection = select(spec, &tree)?;
    let part = output.with_extension("part");
    let fail = |path: &Path| {
        let path = path.to_owned();
        move |cause| InitramfsError::File { path, cause }
    };
    let file = create_new(&part).map_err(fail(&part))?;
    // No file name and no time in the gzip header: equal input, equal output.
    let gzip = GzBuilder::new().write(BufWriter::new(file), Compression::new(GZIP_LEVEL));
    let mut builder = Builder { archive: Archive::new(gzip), made: BTreeSet::new(), output: &part };
    let firmware = builder.fill(spec, &tree, &selection)?;
    builder.finish()?;
    fs::rename(&part, output).map_err(fail(output))?;
    let bytes = fs::metadata(output).map_err(fail(output))?.len();
    let warnings = warnings(&tree, &selection);
    Ok(Summary { modules: selection.names.len(), firmware, bytes, warnings })
}

/// A busybox that can run in the initramfs: the first of `candidates` that is a static executable.
pub fn static_busybox<'a>(candidates: &[&'a Path]) -> Option<&'a Path> {
    candidates.iter().copied().find(|path| fs::read(path).is_ok_and(|elf| is_static(&elf)))
}

/// Whether an ELF64 executable names no program interpreter.
pub fn is_static(elf: &[u8]) -> bool {
    Elf::read(elf).and_then(|elf| elf.segments()).is_some_and(|kinds| !kinds.contains(&PT_INTERP))
}

/// The names of a busybox, as `busybox --list` prints them, from the executable itself: it has them sorted,
/// each with a zero, the first of them `[` and `[[`. None if there is no such list, or not the shell in it.
fn applets(busybox: &[u8]) -> Vec<&str> {
    let start = busybox.windows(APPLETS_BEGIN.len()).position(|window| window == APPLETS_BEGIN);
    let Some(list) = start.and_then(|at| busybox.get(at + 1..)) else { return Vec::new() };
    let mut names: Vec<&str> = Vec::new();
    for name in list.split(|byte| *byte == 0).take(APPLETS_MAX) {
        let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"[-_.+".contains(byte);
        let name = std::str::from_utf8(name).unwrap_or_default();
        let is_next = names.last().is_none_or(|last| *last < name);
        if name.is_empty() || name.len() > APPLET_BYTES_MAX || !name.bytes().all(|b| is_name(&b)) || !is_next
        {
            break;
        }
        names.push(name);
    }
    if names.contains(&"sh") { names } else { Vec::new() }
}

fn select(spec: &Spec<'_>, tree: &Tree) -> Result<Selection, InitramfsError> {
    let asked: Vec<&str> = spec.drivers.iter().map(|name| name.split(".ko").next().unwrap_or(name)).collect();
    let unknown = tree.select(&Wanted { directories: &[], names: &asked }).missing;
    if !unknown.is_empty() {
        return Err(InitramfsError::NoDriver {
            version: spec.kernel_version.to_owned(),
            names: unknown.join(", "),
        });
    }
    let (mut names, mut directories) = (COMMON.to_vec(), DRIVER_DIRECTORIES.to_vec());
    match spec.kind {
        Kind::Stateless => {}
        Kind::Statelite => names.extend(NFS),
        Kind::Discovery => {
            names = HARDWARE.to_vec();
            directories.extend(HARDWARE_DIRECTORIES);
        }
    }
    names.extend(asked);
    Ok(tree.select(&Wanted { directories: &directories, names: &names }))
}

fn warnings(tree: &Tree, selection: &Selection) -> Vec<String> {
    let missing = selection.missing.iter().filter(|name| !MAY_BE_ABSENT.contains(&name.as_str()));
    missing
        .map(|name| format!("kernel {} has neither a module nor a built-in {name}", tree.version))
        .collect()
}

struct Builder<'a, W: Write> {
    archive: Archive<W>,
    made: BTreeSet<String>,
    output: &'a Path,
}

impl<W: Write> Builder<'_, W> {
    /// Writes everything; gives the number of firmware files.
    fn fill(&mut self, spec: &Spec<'_>, tree: &Tree, selection: &Selection) -> Result<usize, InitramfsError> {
        self.skeleton().map_err(|cause| self.failed(cause))?;
        self.put("init", 0o755, INIT)?;
        let read = |path: &Path| {
            fs::read(path).map_err(|cause| InitramfsError::File { path: path.to_owned(), cause })
        };
        if let Some(path) = spec.authority {
            self.put(AUTHORITY, 0o644, &read(path)?)?;
        }
        if let Some(path) = spec.busybox {
            let busybox = read(path)?;
            self.shell(&busybox).map_err(|cause| self.failed(cause))?;
        }
        let mut firmware = BTreeSet::new();
        for name in &selection.names {
            if let Some(module) = tree.module(name) {
                self.module(tree, module, &mut firmware)?;
            }
        }
        let dir = format!("lib/modules/{}", tree.version);
        self.put(&format!("{dir}/modules.dep"), 0o644, tree.pruned_dep(selection).as_bytes())?;
        self.put(&format!("{dir}/modules.alias"), 0o644, tree.pruned_alias(selection).as_bytes())?;
        self.firmware(spec.root, &firmware)
    }

    fn finish(self) -> Result<(), InitramfsError> {
        let path = self.output.to_owned();
        self.archive.finish().map(drop).map_err(|cause| InitramfsError::File { path, cause })
    }

    fn skeleton(&mut self) -> io::Result<()> {
        for dir in ["dev", "proc", "sys", "run", "etc", "bin", "lib", "sysroot"] {
            self.parents(&format!("{dir}/x"))?;
        }
        self.archive.character_device("dev/console", 0o600, 5, 1)?;
        self.archive.character_device("dev/null", 0o666, 1, 3)
    }

    fn shell(&mut self, busybox: &[u8]) -> io::Result<()> {
        self.archive.file("bin/busybox", 0o755, busybox)?;
        let listed = applets(busybox);
        let names = if listed.is_empty() { SHELL_COMMANDS.to_vec() } else { listed };
        let names = names.iter().filter(|name| **name != "busybox");
        names.into_iter().try_for_each(|name| self.archive.link(&format!("bin/{name}"), "busybox"))
    }

    fn module(
        &mut self,
        tree: &Tree,
        module: &Module,
        firmware: &mut BTreeSet<String>,
    ) -> Result<(), InitramfsError> {
        let bytes = tree.read(module)?;
        let named = kmod::modinfo(&bytes).into_iter().filter(|(key, _)| key == "firmware");
        firmware.extend(named.map(|(_, file)| file));
        self.put(&format!("lib/modules/{}/{}", tree.version, kmod::plain_path(&module.path)), 0o644, &bytes)
    }

    /// Firmware the image has; files it lacks are the rule, not an error. Stored as the image has it.
    fn firmware(&mut self, root: &Path, names: &BTreeSet<String>) -> Result<usize, InitramfsError> {
        let top =
            Beneath::open(root).map_err(|cause| InitramfsError::File { path: root.to_owned(), cause })?;
        let find = |file: &str| {
            let mut places = ["usr/lib/firmware", "lib/firmware"].iter();
            places.find_map(|dir| top.read(&Path::new(dir).join(file)).ok())
        };
        let mut count = 0;
        for name in names.iter().filter(|name| !name.contains("..") && !name.starts_with('/')) {
            let mut files = ["", ".xz", ".zst"].iter().map(|suffix| format!("{name}{suffix}"));
            if let Some((file, bytes)) = files.find_map(|file| find(&file).map(|bytes| (file, bytes))) {
                self.put(&format!("lib/firmware/{file}"), 0o644, &bytes)?;
                count += 1;
            }
        }
        Ok(count)
    }

    fn put(&mut self, path: &str, mode: u32, content: &[u8]) -> Result<(), InitramfsError> {
        let written = self.parents(path).and_then(|()| self.archive.file(path, mode, content));
        written.map_err(|cause| self.failed(cause))
    }

    /// Directories above `path` that are not in the archive yet.
    fn parents(&mut self, path: &str) -> io::Result<()> {
        for (at, _) in path.match_indices('/') {
            let dir = path.get(..at).unwrap_or_default();
            if !dir.is_empty() && self.made.insert(dir.to_owned()) {
                self.archive.directory(dir, 0o755)?;
            }
        }
        Ok(())
    }

    fn failed(&self, cause: io::Error) -> InitramfsError {
        InitramfsError::File { path: self.output.to_owned(), cause }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn names_of_a_busybox() {
        let elf = |list: &str| ["\x7fELF..\0", &list.replace(' ', "\0"), "\0\0rest\0"].concat();
        let names = |list: &str| applets(elf(list).as_bytes()).join(" ");
        assert_eq!(names("[ [[ ash cat sh uname zcat"), "[ [[ ash cat sh uname zcat");
        // What is not a list, or not a name, is not believed.
        for list in ["ls sh", "[ [[ zcat cat sh", "[ [[ ../sh", "[ [[ cat", ""] {
            assert_eq!(names(list), "", "{list}");
        }
        assert_eq!(names("[ [[ cat sh ../x yes"), "[ [[ cat sh");
        let many: String = (0..2 * APPLETS_MAX).map(|number| format!(" sh{number:05}")).collect();
        assert_eq!(applets(elf(&format!("[ [[ sh{many}")).as_bytes()).len(), APPLETS_MAX);
    }

    #[test]
    fn init_is_a_static_executable() {
        assert!(is_static(INIT));
        assert!(!is_static(b"#!/bin/sh\n"));
        let own = fs::read("/proc/self/exe").unwrap();
        assert!(Elf::read(&own).and_then(Elf::segments).is_some());
    }

    fn root() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("lib/modules/6.1.0-9-x");
        fs::create_dir_all(dir.join("kernel/drivers/net/ethernet")).unwrap();
        fs::create_dir_all(root.path().join("boot")).unwrap();
        fs::write(root.path().join("boot/vmlinuz-6.1.0-9-x"), b"kernel").unwrap();
        fs::write(dir.join("modules.dep"), "kernel/drivers/net/ethernet/ice.ko:\n").unwrap();
        fs::write(dir.join("kernel/drivers/net/ethernet/ice.ko"), b"module").unwrap();
        root
    }

    fn spec<'a>(root: &'a Path, drivers: &'a [String]) -> Spec<'a> {
        Spec {
            root,
            kernel_version: "6.1.0-9-x",
            kind: Kind::Statelite,
            drivers,
            busybox: None,
            authority: None,
        }
    }

    #[test]
    fn archive_holds_init_and_modules_and_is_reproducible() {
        let root = root();
        let (one, two) = (root.path().join("one.gz"), root.path().join("two.gz"));
        let summary = build(&spec(root.path(), &[]), &one).unwrap();
        build(&spec(root.path(), &[]), &two).unwrap();
        assert_eq!(summary.modules, 1);
        assert!(summary.warnings.iter().any(|line| line.contains("nfsv3")));
        assert_eq!(fs::read(&one).unwrap(), fs::read(&two).unwrap());
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(fs::File::open(&one).unwrap()).read_to_end(&mut plain).unwrap();
        for name in ["init\0", "dev/console\0", "lib/modules/6.1.0-9-x/kernel/drivers/net/ethernet/ice.ko\0"]
        {
            assert!(plain.windows(name.len()).any(|window| window == name.as_bytes()), "{name}");
        }
        assert!(!root.path().join("one.part").exists());
    }

    #[test]
    fn mistakes_are_told() {
        let root = root();
        let out = root.path().join("out.gz");
        let drivers = ["nosuch.ko".to_owned()];
        let error = build(&spec(root.path(), &drivers), &out).unwrap_err();
        assert_eq!(error.to_string(), "kernel 6.1.0-9-x has no module named nosuch");
        assert!(!out.exists());
    }

    /// The initramfs is public: nothing of the server may come into it by a link of the tree.
    #[test]
    fn firmware_is_the_trees_own_and_the_output_is_no_link() {
        let root = root();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret"), "the server's").unwrap();
        let firmware = root.path().join("usr/lib/firmware");
        fs::create_dir_all(&firmware).unwrap();
        fs::write(firmware.join("real.bin"), "firmware").unwrap();
        let link = |to: &Path, at: &Path| std::os::unix::fs::symlink(to, at).unwrap();
        link(Path::new("real.bin"), &firmware.join("alias.bin"));
        link(&outside.path().join("secret"), &firmware.join("evil.bin"));
        let out = root.path().join("out.gz");
        link(&outside.path().join("secret"), &out.with_extension("part"));
        let mut builder =
            Builder { archive: Archive::new(Vec::new()), made: BTreeSet::new(), output: Path::new("x") };
        let names = ["alias.bin", "evil.bin", "none.bin"].map(str::to_owned).into();
        assert_eq!(builder.firmware(root.path(), &names).unwrap(), 1);
        build(&spec(root.path(), &[]), &out).unwrap();
        assert_eq!(fs::read_to_string(outside.path().join("secret")).unwrap(), "the server's");
    }
}
