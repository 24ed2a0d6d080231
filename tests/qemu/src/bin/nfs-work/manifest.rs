//! A tree as text: one line an object, with everything that must be the same on node and server.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result};
use siphasher::sip::SipHasher24;
use std::hash::Hasher;

/// Names, kinds, modes, owners, links, sizes, times of change and contents below `top`.
pub(crate) fn of_tree(top: &Path) -> Result<String> {
    let mut text = String::new();
    add(&mut text, top, Path::new(""))?;
    Ok(text)
}

fn add(text: &mut String, top: &Path, path: &Path) -> Result<()> {
    let full = top.join(path);
    let meta = fs::symlink_metadata(&full).with_context(|| format!("{}", full.display()))?;
    let mut hasher = SipHasher24::new();
    if meta.is_file() {
        hasher.write(&fs::read(&full).with_context(|| format!("{}", full.display()))?);
    }
    if meta.is_symlink() {
        hasher.write(fs::read_link(&full)?.as_os_str().as_encoded_bytes());
    }
    let size = if meta.is_dir() { 0 } else { meta.size() };
    let (mode, uid, gid, links) = (meta.mode(), meta.uid(), meta.gid(), meta.nlink());
    let (seconds, nanos, hash) = (meta.mtime(), meta.mtime_nsec(), hasher.finish());
    let name = path.display();
    writeln!(text, "{name} {mode:o} {uid}:{gid} {links} {size} {seconds}.{nanos:09} {hash:016x}")?;
    if meta.is_dir() {
        let mut names: Vec<_> =
            fs::read_dir(&full)?.map(|entry| Ok(entry?.file_name())).collect::<Result<_>>()?;
        names.sort();
        names.iter().try_for_each(|name| add(text, top, &path.join(name)))?;
    }
    Ok(())
}
