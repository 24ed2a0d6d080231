//! Files of synclists as they are packed: directories with all that is in them, links of this machine
//! followed, owner, mode and time kept. In the image, links on the way to a place are followed.

use crate::tree::{Content, Kind, Meta, Tree, TreeError};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Directories in each other: more is a link that leads up.
const DEPTH_MAX: usize = 64;
/// Files and directories of all lists.
const FILES_MAX: usize = 1_000_000;

/// A file or directory with its place.
pub(crate) struct Synced {
    place: String,
    /// Without links.
    pub(crate) file: PathBuf,
    pub(crate) meta: Metadata,
}

/// All of them, directories before what is in them.
pub(crate) fn listed(files: &[(String, PathBuf)]) -> Result<Vec<Synced>, TreeError> {
    let mut all = Vec::new();
    for (place, file) in files {
        list(place.clone(), file, 0, &mut all)
            .map_err(|source| TreeError::Read { path: file.clone(), source })?;
    }
    Ok(all)
}

fn list(place: String, file: &Path, depth: usize, all: &mut Vec<Synced>) -> io::Result<()> {
    let (file, meta) = (file.canonicalize()?, fs::metadata(file)?);
    if depth > DEPTH_MAX || all.len() > FILES_MAX {
        return Err(io::Error::other("directories in each other without end, or too many files"));
    }
    let mut inside = Vec::new();
    if meta.is_dir() {
        for entry in fs::read_dir(&file)? {
            let entry = entry?;
            let not_text =
                |name: std::ffi::OsString| io::Error::other(format!("the name {name:?} is not UTF-8"));
            inside.push((entry.file_name().into_string().map_err(not_text)?, entry.path()));
        }
        inside.sort();
    } else if !meta.is_file() {
        return Err(io::Error::other("it is not a file or directory"));
    }
    all.push(Synced { place: place.clone(), file, meta });
    inside.into_iter().try_for_each(|(name, path)| list(format!("{place}/{name}"), &path, depth + 1, all))
}

/// Puts one into the tree. An existing directory keeps its attributes.
pub(crate) fn put(tree: &mut Tree, synced: &Synced) -> Result<(), TreeError> {
    let refused = || TreeError::NotADirectory(synced.place.clone());
    let is_dir = synced.meta.is_dir();
    let place = tree.followed(&synced.place, is_dir).ok_or_else(refused)?;
    let there = tree.get(&place).map(|id| &tree.inode(id).kind);
    if is_dir && matches!(there, Some(Kind::Dir(_))) {
        return Ok(());
    }
    let meta = Meta {
        mode: u16::try_from(synced.meta.mode() & 0o7777).unwrap_or(0),
        uid: synced.meta.uid(),
        gid: synced.meta.gid(),
        mtime: synced.meta.mtime(),
        xattrs: Vec::new(),
    };
    let kind = match is_dir {
        true => Kind::dir(),
        false => Kind::File { size: synced.meta.len(), content: Content::Host(synced.file.clone()) },
    };
    tree.put(&place, meta, kind).map(drop)
}
