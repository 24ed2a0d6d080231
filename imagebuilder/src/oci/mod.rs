//! Container images on disk as trees of nodes.
//!
//! An OCI image layout (image-spec, image-layout.md), the same in a tar archive, or an archive of `docker
//! save` becomes a tree: [`Reference`] says which, [`store`] reads its files, [`manifest`] chooses the image
//! and its layers, [`apply`] unpacks them one over the other. Everything in an image is hostile input:
//! digests are verified, paths stay in the tree, and nothing is kept of an image that breaks a rule.

mod apply;
#[cfg(any(test, feature = "fuzz"))]
#[doc(hidden)]
pub mod fuzz;
mod manifest;
mod reference;
mod store;

pub use reference::Reference;

use std::io;
use std::path::{Path, PathBuf};

use apply::Tree;
use store::Store;

/// Why a container image could not be used.
#[derive(Debug, thiserror::Error)]
pub enum OciError {
    /// The text in `pkgdir` names no image.
    #[error(
        "'{0}' is not a container image on disk (oci:/DIR[:TAG], oci-archive:/FILE[:TAG] or docker-archive:/FILE[:NAME:TAG])"
    )]
    Reference(String),
    /// The image has parts that are not as the format demands.
    #[error("{image}: {reason}")]
    Bad {
        /// The image.
        image: String,
        /// What is wrong.
        reason: String,
    },
    /// A file of the image or of the tree could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Reference {
    /// The digest of the image for an architecture (`osimage.osarch`): of its manifest, or of its
    /// configuration in an archive of `docker save`.
    ///
    /// # Errors
    /// When the image cannot be read or has none for the architecture.
    pub fn digest(&self, arch: &str) -> Result<String, OciError> {
        let store = Store::open(self)?;
        Ok(manifest::choose(self, &store, arch)?.digest)
    }
}

/// Unpacks an image into `root`, a directory that is made here.
///
/// # Errors
/// When the image cannot be read, breaks a rule of its format, or cannot be written.
pub fn unpack(
    reference: &Reference,
    arch: &str,
    root: &Path,
    line: &mut dyn FnMut(&str),
) -> Result<(), OciError> {
    let store = Store::open(reference)?;
    let image = manifest::choose(reference, &store, arch)?;
    let mut tree = Tree::make(root)?;
    for (number, layer) in (1u32..).zip(&image.layers) {
        line(&format!("Unpacking layer {number} of {}", image.layers.len()));
        let content = store.layer(layer)?;
        tree.add(content).map_err(|error| error.of(reference, number, root))?;
    }
    if tree.devices() > 0 {
        line(&format!("Warning: {} device files are left out; nodes make their own", tree.devices()));
    }
    tree.finish().map_err(|source| OciError::File { path: root.to_owned(), source })
}

fn bad(image: &Reference, reason: impl Into<String>) -> OciError {
    OciError::Bad { image: image.to_string(), reason: reason.into() }
}

#[cfg(test)]
mod tests;
