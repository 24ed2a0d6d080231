//! Handles for file systems without handles: the object's path, hashed name by name.
//!
//! Object bytes: 8 bytes keyed hash of the whole path, 8 bytes inode number, then one byte of keyed hash
//! per path component (at most 24, the depth limit of such exports). Paths handed out are remembered, so
//! resolving is normally a table look-up; after a restart the tree is searched, entering only names whose
//! hash byte fits, until the whole-path hash agrees. The inode number tells a file from its successor of
//! the same name (as far as the file system keeps inode numbers).
//!
//! Honest limits: an object renamed through us keeps its handle until a restart, one renamed behind our
//! back or before a restart is stale; hard links to one file have different handles.

use std::collections::HashMap;
use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{Dir, OFlags};

use crate::handle::{HandleKey, OBJECT_BYTES_MAX};
use crate::nfs3::Status;
use crate::sys;

/// Deepest path that fits into a handle.
const LEVELS_MAX: usize = OBJECT_BYTES_MAX - 16;
/// Most paths remembered per region; when full the table starts again and searches refill it.
const KNOWN_PATHS_MAX: usize = 65_536;
/// Most directory entries looked at in one search.
const SEARCH_ENTRIES_MAX: usize = 1_000_000;

/// The paths of the handles of one region.
#[derive(Debug, Default)]
pub(crate) struct PathNames {
    known: Mutex<HashMap<u64, PathBuf>>,
}

fn names(path: &Path) -> impl Iterator<Item = &[u8]> {
    path.components().filter_map(|c| match c {
        Component::Normal(name) => Some(name.as_bytes()),
        _ => None,
    })
}

fn level_hash(key: &HandleKey, name: &[u8]) -> u8 {
    let [low, ..] = key.hash(name).to_le_bytes();
    low
}

impl PathNames {
    /// Object bytes for `path`, which is remembered.
    pub(crate) fn name(&self, key: &HandleKey, path: &Path, inode: u64) -> Result<Vec<u8>, Status> {
        let hash = key.hash(path.as_os_str().as_bytes());
        let mut object = Vec::with_capacity(OBJECT_BYTES_MAX);
        object.extend_from_slice(&hash.to_be_bytes());
        object.extend_from_slice(&inode.to_be_bytes());
        object.extend(names(path).map(|n| level_hash(key, n)));
        if object.len() > OBJECT_BYTES_MAX {
            return Err(Status::NameTooLong);
        }
        self.remember(hash, path.to_owned());
        Ok(object)
    }

    fn remember(&self, hash: u64, path: PathBuf) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KNOWN_PATHS_MAX {
            known.clear();
        }
        known.insert(hash, path);
    }

    /// The inode number within object bytes.
    pub(crate) fn inode(object: &[u8]) -> u64 {
        object.get(8..16).and_then(|b| b.try_into().ok()).map_or(0, u64::from_be_bytes)
    }

    /// The path that object bytes refer to.
    pub(crate) fn find(
        &self,
        key: &HandleKey,
        root: BorrowedFd<'_>,
        object: &[u8],
    ) -> Result<PathBuf, Status> {
        let hash = object.first_chunk::<8>().map(|b| u64::from_be_bytes(*b)).ok_or(Status::BadHandle)?;
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&hash).cloned();
        if let Some(path) = known {
            return Ok(path);
        }
        let levels = object.get(16..).unwrap_or_default();
        let path = search(key, root, levels, hash).ok_or(Status::Stale)?;
        self.remember(hash, path.clone());
        Ok(path)
    }

    /// Follows a rename: handles of the object and of everything below it keep their meaning.
    pub(crate) fn renamed(&self, key: &HandleKey, from: &Path, to: &Path) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        // What was at the new name is gone; its handle must not lead to the newcomer.
        known.remove(&key.hash(to.as_os_str().as_bytes()));
        for path in known.values_mut() {
            if let Ok(rest) = path.strip_prefix(from) {
                *path = if rest.as_os_str().is_empty() { to.to_owned() } else { to.join(rest) };
            }
        }
    }
}

fn search(key: &HandleKey, root: BorrowedFd<'_>, levels: &[u8], hash: u64) -> Option<PathBuf> {
    if levels.len() > LEVELS_MAX {
        return None;
    }
    let right = |path: &Path| key.hash(path.as_os_str().as_bytes()) == hash;
    let mut todo = vec![PathBuf::new()];
    let mut seen = HashSet::new();
    let mut budget = SEARCH_ENTRIES_MAX;
    while let Some(path) = todo.pop() {
        let depth = names(&path).count();
        let Some(wanted) = levels.get(depth) else {
            if right(&path) {
                return Some(path);
            }
            continue;
        };
        for name in entries(root, &path) {
            budget = budget.checked_sub(1)?;
            let child = path.join(std::ffi::OsStr::from_bytes(&name));
            if level_hash(key, &name) == *wanted && seen.insert(child.clone()) {
                todo.push(child);
            }
        }
    }
    None
}

fn entries(root: BorrowedFd<'_>, path: &Path) -> Vec<Vec<u8>> {
    let dir = match path.as_os_str().is_empty() {
        true => root.try_clone_to_owned().ok(),
        false => sys::open_beneath(root, path).ok(),
    };
    let dir = dir.and_then(|d| sys::reopen(d.as_fd(), OFlags::RDONLY | OFlags::DIRECTORY).ok());
    let Some(Ok(dir)) = dir.map(Dir::read_from) else { return Vec::new() };
    let names = dir.filter_map(Result::ok).map(|e| e.file_name().to_bytes().to_vec());
    names.filter(|n| n != b"." && n != b"..").collect()
}
