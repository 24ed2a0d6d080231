//! Static directories under virtual prefixes: `/tftpboot`, `/install`.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::{Answer, Entry, Request, RequestPath, Source, Tree, TreeError};

/// One directory under one prefix.
#[derive(Debug)]
pub struct Mount {
    prefix: String,
    path: PathBuf,
    /// Open, once its disk has answered.
    tree: OnceLock<Tree>,
    listed: bool,
    private: Vec<String>,
}

impl Mount {
    /// Serves `tree` under `prefix` (`install`, `tftpboot`, or empty for the top). Nothing is listed.
    pub fn new(prefix: &str, tree: Tree) -> Self {
        let path = tree.path().to_owned();
        Self { tree: OnceLock::from(tree), ..Self::later(prefix, &path) }
    }

    /// The same for a directory whose disk does not answer yet: the first request that finds it opens it.
    pub fn later(prefix: &str, path: &Path) -> Self {
        let (prefix, path) = (prefix.trim_matches('/').to_owned(), path.to_owned());
        Self { prefix, path, tree: OnceLock::new(), listed: false, private: Vec::new() }
    }

    /// The directory. May wait for its disk.
    fn tree(&self) -> Result<&Tree, TreeError> {
        if let Some(tree) = self.tree.get() {
            return Ok(tree);
        }
        let tree = Tree::open_root(&self.path).map_err(TreeError::Io)?;
        Ok(self.tree.get_or_init(|| tree))
    }

    /// Lets clients see the names in directories, as installers need for repositories.
    #[must_use]
    pub fn listed(mut self) -> Self {
        self.listed = true;
        self
    }

    /// Refuses `folder` (relative to the tree) and everything below it, regardless of permission bits.
    #[must_use]
    pub fn private(mut self, folder: &str) -> Self {
        self.private.push(folder.trim_matches('/').to_owned());
        self
    }

    fn at_once(&self, inner: &RequestPath) -> Option<Answer> {
        if inner.has_trailing_slash() || self.private.iter().any(|folder| inner.is_within(folder)) {
            return None;
        }
        self.tree.get()?.open_at_once(inner).map(Answer::File)
    }

    fn answer(&self, inner: &RequestPath) -> Answer {
        if self.private.iter().any(|folder| inner.is_within(folder)) {
            return Answer::Refused("this folder is private to the server".to_owned());
        }
        match self.tree().and_then(|tree| tree.open(inner)) {
            Ok(Entry::File(_)) if inner.has_trailing_slash() => Answer::NotFound,
            Ok(Entry::File(file)) => Answer::File(file),
            Ok(Entry::Directory(dir)) if self.listed => Answer::Directory(dir),
            Ok(Entry::Directory(_)) => Answer::Refused("it is a directory, not a file".to_owned()),
            Err(TreeError::NotFound) => Answer::NotFound,
            Err(error) => Answer::Refused(error.to_string()),
        }
    }
}

/// Several mounts; the first whose prefix fits answers, so longer prefixes go first.
#[derive(Debug, Default)]
pub struct Roots {
    mounts: Vec<Mount>,
}

impl Roots {
    /// No directories yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a mount after the others.
    #[must_use]
    pub fn with(mut self, mount: Mount) -> Self {
        self.mounts.push(mount);
        self
    }

    /// Where on this machine `path` leads, links followed; nothing where it leads nowhere.
    ///
    /// # Errors
    /// As [`Tree::real_path`].
    pub fn real_path(&self, path: &RequestPath) -> Result<Option<PathBuf>, TreeError> {
        let Some((mount, inner)) = self.mount_of(path) else { return Ok(None) };
        mount.tree()?.real_path(&inner)
    }

    /// The same, if that can be said without asking a disk.
    pub fn real_path_at_once(&self, path: &RequestPath) -> Option<PathBuf> {
        let (mount, inner) = self.mount_of(path)?;
        mount.tree.get()?.real_path_at_once(&inner)
    }

    /// What [`Roots::find`] would say, if that can be said without asking a disk.
    pub fn find_at_once(&self, path: &RequestPath) -> Option<Answer> {
        let (mount, inner) = self.mount_of(path)?;
        mount.at_once(&inner)
    }

    /// Where on this machine the directory under `prefix` is, links followed if it is open.
    pub fn root(&self, prefix: &str) -> Option<PathBuf> {
        let mount = self.mounts.iter().find(|mount| mount.prefix == prefix)?;
        Some(mount.tree.get().and_then(Tree::real_root).unwrap_or_else(|| mount.path.clone()))
    }

    /// Where on this machine `path` is by its text, links not followed.
    pub fn place(&self, path: &RequestPath) -> PathBuf {
        match self.mount_of(path) {
            Some((mount, inner)) => mount.path.join(inner.as_str()),
            None => PathBuf::new(),
        }
    }

    fn mount_of(&self, path: &RequestPath) -> Option<(&Mount, RequestPath)> {
        self.mounts.iter().find_map(|mount| Some((mount, path.strip_prefix(&mount.prefix)?)))
    }

    /// Answers from the mount that `path` belongs to; [`Answer::Elsewhere`] if none.
    pub fn find(&self, path: &RequestPath) -> Answer {
        self.mount_of(path).map_or(Answer::Elsewhere, |(mount, inner)| mount.answer(&inner))
    }
}

impl Source for Roots {
    fn at_once(&self, request: &Request<'_>) -> Option<Answer> {
        // Not one of ours needs no look.
        let Some((mount, inner)) = self.mount_of(request.path) else { return Some(Answer::Elsewhere) };
        mount.at_once(&inner)
    }

    fn place(&self, request: &Request<'_>) -> PathBuf {
        self.place(request.path)
    }

    fn resolve(&self, request: &Request<'_>) -> Answer {
        self.find(request.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_directory_may_come_later() {
        let dir = tempfile::tempdir().unwrap();
        let late = dir.path().join("late");
        let roots = Roots::new().with(Mount::later("install", &late));
        let path = RequestPath::parse("/install/file").unwrap();
        assert!(matches!(roots.find(&path), Answer::Refused(_)));
        std::fs::create_dir(&late).unwrap();
        for (path, mode) in [(dir.path(), 0o755), (&late, 0o755)] {
            std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
        }
        std::fs::write(late.join("file"), b"f").unwrap();
        assert!(roots.find_at_once(&path).is_none());
        assert!(matches!(roots.find(&path), Answer::File(_)));
        assert_eq!(roots.place(&path), late.join("file"));
    }

    #[test]
    fn mounts_answer_by_prefix() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
        for folder in ["postscripts", "keys"] {
            std::fs::create_dir(dir.path().join(folder)).unwrap();
        }
        std::fs::write(dir.path().join("keys/host"), b"k").unwrap();
        std::fs::write(dir.path().join("file"), b"f").unwrap();
        let roots = Roots::new()
            .with(Mount::new("/install/", Tree::open_root(dir.path()).unwrap()).listed().private("keys"))
            .with(Mount::new("tftpboot", Tree::open_root(dir.path()).unwrap()));
        let find = |text: &str| roots.find(&RequestPath::parse(text).unwrap());
        assert!(matches!(find("/install/file"), Answer::File(_)));
        assert!(matches!(find("/install/file/"), Answer::NotFound));
        assert!(matches!(find("//install//postscripts"), Answer::Directory(_)));
        assert!(matches!(find("/install/keys/host"), Answer::Refused(_)));
        assert!(matches!(find("/tftpboot/postscripts"), Answer::Refused(_)));
        assert!(matches!(find("/tftpboot/none"), Answer::NotFound));
        assert!(matches!(find("/other"), Answer::Elsewhere));
    }
}
