//! What a plan depends on besides the tables, as data: addresses, ports, what is on disk of the images.

use crate::address::LocalAddresses;
use crate::token::Proof;
use dawn_wire::status::port;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

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
    /// What the tokens of installers are made with. Without it they are replaced by a mask: the text is then
    /// not for the node.
    pub proof: Option<Proof<'a>>,
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
