//! Repositories of RPM packages: where they are, and how their packages are verified.

use std::fs;
use std::path::{Path, PathBuf};

use crate::genimage::GenimageError;
use crate::genimage::plan::Request;

/// How deep repositories are looked for below a local directory: a copied medium has them one or two below
/// its top (`BaseOS`, `Module-Basesystem/x86_64`).
const DEPTH_MAX: u32 = 2;
/// Most repositories found below one directory.
const REPOSITORIES_MAX: usize = 64;

/// A repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Repository {
    /// `dawn-1`: its place in the order.
    pub(super) id: String,
    /// `file:///install/rhels9.4/x86_64/BaseOS`.
    pub(super) url: String,
    /// Keys that sign it, as URLs; empty: packages are taken unverified.
    pub(super) keys: Vec<String>,
}

impl Repository {
    /// Its section of a `.repo` file.
    pub(super) fn section(&self) -> String {
        let check = u8::from(!self.keys.is_empty());
        let keys =
            if self.keys.is_empty() { String::new() } else { format!("gpgkey={}\n", self.keys.join(" ")) };
        let Self { id, url, .. } = self;
        format!("[{id}]\nname={id}\nbaseurl={url}\nenabled=1\ngpgcheck={check}\n{keys}")
    }
}

/// The repositories of an image.
///
/// # Errors
/// [`GenimageError::NoSource`] without `pkgdir`, and those of [`repositories`].
pub(super) fn of_request(request: &Request<'_>) -> Result<Vec<Repository>, GenimageError> {
    let mut elements = request.def.pkgdir.clone();
    if elements.is_empty() {
        return Err(GenimageError::NoSource(request.def.osvers.clone()));
    }
    elements.extend(request.other_dirs(&is_repository));
    repositories(&elements, &request.options.rpm_keys)
}

/// What a dry run shows of them.
pub(super) fn lines(repositories: &[Repository]) -> Vec<String> {
    repositories.iter().map(|one| format!("{} {}", one.id, one.url)).collect()
}

/// The repositories of `pkgdir` elements, in their order.
///
/// A local directory is the administrator's own, so its packages are not verified. Packages of a URL are
/// verified with the keys of this machine in `keys`, if it has any.
///
/// # Errors
/// [`GenimageError::Pkgdir`] for an element that is neither an absolute path nor a URL, or a directory
/// without a repository.
fn repositories(elements: &[String], keys: &Path) -> Result<Vec<Repository>, GenimageError> {
    let mut all: Vec<Repository> = Vec::new();
    for element in elements {
        for (url, keys) in locations(element.trim(), keys)? {
            all.push(Repository { id: format!("dawn-{}", all.len().saturating_add(1)), url, keys });
        }
    }
    Ok(all)
}

/// What the user should know of them.
pub(super) fn warnings(repositories: &[Repository]) -> Vec<String> {
    let unverified = repositories.iter().filter(|one| one.keys.is_empty() && !one.url.starts_with("file:"));
    unverified
        .map(|one| format!("packages of {} are not verified: this machine has no keys for them", one.url))
        .collect()
}

fn locations(element: &str, keys: &Path) -> Result<Vec<(String, Vec<String>)>, GenimageError> {
    let refused = || GenimageError::Pkgdir(element.to_owned());
    // A line break or blank would begin another setting of the file.
    if element.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(refused());
    }
    if ["http://", "https://", "ftp://"].iter().any(|scheme| element.starts_with(scheme)) {
        return Ok(vec![(element.to_owned(), keys_of(keys))]);
    }
    let dir = Path::new(element);
    if !dir.is_absolute() {
        return Err(refused());
    }
    let mut found = Vec::new();
    find(dir, 0, &mut found);
    if found.is_empty() {
        return Err(GenimageError::NoRepository(dir.to_owned()));
    }
    Ok(found.iter().map(|dir| (format!("file://{}", dir.display()), Vec::new())).collect())
}

/// Directories with `repodata`, in the order of their names. Repositories are not nested.
fn is_repository(dir: &Path) -> bool {
    dir.join("repodata/repomd.xml").is_file()
}

fn find(dir: &Path, depth: u32, found: &mut Vec<PathBuf>) {
    if found.len() >= REPOSITORIES_MAX {
        return;
    }
    if is_repository(dir) {
        found.push(dir.to_owned());
        return;
    }
    if depth == DEPTH_MAX {
        return;
    }
    let mut below: Vec<PathBuf> =
        fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    below.sort();
    for dir in below.iter().filter(|path| path.is_dir()) {
        find(dir, depth.saturating_add(1), found);
    }
}

/// Key files of this machine (`/etc/pki/rpm-gpg`).
fn keys_of(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut keys: Vec<String> = entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("RPM-GPG-KEY"))
        .map(|entry| format!("file://{}", entry.path().display()))
        .filter(|url| !url.chars().any(char::is_whitespace))
        .collect();
    keys.sort();
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copied_medium_has_several_repositories() {
        let top = tempfile::tempdir().expect("a directory");
        for dir in ["el9/BaseOS", "el9/AppStream", "el9/AppStream/inner", "flat", "none/a/b/too/deep"] {
            let repodata = top.path().join(dir).join("repodata");
            fs::create_dir_all(&repodata).expect("a directory");
            fs::write(repodata.join("repomd.xml"), "").expect("a file");
        }
        fs::create_dir(top.path().join("keys")).expect("a directory");
        let path = |name: &str| top.path().join(name).display().to_string();
        let of = |elements: &[String]| repositories(elements, &top.path().join("keys"));
        let all = of(&[path("el9"), path("flat"), "http://mirror.test/x".into()]).expect("repositories");
        let urls: Vec<&str> = all.iter().map(|one| one.url.as_str()).collect();
        assert_eq!(
            urls,
            [
                format!("file://{}", path("el9/AppStream")),
                format!("file://{}", path("el9/BaseOS")),
                format!("file://{}", path("flat")),
                "http://mirror.test/x".to_owned(),
            ]
        );
        assert_eq!(warnings(&all).len(), 1);
        fs::write(top.path().join("keys/RPM-GPG-KEY-test"), "").expect("a file");
        let all = of(&["http://mirror.test/x".into()]).expect("a repository");
        assert!(all[0].section().contains("gpgcheck=1\ngpgkey=file://"), "{}", all[0].section());
        assert_eq!(warnings(&all), [""; 0]);
        for element in ["relative".to_owned(), path("none"), "http://x/ y".into(), "http://x\n[main]".into()]
        {
            assert!(of(std::slice::from_ref(&element)).is_err(), "{element}");
        }
    }
}
