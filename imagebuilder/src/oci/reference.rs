//! The name of a container image on disk, as in `linuximage.pkgdir`.

use std::fmt;
use std::path::{Path, PathBuf};

use super::OciError;

/// How an image is stored. The words are those of containers-transports(5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    /// A directory with an OCI image layout.
    Layout,
    /// The same in a tar archive.
    LayoutArchive,
    /// What `docker save` and `podman save` write.
    DockerArchive,
}

const WORDS: [(&str, Transport); 3] = [
    ("oci:", Transport::Layout),
    ("oci-archive:", Transport::LayoutArchive),
    ("docker-archive:", Transport::DockerArchive),
];

/// A container image on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    pub(super) transport: Transport,
    pub(super) path: PathBuf,
    /// Which of several images.
    pub(super) name: Option<String>,
}

impl Reference {
    /// Whether a text is meant as one, right or wrong.
    #[must_use]
    pub fn is_one(text: &str) -> bool {
        WORDS.iter().any(|(word, _)| text.starts_with(word))
    }

    /// Reads `oci:/DIR[:TAG]`, `oci-archive:/FILE[:TAG]` or `docker-archive:/FILE[:NAME:TAG]`.
    ///
    /// # Errors
    /// For another text, or a path that is not absolute.
    pub fn parse(text: &str) -> Result<Self, OciError> {
        let refused = || OciError::Reference(text.to_owned());
        let (word, transport) = WORDS.iter().find(|(word, _)| text.starts_with(word)).ok_or_else(refused)?;
        let rest = text.get(word.len()..).unwrap_or_default();
        let (path, name) = match rest.split_once(':') {
            Some((path, name)) => (path, Some(name.to_owned())),
            None => (rest, None),
        };
        if !Path::new(path).is_absolute() || name.as_deref() == Some("") {
            return Err(refused());
        }
        Ok(Self { transport: *transport, path: path.into(), name })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word =
            WORDS.iter().find(|(_, transport)| *transport == self.transport).map_or("", |(word, _)| word);
        write!(f, "{word}{}", self.path.display())?;
        self.name.iter().try_for_each(|name| write!(f, ":{name}"))
    }
}
