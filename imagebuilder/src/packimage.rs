//! packimage: the packed root of stateless nodes.
//!
//! What packing changes — root's password, time zone, post scripts, `/opt/xcat/xcatinfo`, synced files — is
//! changed in the archive and not in `R/rootimg`, so one tree can be packed for some nodes while others run
//! from it by NFS. The archive is written next to the old one and renamed over it when complete; only then
//! are archives of other methods removed, so that a node never finds none or two.

use std::fs::{self, Permissions};
use std::hash::Hasher;
use std::io::{self, BufWriter};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use siphasher::sip128::{Hasher128, SipHasher13};

use crate::archive::{self, ArchiveError, Compress};
use crate::exlist::Exlist;
use crate::genimage::{self, GenimageError};
use crate::image::{DefError, ImageDef};
use crate::listfile::ListError;
use crate::password::{self, RootPassword};
use crate::squashfs::{self, SquashfsError};
use crate::synced;
use crate::tree::{Kind, Meta, Tree, TreeError};
use dawn_statelite::liteimg::{self, LiteimgError};
use dawn_wire::image::{
    PACKED_CPIO_GZIP, PACKED_CPIO_XZ, PACKED_ROOTS, PACKED_SQUASHFS, PACKED_STATELITE, PACKED_TAR_GZIP,
    PACKED_TAR_XZ, ROOT,
};

/// The exclude list used when `linuximage.exlist` is empty.
pub const DEFAULT_EXLIST: &str = include_str!("../share/debian.compute.exlist");
/// Compression levels: gzip as the program's default, xz where more costs far more time than it saves.
const GZIP_LEVEL: u32 = 6;
const XZ_LEVEL: u32 = 6;
/// Raised when packing changes something else in the archive.
const PACK_FORMAT: u32 = 2;

/// Why an image could not be packed.
#[derive(Debug, thiserror::Error)]
pub enum PackimageError {
    /// The definition is not usable.
    #[error(transparent)]
    Def(#[from] DefError),
    /// The image is not one of a stateless node.
    #[error("'{0}' cannot be used to build diskless image. Make sure osimage.provmethod is 'netboot'.")]
    NotNetboot(String),
    /// Method or compression is not known, or they do not go together.
    #[error("{0}")]
    Method(String),
    /// There is no tree yet.
    #[error("{0} does not exist; run genimage first")]
    NoTree(PathBuf),
    /// The exclude list could not be read.
    #[error(transparent)]
    List(#[from] ListError),
    /// A file of the tree could not be read.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The squashfs writer failed.
    #[error(transparent)]
    Squashfs(#[from] SquashfsError),
    /// The archive writer failed.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The result could not be put into place.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A hash from the passwd table would break `/etc/shadow`.
    #[error("the password of root in the passwd table contains ':' or a line end")]
    Password,
    /// The time zone is not one.
    #[error("site.timezone '{0}' is not a time zone name")]
    Timezone(String),
    /// The list of what liteimg did cannot be read.
    #[error(transparent)]
    Liteimg(#[from] LiteimgError),
    /// genimage works on the image.
    #[error(transparent)]
    Busy(GenimageError),
}

impl PackimageError {
    /// What the user can do about it, if that is known.
    pub fn hint(&self) -> Option<&'static str> {
        let full = |source: &io::Error| source.kind() == io::ErrorKind::StorageFull;
        let out_of_space = match self {
            PackimageError::Squashfs(SquashfsError::Write(source)) => full(source),
            PackimageError::Archive(ArchiveError::Write(source)) => full(source),
            PackimageError::File { source, .. } => full(source),
            _ => false,
        };
        match self {
            _ if out_of_space => {
                Some("the disk of rootimgdir is full; the archive that was there is unchanged")
            }
            PackimageError::Tree(TreeError::Changed(_)) => {
                Some("something writes to rootimg; try again when it is done")
            }
            _ => None,
        }
    }
}

/// The kind of archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Method {
    /// Mounted by the node as it is.
    #[default]
    Squashfs,
    /// Unpacked into memory.
    Cpio(Packer),
    /// Unpacked into memory.
    Tar(Packer),
}

/// The compressor of cpio and tar archives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Packer {
    /// gzip; on all cores, so `pigz` means the same.
    #[default]
    Gzip,
    /// xz.
    Xz,
}

impl Method {
    /// From the words of the command line (`--method`, `--compress`).
    pub fn parse(method: Option<&str>, compress: Option<&str>) -> Result<Self, PackimageError> {
        let packer = match compress {
            None | Some("gzip" | "pigz") => Packer::Gzip,
            Some("xz") => Packer::Xz,
            Some(other) => {
                return Err(PackimageError::Method(format!(
                    "Invalid compress method '{other}' requested: gzip, pigz or xz"
                )));
            }
        };
        match method {
            None if compress.is_none() => Ok(Method::default()),
            None | Some("cpio") => Ok(Method::Cpio(packer)),
            Some("tar") => Ok(Method::Tar(packer)),
            Some("squashfs") => Ok(Method::Squashfs),
            Some(other) => Err(PackimageError::Method(format!(
                "Invalid archive method '{other}' requested: cpio, tar or squashfs"
            ))),
        }
    }

    /// The file name of the archive.
    pub fn file(self) -> &'static str {
        match self {
            Method::Squashfs => PACKED_SQUASHFS,
            Method::Cpio(Packer::Gzip) => PACKED_CPIO_GZIP,
            Method::Cpio(Packer::Xz) => PACKED_CPIO_XZ,
            Method::Tar(Packer::Gzip) => PACKED_TAR_GZIP,
            Method::Tar(Packer::Xz) => PACKED_TAR_XZ,
        }
    }

    fn words(self) -> (&'static str, &'static str) {
        let packer = |packer| match packer {
            Packer::Gzip => "pigz",
            Packer::Xz => "xz",
        };
        match self {
            Method::Squashfs => ("squashfs", "zstd"),
            Method::Cpio(p) => ("cpio", packer(p)),
            Method::Tar(p) => ("tar", packer(p)),
        }
    }
}

/// How to pack.
#[derive(Debug, Clone)]
pub struct Options {
    /// The archive.
    pub method: Method,
    /// Threads, block size and compression of squashfs; `threads` counts for all methods.
    pub squashfs: squashfs::Options,
    /// Root's password.
    pub root_password: RootPassword,
    /// `site.timezone`.
    pub timezone: Option<String>,
    /// `<installdir>/postscripts`, becomes `/xcatpost`.
    pub postscripts: Option<PathBuf>,
    /// Files and directories to add or replace (path in the image, path on this machine): the image's
    /// synclists.
    pub sync_files: Vec<(String, PathBuf)>,
    /// Time in `xcatinfo` (seconds since 1970); `None`: the newest time of the tree.
    pub made_at: Option<i64>,
    /// Do nothing if the archive was packed from the same tree with the same options.
    pub unless_changed: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            method: Method::default(),
            squashfs: squashfs::Options::default(),
            root_password: RootPassword::Locked,
            timezone: None,
            postscripts: None,
            sync_files: Vec::new(),
            made_at: None,
            unless_changed: false,
        }
    }
}

/// What packing did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The archive.
    pub file: PathBuf,
    /// Its length (bytes).
    pub bytes: u64,
    /// `false`: the archive was up to date.
    pub packed: bool,
}

/// Pack the tree of `def`. Lines for the user go to `line`, percentages to `percent`.
pub fn run(
    def: &ImageDef,
    options: &Options,
    line: &mut dyn FnMut(&str),
    percent: &mut dyn FnMut(u8),
) -> Result<Outcome, PackimageError> {
    def.check()?;
    if def.provmethod != "netboot" {
        return Err(PackimageError::NotNetboot(def.name.clone()));
    }
    let paths = def.paths();
    if !paths.rootimg.is_dir() {
        return Err(PackimageError::NoTree(paths.rootimg));
    }
    let _lock = genimage::lock(&paths.dir).map_err(PackimageError::Busy)?;
    remove_unfinished(&paths.dir)?;
    let output = paths.dir.join(options.method.file());
    let mut tree = Tree::scan(&paths.rootimg, &exlist(def)?)?;
    let identity = identity(&tree, options);
    if options.unless_changed && read_stamp(&paths.dir) == Some(identity) && output.exists() {
        line(&format!("{} is up to date.", output.display()));
        // It was compared with the tree of this moment.
        write_stamp(&paths.dir, identity)?;
        return outcome(output, false);
    }
    without_liteimg(&mut tree, &paths.rootimg)?;
    prepare(&mut tree, def, options, identity)?;
    let (method, compress) = options.method.words();
    line(&format!("Packing contents of {}", paths.rootimg.display()));
    line(&format!("archive method:{method}"));
    line(&format!("compress method:{compress}"));
    let new = paths.dir.join(format!(".{}.new", options.method.file()));
    let written =
        write(&tree, options, &new, percent).and_then(|dropped| publish(&new, &output).map(|()| dropped));
    let dropped = written.inspect_err(|_| drop(fs::remove_file(&new)))?;
    if let Some(dropped) = dropped {
        line(&dropped);
    }
    for other in PACKED_ROOTS.iter().map(|name| paths.dir.join(name)).filter(|path| *path != output) {
        remove(&other)?;
    }
    write_stamp(&paths.dir, identity)?;
    outcome(output, true)
}

/// What a killed packing left: files of the size of an image. Only under the lock.
fn remove_unfinished(dir: &Path) -> Result<(), PackimageError> {
    PACKED_ROOTS.iter().try_for_each(|name| remove(&dir.join(format!(".{name}.new"))))
}

/// Pack the whole tree of the image directory `dir` as it is, links of `liteimg` included. The result is the
/// archive.
pub fn pack_statelite(dir: &Path) -> Result<PathBuf, PackimageError> {
    let rootimg = dir.join(ROOT);
    if !rootimg.is_dir() {
        return Err(PackimageError::NoTree(rootimg));
    }
    let _lock = genimage::lock(dir).map_err(PackimageError::Busy)?;
    let tree = Tree::scan(&rootimg, &Exlist::default())?;
    let options = Options { method: Method::Cpio(Packer::Gzip), ..Options::default() };
    let (new, output) = (dir.join(format!(".{PACKED_STATELITE}.new")), dir.join(PACKED_STATELITE));
    let written = write(&tree, &options, &new, &mut |_| {}).and_then(|_| publish(&new, &output));
    written.inspect_err(|_| drop(fs::remove_file(&new)))?;
    Ok(output)
}

/// What the archive was made from, in a file next to it.
const STAMP: &str = ".packed";

fn read_stamp(dir: &Path) -> Option<u128> {
    u128::from_str_radix(fs::read_to_string(dir.join(STAMP)).ok()?.trim(), 16).ok()
}

fn write_stamp(dir: &Path, identity: u128) -> Result<(), PackimageError> {
    let stamp = dir.join(STAMP);
    dawn_serving::whole::write_unsynced(&stamp, format!("{identity:032x}\n").as_bytes(), 0o644)
        .map_err(|source| file_error(&stamp, source))
}

/// Whether the packed root in `dir` is older than the tree it is to hold, or than the modules of the kernel
/// that is booted with it. Archives that `packimage` has not made say nothing about it.
#[must_use]
pub fn is_stale(dir: &Path) -> bool {
    let packed = fs::metadata(dir.join(STAMP)).and_then(|meta| meta.modified()).ok();
    packed.is_some_and(|packed| genimage::made_at(dir).is_some_and(|made| made > packed))
}

fn outcome(file: PathBuf, packed: bool) -> Result<Outcome, PackimageError> {
    let bytes = fs::metadata(&file).map_err(|source| file_error(&file, source))?.len();
    Ok(Outcome { file, bytes, packed })
}

fn exlist(def: &ImageDef) -> Result<Exlist, ListError> {
    match &def.exlist {
        Some(file) => Exlist::load(file, &|name| genimage::variable(def, name)),
        None => Ok(Exlist::from_lines(DEFAULT_EXLIST.lines())),
    }
}

/// A hash of the tree (names and metadata, which change with every write) and of what packing adds.
fn identity(tree: &Tree, options: &Options) -> u128 {
    let mut hasher = SipHasher13::new();
    for entry in tree.walk() {
        let inode = tree.inode(entry.id);
        hasher.write(&entry.path);
        let kind = match &inode.kind {
            Kind::Dir(_) => "dir".to_owned(),
            Kind::File { size, .. } => format!("file {size}"),
            other => format!("{other:?}"),
        };
        hasher.write(format!("\0{kind} {:?}\n", inode.meta).as_bytes());
    }
    let sq = &options.squashfs;
    let mut rest = format!(
        "{PACK_FORMAT} {:?} {:?} {} {:?} {:?} {}",
        options.method, sq.compressor, sq.block_bytes, sq.times, options.timezone, sq.exportable
    );
    rest.push_str(&options.root_password.shadow_field("").unwrap_or_default());
    let synced = synced::listed(&options.sync_files).unwrap_or_default();
    let mut added: Vec<PathBuf> = synced.into_iter().map(|synced| synced.file).collect();
    added.extend(options.postscripts.iter().flat_map(|dir| files_below(dir)));
    for file in added {
        let stat =
            fs::symlink_metadata(&file).map(|s| (s.len(), s.modified().ok(), s.permissions().mode())).ok();
        rest.push_str(&format!("{file:?} {stat:?}"));
    }
    hasher.write(rest.as_bytes());
    hasher.finish128().as_u128()
}

fn files_below(dir: &Path) -> Vec<PathBuf> {
    let Ok(tree) = Tree::scan(dir, &Exlist::default()) else { return Vec::new() };
    use std::os::unix::ffi::OsStrExt;
    tree.walk().iter().map(|entry| dir.join(std::ffi::OsStr::from_bytes(&entry.path))).collect()
}

/// A tree that liteimg has prepared is packed as it was before: originals in their places, no links.
fn without_liteimg(tree: &mut Tree, rootimg: &Path) -> Result<(), PackimageError> {
    let items = liteimg::saved_items(rootimg)?;
    if items.is_empty() {
        return Ok(());
    }
    for place in liteimg::moved(&items) {
        let link = tree.get(place).map(|id| &tree.inode(id).kind);
        if matches!(link, Some(Kind::Symlink(target)) if target.windows(10).any(|w| w == b".statelite")) {
            tree.rename(&format!("{}/{place}", liteimg::DEFAULT_DIR), place)?;
        }
    }
    tree.remove(liteimg::DEFAULT_DIR);
    tree.put(liteimg::STATELITE_DIR, Meta::root(0o755, tree.newest_mtime()), Kind::dir())?;
    Ok(())
}

/// Put into the tree what every node gets.
fn prepare(tree: &mut Tree, def: &ImageDef, options: &Options, identity: u128) -> Result<(), PackimageError> {
    let now = options.made_at.unwrap_or_else(|| tree.newest_mtime());
    let hash = options.root_password.shadow_field(&def.name).ok_or(PackimageError::Password)?;
    if let Some(shadow) = tree.read("/etc/shadow")? {
        let text = password::with_root(&String::from_utf8_lossy(&shadow), &hash);
        tree.replace_bytes("/etc/shadow", now, text.into_bytes())?;
    }
    if let Some(zone) = options.timezone.as_deref().filter(|zone| !zone.is_empty()) {
        timezone(tree, zone, now)?;
    }
    if let Some(dir) = options.postscripts.as_deref().filter(|dir| dir.is_dir()) {
        tree.graft("/xcatpost", dir)?;
        let agent = dir.join("xcatdsklspost");
        if let Ok(bytes) = fs::read(&agent) {
            tree.put_file("/opt/xcat/xcatdsklspost", 0o755, now, bytes)?;
        }
    }
    for file in synced::listed(&options.sync_files)? {
        synced::put(tree, &file)?;
    }
    tree.put_file("/opt/xcat/xcatinfo", 0o644, now, xcatinfo(def, identity, now).into_bytes())?;
    Ok(())
}

/// The file from which node scripts learn which image they run in. Shell assignments; the values need no
/// quoting inside the quotes, as image names are checked.
fn xcatinfo(def: &ImageDef, identity: u128, now: i64) -> String {
    // A version 8 UUID (RFC 9562 section 5.8): the hash with the version and variant bits set.
    let uuid = identity & !(0xf << 76) & !(0x3 << 62) | (0x8 << 76) | (0x2 << 62);
    let hex = format!("{uuid:032x}");
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    let uuid = [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-");
    format!("IMAGENAME='{}'\nIMAGEUUID='{uuid}'\nTIMESTAMP='{now}'\n", def.name)
}

fn timezone(tree: &mut Tree, zone: &str, now: i64) -> Result<(), PackimageError> {
    let good = |c: char| c.is_ascii_alphanumeric() || "/_+-".contains(c);
    if !zone.chars().all(good) || zone.starts_with('/') {
        return Err(PackimageError::Timezone(zone.to_owned()));
    }
    let file = format!("/usr/share/zoneinfo/{zone}");
    if tree.get(&file).is_none() {
        // The image has no zone files: take this machine's.
        match fs::read(&file) {
            Ok(bytes) => tree.put_file(&file, 0o644, now, bytes)?,
            Err(_) => return Err(PackimageError::Timezone(zone.to_owned())),
        };
    }
    tree.put("/etc/localtime", Meta::root(0o777, now), Kind::Symlink(file.into_bytes()))?;
    tree.put_file("/etc/timezone", 0o644, now, format!("{zone}\n").into_bytes())?;
    Ok(())
}

/// Write the archive; the result is a warning of attributes that could not be kept.
fn write(
    tree: &Tree,
    options: &Options,
    path: &Path,
    percent: &mut dyn FnMut(u8),
) -> Result<Option<String>, PackimageError> {
    let mut file = crate::new_file::create_new(path).map_err(|source| file_error(path, source))?;
    let threads = options.squashfs.threads;
    let total = tree
        .walk()
        .iter()
        .map(|entry| match &tree.inode(entry.id).kind {
            Kind::File { size, .. } => *size,
            _ => 0,
        })
        .sum::<u64>();
    let mut last = None;
    let mut report = |done: u64| {
        let now = u8::try_from((done.min(total) * 100).checked_div(total).unwrap_or(100)).unwrap_or(100);
        if last != Some(now) {
            last = Some(now);
            percent(now);
        }
    };
    let mut dropped = None;
    match options.method {
        Method::Squashfs => {
            let summary = squashfs::write(tree, &mut file, &options.squashfs, &mut |p| report(p.read_bytes))?;
            dropped = summary.first_dropped.map(|first| {
                let count = summary.dropped_xattrs;
                let first = format!("/{}", String::from_utf8_lossy(&first).trim_start_matches('/'));
                format!(
                    "Warning: {count} access control lists or other attributes have no place in a squashfs, those of {first} first."
                )
            });
        }
        Method::Cpio(packer) => {
            archive::cpio(tree, BufWriter::new(&file), level(packer), threads, &mut report)?;
        }
        Method::Tar(packer) => {
            archive::tar(tree, BufWriter::new(&file), level(packer), threads, &mut report)?
        }
    }
    file.sync_all().map_err(|source| file_error(path, source))?;
    Ok(dropped)
}

fn level(packer: Packer) -> Compress {
    match packer {
        Packer::Gzip => Compress::Gzip(GZIP_LEVEL),
        Packer::Xz => Compress::Xz(XZ_LEVEL),
    }
}

fn publish(new: &Path, output: &Path) -> Result<(), PackimageError> {
    fs::set_permissions(new, Permissions::from_mode(0o644)).map_err(|source| file_error(new, source))?;
    fs::rename(new, output).map_err(|source| file_error(output, source))
}

fn remove(path: &Path) -> Result<(), PackimageError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(file_error(path, source)),
        _ => Ok(()),
    }
}

fn file_error(path: &Path, source: io::Error) -> PackimageError {
    PackimageError::File { path: path.to_owned(), source }
}
