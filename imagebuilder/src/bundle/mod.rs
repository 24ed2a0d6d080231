//! imgexport and imgimport: an image as one file that another management node takes over.
//!
//! A bundle is a gzip tar with one directory of the image's name:
//!
//! ```text
//! manifest.xml          attributes of the image, see [`manifest`]
//! kernel initrd-*.gz    what nodes load
//! rootimg.sfs …         the packed root
//! rootimgtree.gz        the tree itself, for statelite images (tar)
//! files/<path>          the lists and scripts the attributes name, under their absolute paths
//! extra/<n>/<name>      files the administrator added, with their directory in the manifest
//! litefile.csv          the image's rows of litefile
//! ```
//!
//! A bundle comes from somewhere else: entries may only be regular files and directories below that one
//! directory, files go only to the paths that the manifest's attributes name, these are limited to the
//! image's own directory and `custom` ([`places`]), and everything is unpacked next to its place before
//! anything is put there. An existing file of this image is kept as `<name>.ORIG`. Scripts, which run
//! as root here or on nodes, are taken only on request ([`Import::scripts`]). The image itself is not
//! checked: nodes that boot it trust its maker.

mod export;
mod import;
mod manifest;
mod places;
mod placing;

use std::io;
use std::path::{Path, PathBuf};

pub use export::{Export, check, export};
pub use import::{Import, Imported, import};
pub use manifest::{Extra, Manifest};
pub use places::Known;

use dawn_serving::disks::within;
use dawn_wire::image::{INITRD_STATELESS, INITRD_STATELITE, KERNEL, PACKED_STATELITE};

use crate::archive::ArchiveError;
use crate::exec::ExecError;
use crate::image::DefError;
use crate::tree::TreeError;

/// Names of the pieces in a bundle and in an image directory.
const PIECES: [&str; 4] = [KERNEL, INITRD_STATELESS, INITRD_STATELITE, PACKED_STATELITE];
const MANIFEST: &str = "manifest.xml";
const LITEFILE: &str = "litefile.csv";
const TREE: &str = "rootimgtree.gz";

/// Why a bundle could not be made or taken over.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The definition is not usable.
    #[error(transparent)]
    Def(#[from] DefError),
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The tree could not be read.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The tree could not be packed.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The tree could not be unpacked.
    #[error("unpacking the tree: {0}")]
    Unpack(#[from] ExecError),
    /// The image has not been built.
    #[error("{0} does not exist; run genimage and packimage first")]
    Missing(PathBuf),
    /// The file is not a bundle, or it names forbidden places.
    #[error("the bundle is not usable: {0}")]
    Bad(String),
    /// The bundle has scripts, and the caller has not asked for them.
    #[error("the bundle has scripts that run as root, here or on nodes: {0}")]
    Scripts(String),
    /// The image's directory is another image's.
    #[error("the bundle is not usable: rootimgdir '{place}' is a place of the image {image}")]
    OfOther {
        /// The directory.
        place: String,
        /// The image that uses it.
        image: String,
    },
    /// The caller has not accepted the rows.
    #[error("the tables cannot take the rows of the bundle")]
    Refused,
}

fn file_error(path: impl Into<PathBuf>, source: io::Error) -> BundleError {
    BundleError::File { path: path.into(), source }
}

/// Whether a file is there. A file may be on a server that is gone: that soon becomes an error.
fn is_file(path: &Path) -> Result<bool, BundleError> {
    within(path, Path::is_file).map_err(|late| file_error(path, io::Error::other(late)))
}

#[cfg(test)]
mod tests;
