//! A plan as a tree of links, which rsync copies in one run with links followed.
//!
//! Every file has the path that it will have on the node, so files that change their names need no second
//! step, and one connection is enough for all of a node's files. rsync gets the places as a list and makes
//! directories on the way only where there are none: existing ones keep owner, mode and time. Files are
//! compared by content, not by time. Names never meet a shell: rsync sends them in its own protocol.

use super::plan::Plan;
use crate::openssh::RSYNC;
use std::collections::BTreeSet;
use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};

/// A stage could not be made.
#[derive(Debug, thiserror::Error)]
#[error("{}: {why}", .path.display())]
pub struct StageError {
    path: PathBuf,
    why: io::Error,
}

/// The tree and the list of its places.
#[derive(Debug)]
pub struct Stage {
    tree: PathBuf,
    list: PathBuf,
}

impl Stage {
    /// Makes it in `directory`, which is private to the run, under a unique name.
    ///
    /// # Errors
    /// The tree cannot be made.
    pub fn new(directory: &Path, name: &str, plan: &Plan) -> Result<Self, StageError> {
        let stage = Self { tree: directory.join(name), list: directory.join(format!("{name}.list")) };
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |why| StageError { path, why }
        };
        let mut list = Vec::new();
        let mut make = DirBuilder::new();
        make.mode(0o700).recursive(true).create(&stage.tree).map_err(failed(&stage.tree))?;
        for (place, source) in &plan.places {
            let mut above = place.rmatch_indices('/').filter_map(|(end, _)| place.get(..end));
            if above.any(|above| plan.places.contains_key(above)) {
                // The link above it leads to a file of this machine.
                let why = io::Error::other("it is below another file of the list");
                return Err(StageError { path: place.into(), why });
            }
            let inside = place.trim_start_matches('/');
            let link = stage.tree.join(inside);
            if let Some(above) = link.parent() {
                make.create(above).map_err(failed(above))?;
            }
            symlink(&source.path, &link).map_err(failed(&link))?;
            list.extend_from_slice(inside.as_bytes());
            list.push(0);
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&stage.list)
            .map_err(failed(&stage.list))?;
        file.write_all(&list).map_err(failed(&stage.list))?;
        Ok(stage)
    }

    /// What rsync copies.
    #[must_use]
    pub fn tree(&self) -> &Path {
        &self.tree
    }

    /// Options for rsync; `remote` for a node, where rsync has its usual path.
    #[must_use]
    pub fn flags(&self, dry_run: bool, remote: bool) -> Vec<String> {
        let mut flags = vec!["-rLptgo".to_owned()];
        if remote {
            flags.extend(["-z".to_owned(), "--rsync-path".to_owned(), RSYNC.to_owned()]);
        }
        flags.extend(
            ["--checksum", "--no-implied-dirs", "-8", "--out-format=%i %n", "--from0"].map(str::to_owned),
        );
        flags.push(format!("--files-from={}", self.list.display()));
        flags.extend(dry_run.then(|| "-n".to_owned()));
        flags
    }
}

/// What rsync said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Places of files whose content is new.
    pub files: BTreeSet<String>,
    /// Lines that do not report a file.
    pub messages: Vec<String>,
}

/// Reads the lines of `--out-format=%i %n` (rsync(1), `--itemize-changes`).
#[must_use]
pub fn changes(output: &str) -> Changes {
    let mut changes = Changes::default();
    for line in output.lines() {
        match line.split_once(' ') {
            Some((item, name)) if item.starts_with("<f") || item.starts_with(">f") => {
                changes.files.insert(format!("/{name}"));
            }
            // Directories and attributes.
            Some((item, _)) if item.len() >= 9 && item.starts_with(['c', '.', 'h', '<', '>']) => {}
            _ => changes.messages.push(line.to_owned()),
        }
    }
    changes
}
