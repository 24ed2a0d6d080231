//! Carrying a plan out: the skeleton before the root exists, the actions inside it.
//!
//! Every action is written to `/.statelite/statelite.log`. An action that fails is reported and the others
//! are carried out, except where persistent files are concerned: a node that silently keeps such files in
//! memory would lose data.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;

use dawn_serving::copy;
use dawn_statelite::resolve::node::{Action, At, Kind, Missing, Place, Probe};
use dawn_wire::list::Mount;

use crate::error::{Error, Result};
use crate::inroot;
use crate::log;
use crate::sys;

/// Directories of the places, as this program sees them.
#[derive(Debug, Clone)]
pub(super) struct Places {
    /// The shared image.
    pub image: String,
    /// The node's files: `tmpfs`, `persistent` and `mnt` below it.
    pub lite: String,
    /// The local disk.
    pub local: String,
    /// Trees in list order.
    pub trees: Vec<Mount>,
    /// Those whose server has stopped answering: they are not asked again.
    pub lost: RefCell<BTreeSet<usize>>,
}

impl Places {
    /// Mount point of a tree.
    pub(super) fn tree(&self, index: usize) -> String {
        match self.trees.get(index) {
            Some(tree) => format!("{}/mnt/{}{}", self.lite, tree.remote.host, tree.remote.dir),
            None => format!("{}/mnt/none", self.lite),
        }
    }

    fn base(&self, place: Place) -> String {
        match place {
            Place::Image => self.image.clone(),
            Place::Tree(index) => self.tree(index),
            Place::Tmpfs => format!("{}/tmpfs", self.lite),
            Place::Persistent => format!("{}/persistent", self.lite),
            Place::Live => format!("{}/live", self.lite),
            Place::Local => self.local.clone(),
        }
    }

    fn real(&self, at: &At) -> String {
        inroot::locate(&self.base(at.place), &at.path)
    }
}

impl Probe for Places {
    fn kind(&self, at: &At) -> Kind {
        let tree = if let Place::Tree(index) = at.place { Some(index) } else { None };
        if tree.is_some_and(|index| self.lost.borrow().contains(&index)) {
            return Kind::Missing;
        }
        let path = self.real(at);
        let meta = match fs::symlink_metadata(&path) {
            Ok(meta) => meta,
            Err(cause) => {
                let silent = matches!(cause.raw_os_error(), Some(libc::EIO | libc::ETIMEDOUT));
                self.lost.borrow_mut().extend(tree.filter(|_| silent));
                return Kind::Missing;
            }
        };
        if meta.is_symlink() {
            let target = fs::read_link(&path).unwrap_or_default();
            return Kind::Link(target.to_string_lossy().into_owned());
        }
        if !meta.is_dir() {
            return Kind::File;
        }
        Kind::Dir { empty: fs::read_dir(&path).is_ok_and(|mut entries| entries.next().is_none()) }
    }

    fn real_path(&self, path: &str) -> String {
        inroot::inside(&self.image, &inroot::locate(&self.image, path)).to_owned()
    }

    fn follow(&self, path: &str) -> Option<String> {
        let real = inroot::follow(&self.image, path)?;
        Some(inroot::inside(&self.image, &real).to_owned())
    }
}

/// Makes what the image lacks below `skeleton`, with directories that look like the image's.
pub(super) fn lay_skeleton(missing: &[Missing], skeleton: &str, image: &str) -> Result<()> {
    for item in missing {
        let (Missing::Dir(path) | Missing::File(path) | Missing::Link(path, _)) = item;
        make_parents(skeleton, path, image)?;
        let here = format!("{skeleton}{path}");
        let made = match item {
            Missing::Dir(_) => fs::create_dir(&here),
            Missing::File(_) => fs::write(&here, ""),
            Missing::Link(_, target) => std::os::unix::fs::symlink(target, &here),
        };
        match made {
            Err(cause) if cause.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(Error::file("create", here, cause));
            }
            _ => log::debug(&item.to_string()),
        }
    }
    Ok(())
}

/// Carries the actions out inside `root`; gives the lines for the log.
pub(super) fn run(actions: &[Action], places: &Places, root: &str) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    for action in actions {
        log::debug(&action.to_string());
        match act(action, places, root) {
            Ok(()) => lines.push(action.to_string()),
            Err(error) if touches_persistent(action) => return Err(error),
            Err(error) => {
                log::problem(&format!("statelite: {action}: {error}"));
                lines.push(format!("{action} FAILED: {error}"));
            }
        }
    }
    Ok(lines)
}

fn touches_persistent(action: &Action) -> bool {
    match action {
        Action::Copy(_, to) | Action::Append(_, to) | Action::Create(to, _) => to.place == Place::Persistent,
        Action::Bind(from, _) | Action::BindRo(from, _) | Action::BindTmpfs(from, _) => {
            from.place == Place::Persistent
        }
        Action::Link(_, _) => false,
    }
}

fn act(action: &Action, places: &Places, root: &str) -> Result<()> {
    match action {
        Action::Copy(from, to) => copy_to(from, to, places),
        Action::Append(from, to) => append(&places.real(from), &places.real(to)),
        Action::Create(at, is_dir) => create(at, *is_dir, places),
        Action::Link(at, target) => link(at, target, places),
        Action::Bind(from, path) => sys::bind(&places.real(from), &shown(root, path)),
        Action::BindRo(from, path) => {
            let target = shown(root, path);
            sys::bind(&places.real(from), &target)?;
            sys::remount_read_only(&target)
        }
        Action::BindTmpfs(from, to) => sys::bind(&places.real(from), &places.real(to)),
    }
}

fn shown(root: &str, path: &str) -> String {
    inroot::locate(root, path)
}

/// A copy on persistent storage or a disk appears whole or not at all, so that a node that dies in between
/// copies again.
fn copy_to(from: &At, to: &At, places: &Places) -> Result<()> {
    make_parents(&places.base(to.place), &to.path, &places.image)?;
    let (source, target) = (places.real(from), places.real(to));
    if !matches!(to.place, Place::Persistent | Place::Local) {
        return copy_whole(&source, &target);
    }
    let part = format!("{target}.dawn-part");
    let _ = fs::remove_dir_all(&part).or_else(|_| fs::remove_file(&part));
    if fs::symlink_metadata(&target).is_ok() {
        return copy_whole(&source, &target);
    }
    copy_whole(&source, &part)?;
    fs::rename(&part, &target).map_err(|cause| Error::file("create", target, cause))
}

fn copy_whole(from: &str, to: &str) -> Result<()> {
    copy::copy(from.as_ref(), to.as_ref())
        .map_err(|cause| Error::file("copy", format!("{from} to {to}"), cause))
}

fn append(from: &str, to: &str) -> Result<()> {
    copy::append(from.as_ref(), to.as_ref())
        .map_err(|cause| Error::file("append", format!("{from} to {to}"), cause))
}

fn make_parents(base: &str, path: &str, model: &str) -> Result<()> {
    copy::parents(base, path, model)
        .map_err(|cause| Error::file("create the directories of", format!("{base}{path}"), cause))
}

fn create(at: &At, is_dir: bool, places: &Places) -> Result<()> {
    make_parents(&places.base(at.place), &at.path, &places.image)?;
    let path = places.real(at);
    if fs::symlink_metadata(&path).is_ok() {
        return Ok(());
    }
    let made = if is_dir { fs::create_dir(&path) } else { fs::write(&path, "") };
    made.map_err(|cause| Error::file("create", path, cause))
}

fn link(at: &At, target: &str, places: &Places) -> Result<()> {
    make_parents(&places.base(at.place), &at.path, &places.image)?;
    let path = places.real(at);
    let _ = fs::remove_file(&path);
    std::os::unix::fs::symlink(target, &path).map_err(|cause| Error::file("create", path, cause))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(place: Place, path: &str) -> At {
        At { place, path: path.to_owned() }
    }

    #[test]
    fn copies_links_and_skeleton_on_a_real_tree() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().to_str().unwrap();
        let places = Places {
            lost: RefCell::default(),
            image: format!("{base}/image"),
            lite: format!("{base}/lite"),
            local: String::new(),
            trees: Vec::new(),
        };
        for made in ["image/etc", "lite/tmpfs", "lite/persistent", "skel"] {
            fs::create_dir_all(format!("{base}/{made}")).unwrap();
        }
        fs::write(format!("{base}/image/etc/hosts"), "original").unwrap();
        let actions = [
            Action::Copy(at(Place::Image, "/etc/hosts"), at(Place::Tmpfs, "/etc/hosts")),
            Action::Copy(at(Place::Image, "/etc/hosts"), at(Place::Persistent, "/etc/hosts")),
            Action::Create(at(Place::Tmpfs, "/var/new"), true),
            Action::Link(at(Place::Tmpfs, "/etc/mtab"), "/proc/mounts".into()),
            Action::Copy(at(Place::Image, "/missing"), at(Place::Tmpfs, "/missing")),
        ];
        let lines = run(&actions, &places, base).unwrap();
        assert!(lines[4].contains("FAILED"));
        assert_eq!(fs::read_to_string(format!("{base}/lite/persistent/etc/hosts")).unwrap(), "original");
        assert!(fs::metadata(format!("{base}/lite/tmpfs/var/new")).unwrap().is_dir());
        let failing = [Action::Copy(at(Place::Image, "/missing"), at(Place::Persistent, "/missing"))];
        assert!(run(&failing, &places, base).is_err(), "persistent files are never lost in silence");
        let missing = [
            Missing::Dir("/a/b".into()),
            Missing::File("/etc/x".into()),
            Missing::Link("/l".into(), "t".into()),
        ];
        lay_skeleton(&missing, &format!("{base}/skel"), &places.image).unwrap();
        lay_skeleton(&missing, &format!("{base}/skel"), &places.image).unwrap();
        assert!(fs::metadata(format!("{base}/skel/a/b")).unwrap().is_dir());
        assert_eq!(places.kind(&at(Place::Image, "/etc")), Kind::Dir { empty: false });
        assert_eq!(places.real_path("/etc/new"), "/etc/new");
    }
}
