//! Fingerprints of directory trees: is it the same tree, byte for byte and mode for mode?

use std::fs;
use std::hash::Hasher;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use siphasher::sip::SipHasher13;

/// Content, kinds, modes and owners of everything below `top`, in one number.
pub fn of_tree(top: &Path) -> Result<u64> {
    let mut hasher = SipHasher13::new();
    add(top, Path::new(""), &mut hasher)?;
    Ok(hasher.finish())
}

/// Content of some files and trees, without owners and modes: a key for a cache.
pub fn of_sources<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Result<u64> {
    let mut hasher = SipHasher13::new();
    for path in paths {
        for file in files(path)? {
            hasher.write(file.strip_prefix(path).unwrap_or(&file).as_os_str().as_bytes());
            hasher.write(&read(&file)?);
        }
    }
    Ok(hasher.finish())
}

fn add(top: &Path, below: &Path, hasher: &mut SipHasher13) -> Result<()> {
    let path = top.join(below);
    let meta = fs::symlink_metadata(&path).with_context(|| format!("cannot look at {}", path.display()))?;
    hasher.write(below.as_os_str().as_bytes());
    for number in [u64::from(meta.mode()), u64::from(meta.uid()), u64::from(meta.gid()), meta.rdev()] {
        hasher.write_u64(number);
    }
    if meta.is_symlink() {
        let link = fs::read_link(&path).with_context(|| format!("cannot read link {}", path.display()))?;
        hasher.write(link.as_os_str().as_bytes());
    } else if meta.is_file() {
        hasher.write(&read(&path)?);
    } else if meta.is_dir() {
        for name in names(&path)? {
            add(top, &below.join(name), hasher)?;
        }
    }
    Ok(())
}

fn names(dir: &Path) -> Result<Vec<std::ffi::OsString>> {
    let entries = fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))?;
    let mut names = entries.map(|entry| Ok(entry?.file_name())).collect::<Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

fn files(path: &Path) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut all = Vec::new();
    for name in names(path)? {
        all.extend(files(&path.join(name))?);
    }
    Ok(all)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
