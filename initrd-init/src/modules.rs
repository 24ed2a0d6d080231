//! Kernel modules: which ones a device asks for, what they need first, and loading them.
//!
//! The initramfs holds `modules.dep` and `modules.alias` of kmod's text format, cut down to the modules that
//! are there, and the modules uncompressed. A compressed module (`.ko.xz`, `.ko.zst`, `.ko.gz`) is handed to
//! the kernel with `MODULE_INIT_COMPRESSED_FILE`; kernels that cannot unpack it give a clear message. There
//! are no soft dependencies and no option handling: `/etc/modprobe.d` belongs to the root, not to us.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::log;

/// `finit_module` flag: the kernel unpacks the file itself (Linux 5.17).
const MODULE_INIT_COMPRESSED_FILE: i32 = 4;
/// Depth of the device tree that is searched for `modalias` files.
const DEVICE_DEPTH_MAX: usize = 24;
/// Length of a dependency chain; real ones stay below 20.
const CHAIN_MAX: usize = 64;

/// Module files and the aliases that ask for them.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// Module name to its file (relative) and the names it needs, nearest first.
    modules: HashMap<String, (String, Vec<String>)>,
    /// Alias pattern and module name, grouped by the bus prefix before the first `:`.
    aliases: HashMap<String, Vec<(String, String)>>,
}

/// `nfs-v3.ko.xz` → `nfs_v3`: modules are known by underscores.
pub(crate) fn module_name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split(".ko").next().unwrap_or(file).replace('-', "_")
}

impl Index {
    /// Parses the texts of `modules.dep` and `modules.alias`.
    pub(crate) fn parse(dep: &str, alias: &str) -> Self {
        let mut index = Self::default();
        for line in dep.lines() {
            if let Some((path, needs)) = line.split_once(':') {
                let needs = needs.split_whitespace().map(module_name).collect();
                index.modules.insert(module_name(path), (path.to_owned(), needs));
            }
        }
        for line in alias.lines() {
            let mut words = line.split_whitespace();
            if let (Some("alias"), Some(pattern), Some(module)) = (words.next(), words.next(), words.next()) {
                let entry = (pattern.to_owned(), module.replace('-', "_"));
                index.aliases.entry(bus(pattern).to_owned()).or_default().push(entry);
            }
        }
        index
    }

    /// Names of the modules whose alias pattern matches, in file order. A plain module name matches itself.
    pub(crate) fn matching(&self, modalias: &str) -> Vec<&str> {
        let listed = self.aliases.get(bus(modalias)).into_iter().flatten();
        let mut found: Vec<&str> = listed
            .filter(|(pattern, _)| fnmatch(pattern.as_bytes(), modalias.as_bytes()))
            .map(|(_, module)| module.as_str())
            .collect();
        if let Some((name, _)) = self.modules.get_key_value(&module_name(modalias)) {
            found.push(name);
        }
        found.dedup();
        found
    }

    /// Files to load for a module, what it needs first. Empty if the module is not in the initramfs.
    pub(crate) fn load_order(&self, module: &str) -> Vec<&str> {
        let mut order = Vec::new();
        self.visit(module, &mut HashSet::new(), &mut order, 0);
        order
    }

    fn visit<'a>(
        &'a self,
        module: &str,
        seen: &mut HashSet<&'a str>,
        order: &mut Vec<&'a str>,
        depth: usize,
    ) {
        let Some((name, (path, needs))) = self.modules.get_key_value(module) else { return };
        if depth > CHAIN_MAX || !seen.insert(name) {
            return;
        }
        for need in needs.iter().rev() {
            self.visit(need, seen, order, depth + 1);
        }
        order.push(path);
    }
}

/// Aliases are grouped by bus, so that a device is not compared with every pattern of the kernel.
fn bus(alias: &str) -> &str {
    alias.split(':').next().unwrap_or(alias)
}

/// Shell pattern match with `*`, `?` and `[…]`, as kmod uses it. Linear in practice: one restart point.
pub(crate) fn fnmatch(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut restart: Option<(usize, usize)> = None;
    loop {
        if pattern.get(p) == Some(&b'*') {
            restart = Some((p + 1, t));
            p += 1;
            continue;
        }
        match (text.get(t), one(pattern, p, text.get(t).copied())) {
            (None, _) if p == pattern.len() => return true,
            (Some(_), Some(next)) => (p, t) = (next, t + 1),
            (None, _) => return false,
            _ => match restart {
                Some((after_star, from)) => {
                    restart = Some((after_star, from + 1));
                    (p, t) = (after_star, from + 1);
                }
                None => return false,
            },
        }
    }
}

/// Matches one pattern element at `p` against `byte`; gives the position after the element.
fn one(pattern: &[u8], p: usize, byte: Option<u8>) -> Option<usize> {
    let byte = byte?;
    match *pattern.get(p)? {
        b'?' => Some(p + 1),
        b'[' => bracket(pattern, p + 1, byte),
        plain => (plain == byte).then_some(p + 1),
    }
}

fn bracket(pattern: &[u8], start: usize, byte: u8) -> Option<usize> {
    let negated = matches!(pattern.get(start), Some(b'!' | b'^'));
    let mut p = if negated { start + 1 } else { start };
    let mut hit = false;
    let first = p;
    loop {
        let low = *pattern.get(p)?;
        if low == b']' && p > first {
            return (hit != negated).then_some(p + 1);
        }
        let ranged = pattern.get(p + 1) == Some(&b'-') && pattern.get(p + 2).is_some_and(|end| *end != b']');
        let high = if ranged { *pattern.get(p + 2)? } else { low };
        hit |= (low..=high).contains(&byte);
        p += if ranged { 3 } else { 1 };
    }
}

/// The running kernel's modules and what has been loaded so far.
#[derive(Debug)]
pub(crate) struct Loader {
    dir: PathBuf,
    index: Index,
    blacklist: Vec<String>,
    done: HashSet<String>,
}

impl Loader {
    /// Reads the index of `/lib/modules/<running kernel>`. Without one, every module counts as built in.
    pub(crate) fn open(blacklist: &[String]) -> Self {
        Self::of_root("", blacklist)
    }

    /// The same with the modules of a root that is mounted at `root`, which has all that its kernel has.
    pub(crate) fn of_root(root: &str, blacklist: &[String]) -> Self {
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        let dir = PathBuf::from(format!("{root}/lib/modules/{release}"));
        let read = |name: &str| fs::read_to_string(dir.join(name)).unwrap_or_default();
        let index = Index::parse(&read("modules.dep"), &read("modules.alias"));
        if index.modules.is_empty() {
            log::problem(&format!(
                "no modules for the running kernel {release} in {}; only built-in drivers will work",
                dir.display()
            ));
        }
        let blacklist = blacklist.iter().map(|name| name.replace('-', "_")).collect();
        Self { dir, index, blacklist, done: HashSet::new() }
    }

    /// Loads a module by name with all it needs. A module that is not there may be built in: no error.
    pub(crate) fn load(&mut self, name: &str) -> Result<()> {
        let order: Vec<String> =
            self.index.load_order(&module_name(name)).into_iter().map(str::to_owned).collect();
        for file in order {
            if self.done.insert(file.clone()) {
                insert(&self.dir.join(&file))?;
                log::debug(&format!("module {}", module_name(&file)));
            }
        }
        Ok(())
    }

    /// Loads what the devices of the machine ask for. Gives the number of modules that were new, so that the
    /// caller can look again while loading a bus makes new devices appear.
    pub(crate) fn coldplug(&mut self) -> usize {
        let before = self.done.len();
        let mut wanted = BTreeSet::new();
        collect_modaliases(Path::new("/sys/devices"), 0, &mut wanted);
        for modalias in &wanted {
            let names: Vec<String> = self.index.matching(modalias).into_iter().map(str::to_owned).collect();
            for name in names {
                if self.blacklist.contains(&name) {
                    continue;
                }
                if let Err(error) = self.load(&name) {
                    log::problem(&error.to_string());
                }
            }
        }
        self.done.len() - before
    }
}

fn collect_modaliases(dir: &Path, depth: usize, found: &mut BTreeSet<String>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() && depth < DEVICE_DEPTH_MAX {
            collect_modaliases(&entry.path(), depth + 1, found);
        } else if kind.is_file() && entry.file_name() == "modalias" {
            found.extend(fs::read_to_string(entry.path()).ok().map(|text| text.trim().to_owned()));
        }
    }
    found.remove("");
}

fn insert(path: &Path) -> Result<()> {
    let name = module_name(&path.to_string_lossy());
    let file = File::open(path).map_err(|cause| Error::file("open", path.to_string_lossy(), cause))?;
    let packed = path.extension().is_some_and(|ext| ext != "ko");
    let flags = if packed { MODULE_INIT_COMPRESSED_FILE } else { 0 };
    match rustix::system::finit_module(&file, c"", flags) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::INVAL) if packed => Err(Error::Module {
            name,
            why: "it is compressed and this kernel cannot unpack modules; build the initramfs again"
                .to_owned(),
        }),
        Err(cause) => Err(Error::Module { name, why: std::io::Error::from(cause).to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        let cases = [
            ("pci:v00001AF4d*sv*sd*bc*sc*i*", "pci:v00001AF4d00001000sv00001AF4sd00000001bc02sc00i00", true),
            ("pci:v00008086d00001533sv*", "pci:v00008086d00001521sv0", false),
            ("virtio:d00000001v*", "virtio:d00000001v00001AF4", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("usb:v0[0-9A]?", "usb:v0A1", true),
            ("usb:v0[!0-9]?", "usb:v011", false),
            ("x[]a]", "x]", true),
            ("[", "[", false),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(fnmatch(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
    }

    const DEP: &str = "\
kernel/fs/nfs/nfsv3.ko: kernel/fs/nfs/nfs.ko kernel/net/sunrpc/sunrpc.ko kernel/fs/lockd/lockd.ko
kernel/fs/nfs/nfs.ko: kernel/fs/lockd/lockd.ko kernel/net/sunrpc/sunrpc.ko
kernel/fs/lockd/lockd.ko: kernel/net/sunrpc/sunrpc.ko
kernel/net/sunrpc/sunrpc.ko:
kernel/drivers/net/virtio_net.ko.xz: kernel/net/core/failover.ko
kernel/net/core/failover.ko:
kernel/a.ko: kernel/b.ko
kernel/b.ko: kernel/a.ko
";

    #[test]
    fn what_a_module_needs_comes_first() {
        let index = Index::parse(DEP, "");
        let order: Vec<_> = index.load_order("nfsv3").into_iter().map(module_name).collect();
        assert_eq!(order, ["sunrpc", "lockd", "nfs", "nfsv3"]);
        assert_eq!(
            index.load_order("virtio_net"),
            ["kernel/net/core/failover.ko", "kernel/drivers/net/virtio_net.ko.xz"]
        );
        assert_eq!(index.load_order("a").len(), 2, "a cycle ends");
        assert!(index.load_order("missing").is_empty());
    }

    #[test]
    fn devices_find_modules() {
        let index = Index::parse(
            DEP,
            "# comment\nalias virtio:d00000001v* virtio-net\nalias pci:v* other\nalias fs-nfs nfs\nbroken\n",
        );
        assert_eq!(index.matching("virtio:d00000001v00001AF4"), ["virtio_net"]);
        assert_eq!(index.matching("fs-nfs"), ["nfs"]);
        assert_eq!(index.matching("nfs"), ["nfs"]);
        assert!(index.matching("acpi:x").is_empty());
    }
}
