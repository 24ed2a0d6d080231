//! A kernel's modules inside a root tree: their names, dependencies, and uncompressed bytes.
//!
//! `modules.dep`, `modules.alias` and `modules.builtin` of kmod are read when they exist. A tree without them
//! (a kernel package that was unpacked, not installed) is scanned: dependencies and aliases then come from
//! each module's own `.modinfo` section. Compressed modules (`.ko.xz`, `.ko.zst`, `.ko.gz`) are unpacked when
//! read; that does not touch their signature, which follows the module's end.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use dawn_serving::beneath::Beneath;

use crate::elf::Elf;

/// Largest unpacked module that is accepted, in bytes.
pub const MODULE_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Depth of the directory tree that is scanned.
const DEPTH_MAX: usize = 24;

/// A module tree that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KmodError {
    /// The root tree has no modules for this kernel.
    #[error(
        "{root} has no modules for kernel {version} (looked for {dir}); is the kernel package in the image?"
    )]
    NoTree {
        /// The root tree.
        root: PathBuf,
        /// Kernel release.
        version: String,
        /// Directory that is missing.
        dir: PathBuf,
    },
    /// A file of the tree cannot be read or unpacked.
    #[error("cannot read kernel module file {path}: {cause}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
}

/// One module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// File relative to the tree, as it is on disk: `kernel/fs/nfs/nfs.ko.xz`.
    pub path: String,
    /// Names of the modules it needs.
    pub needs: Vec<String>,
}

/// The modules of one kernel.
#[derive(Debug)]
pub struct Tree {
    root: Beneath,
    /// Relative to the root.
    dir: PathBuf,
    /// Kernel release.
    pub version: String,
    modules: BTreeMap<String, Module>,
    aliases: Vec<(String, String)>,
    builtin: BTreeSet<String>,
}

/// What to take from a tree.
#[derive(Debug, Clone, Default)]
pub struct Wanted<'a> {
    /// Every module below these directories, relative to the tree.
    pub directories: &'a [&'a str],
    /// Modules by name; one that is neither there nor built in is reported as missing.
    pub names: &'a [&'a str],
}

/// Modules picked from a tree.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Names, closed under dependency.
    pub names: BTreeSet<String>,
    /// Wanted by name but neither there nor built in.
    pub missing: Vec<String>,
}

/// `kernel/fs/nfs/nfs-v3.ko.xz` → `nfs_v3`: modules are known by underscores.
pub fn module_name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split(".ko").next().unwrap_or(file).replace('-', "_")
}

/// Relative to the root.
fn modules_dir(root: &Path) -> &'static Path {
    let merged = Path::new("usr/lib/modules");
    if root.join(merged).is_dir() { merged } else { Path::new("lib/modules") }
}

impl Tree {
    /// Opens the modules of kernel `version` in a root tree.
    pub fn open(root: &Path, version: &str) -> Result<Self, KmodError> {
        let dir = modules_dir(root).join(version);
        let no_tree =
            || KmodError::NoTree { root: root.to_owned(), version: version.to_owned(), dir: root.join(&dir) };
        if !root.join(&dir).is_dir() {
            return Err(no_tree());
        }
        let root = Beneath::open(root).map_err(|_| no_tree())?;
        let read = |name: &str| {
            String::from_utf8_lossy(&root.read(&dir.join(name)).unwrap_or_default()).into_owned()
        };
        let builtin = read("modules.builtin").lines().map(module_name).collect();
        let (modules, aliases) = (parse_dep(&read("modules.dep")), parse_alias(&read("modules.alias")));
        let mut tree = Self { version: version.to_owned(), modules, aliases, builtin, dir, root };
        if tree.modules.is_empty() {
            tree.scan()?;
        }
        Ok(tree)
    }

    /// Picks modules with all they need.
    pub fn select(&self, wanted: &Wanted<'_>) -> Selection {
        let mut selection = Selection::default();
        for (name, module) in &self.modules {
            if wanted.directories.iter().any(|dir| module.path.starts_with(dir)) {
                self.add(name, &mut selection.names);
            }
        }
        for name in wanted.names {
            let name = name.replace('-', "_");
            if self.modules.contains_key(&name) {
                self.add(&name, &mut selection.names);
            } else if !self.builtin.contains(&name) {
                selection.missing.push(name);
            }
        }
        selection
    }

    fn add(&self, name: &str, names: &mut BTreeSet<String>) {
        let Some(module) = self.modules.get(name) else { return };
        if names.insert(name.to_owned()) {
            module.needs.iter().for_each(|need| self.add(need, names));
        }
    }

    /// A module by name.
    pub fn module(&self, name: &str) -> Option<&Module> {
        self.modules.get(name)
    }

    /// Plain bytes of a module.
    pub fn read(&self, module: &Module) -> Result<Vec<u8>, KmodError> {
        let path = self.dir.join(&module.path);
        let plain = self.root.open_file(&path).and_then(|file| plain(file, &path));
        plain.map_err(|cause| KmodError::Read { path: self.root.path().join(&path), cause })
    }

    /// `modules.dep` for a selection whose files are stored unpacked.
    pub fn pruned_dep(&self, selection: &Selection) -> String {
        let plain = |name: &String| self.modules.get(name).map(|module| plain_path(&module.path));
        let mut text = String::new();
        for name in &selection.names {
            let Some(module) = self.modules.get(name) else { continue };
            let needs: Vec<String> = module.needs.iter().filter_map(plain).collect();
            let blank = if needs.is_empty() { "" } else { " " };
            text.push_str(&format!("{}:{blank}{}\n", plain_path(&module.path), needs.join(" ")));
        }
        text
    }

    /// `modules.alias` for a selection.
    pub fn pruned_alias(&self, selection: &Selection) -> String {
        let kept = self.aliases.iter().filter(|(_, module)| selection.names.contains(module));
        kept.map(|(pattern, module)| format!("alias {pattern} {module}\n")).collect()
    }

    fn scan(&mut self) -> Result<(), KmodError> {
        let mut files = Vec::new();
        collect(&self.root.path().join(&self.dir), "", 0, &mut files);
        files.sort();
        for path in files {
            let name = module_name(&path);
            let mut module = Module { path, needs: Vec::new() };
            let bytes = self.read(&module)?;
            for (key, value) in modinfo(&bytes) {
                match key.as_str() {
                    "depends" => module.needs = split_names(&value),
                    "alias" => self.aliases.push((value, name.clone())),
                    _ => {}
                }
            }
            self.modules.insert(name, module);
        }
        Ok(())
    }
}

fn split_names(value: &str) -> Vec<String> {
    value.split(',').filter(|name| !name.is_empty()).map(|name| name.replace('-', "_")).collect()
}

fn parse_dep(text: &str) -> BTreeMap<String, Module> {
    let pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs
        .map(|(path, needs)| {
            let needs = needs.split_whitespace().map(module_name).collect();
            (module_name(path), Module { path: path.to_owned(), needs })
        })
        .collect()
}

fn parse_alias(text: &str) -> Vec<(String, String)> {
    let entry = |line: &str| {
        let mut words = line.split_whitespace();
        match (words.next()?, words.next()?, words.next()?) {
            ("alias", pattern, module) => Some((pattern.to_owned(), module.replace('-', "_"))),
            _ => None,
        }
    };
    text.lines().filter_map(entry).collect()
}

fn collect(dir: &Path, prefix: &str, depth: usize, files: &mut Vec<String>) {
    if depth > DEPTH_MAX {
        return;
    }
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        let path = format!("{prefix}{name}");
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() {
            collect(&entry.path(), &format!("{path}/"), depth + 1, files);
        } else if kind.is_file() && is_module(&name) {
            files.push(path);
        }
    }
}

fn is_module(name: &str) -> bool {
    [".ko", ".ko.xz", ".ko.zst", ".ko.gz"].iter().any(|suffix| name.ends_with(suffix))
}

/// `nfs.ko.xz` → `nfs.ko`.
pub fn plain_path(path: &str) -> String {
    let stem =
        path.strip_suffix(".xz").or_else(|| path.strip_suffix(".zst")).or_else(|| path.strip_suffix(".gz"));
    stem.unwrap_or(path).to_owned()
}

/// Reads the file that was at `path`, unpacking it by its suffix.
fn plain(file: fs::File, path: &Path) -> io::Result<Vec<u8>> {
    let file = io::BufReader::new(file);
    let suffix = path.extension().and_then(|suffix| suffix.to_str()).unwrap_or_default();
    let mut source: Box<dyn Read> = match suffix {
        "xz" => Box::new(liblzma::read::XzDecoder::new(file)),
        "zst" => Box::new(zstd::Decoder::with_buffer(file)?),
        "gz" => Box::new(flate2::bufread::GzDecoder::new(file)),
        _ => Box::new(file),
    };
    let mut bytes = Vec::new();
    source.by_ref().take(MODULE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > MODULE_BYTES_MAX) {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "unpacked module is too big"));
    }
    Ok(bytes)
}

/// `key=value` strings of a module's `.modinfo` section (ELF64, little-endian). Empty if there is none.
pub fn modinfo(elf: &[u8]) -> Vec<(String, String)> {
    let section = Elf::read(elf).and_then(|elf| elf.section(".modinfo")).unwrap_or_default();
    let strings = section.split(|byte| *byte == 0).map(String::from_utf8_lossy);
    strings
        .filter_map(|text| text.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn tree() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("lib/modules/6.1.0-9-x");
        fs::create_dir_all(dir.join("kernel/drivers/net/ethernet/intel")).unwrap();
        fs::create_dir_all(root.path().join("lib/modules/6.1.0-10-x/kernel")).unwrap();
        fs::write(
            dir.join("modules.dep"),
            "kernel/drivers/net/ethernet/intel/ice.ko.xz: kernel/lib/dim.ko.zst\nkernel/lib/dim.ko.zst:\nkernel/fs/xfs-x.ko:\n",
        )
        .unwrap();
        fs::write(dir.join("modules.alias"), "# c\nalias pci:v1* ice\nalias fs-xfs xfs-x\n").unwrap();
        fs::write(dir.join("modules.builtin"), "kernel/fs/over-lay.ko\n").unwrap();
        let mut packed = liblzma::write::XzEncoder::new(Vec::new(), 6);
        packed.write_all(b"plain bytes").unwrap();
        fs::write(dir.join("kernel/drivers/net/ethernet/intel/ice.ko.xz"), packed.finish().unwrap()).unwrap();
        root
    }

    #[test]
    fn selection_is_closed_and_tells_what_is_missing() {
        let root = tree();
        let tree = Tree::open(root.path(), "6.1.0-9-x").unwrap();
        let wanted = Wanted {
            directories: &["kernel/drivers/net/ethernet/"],
            names: &["over_lay", "xfs_x", "nosuch"],
        };
        let mut selection = tree.select(&wanted);
        assert_eq!(selection.missing, ["nosuch"]);
        assert_eq!(Vec::from_iter(&selection.names), ["dim", "ice", "xfs_x"]);
        selection.names.remove("xfs_x");
        assert_eq!(
            tree.pruned_dep(&selection),
            "kernel/lib/dim.ko:\nkernel/drivers/net/ethernet/intel/ice.ko: kernel/lib/dim.ko\n"
        );
        assert_eq!(tree.pruned_alias(&selection), "alias pci:v1* ice\n");
        assert_eq!(tree.read(tree.module("ice").unwrap()).unwrap(), b"plain bytes");
    }

    #[test]
    fn a_kernel_without_modules_is_an_error() {
        let root = tree();
        assert!(matches!(Tree::open(root.path(), "1.0"), Err(KmodError::NoTree { .. })));
    }

    #[test]
    fn no_file_outside_of_the_tree_is_taken_for_a_module() {
        let root = tree();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret"), "the server's").unwrap();
        let dir = root.path().join("lib/modules/6.1.0-9-x");
        std::os::unix::fs::symlink(outside.path().join("secret"), dir.join("kernel/link.ko")).unwrap();
        let up = format!("{}{}/secret", "../".repeat(20), outside.path().display());
        fs::write(dir.join("modules.dep"), format!("kernel/link.ko:\n{up}:\n")).unwrap();
        let tree = Tree::open(root.path(), "6.1.0-9-x").unwrap();
        for name in ["link", "secret"] {
            assert!(tree.read(tree.module(name).unwrap()).is_err(), "{name}");
        }
    }

    #[test]
    fn all_packings_are_read() {
        let read_plain = |path: &Path| plain(fs::File::open(path)?, path);
        let dir = tempfile::tempdir().unwrap();
        let zst = dir.path().join("a.ko.zst");
        fs::write(&zst, zstd::encode_all(&b"module"[..], 3).unwrap()).unwrap();
        assert_eq!(read_plain(&zst).unwrap(), b"module");
        let gz = dir.path().join("a.ko.gz");
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(b"module").unwrap();
        fs::write(&gz, packed.finish().unwrap()).unwrap();
        assert_eq!(read_plain(&gz).unwrap(), b"module");
        fs::write(&zst, b"garbage").unwrap();
        assert!(read_plain(&zst).is_err());
    }

    #[test]
    fn modinfo_of_garbage_is_empty() {
        assert!(modinfo(b"").is_empty());
        let mut elf = b"\x7fELF\x02\x01".to_vec();
        elf.resize(64, 0xff);
        assert!(modinfo(&elf).is_empty());
    }
}
