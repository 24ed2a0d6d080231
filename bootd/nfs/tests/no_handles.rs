//! The same promises on a file system without file handles: overlayfs.
//!
//! It needs to mount one; where that is not allowed, the test prints that and passes.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use std::path::PathBuf;

use common::{Fixture, status};
use dawn_nfs::nfs3::{SetAttributes, Status};

/// An overlayfs that is unmounted when it is dropped.
struct Overlayfs(PathBuf);

impl Overlayfs {
    fn mount(dir: &std::path::Path) -> Option<Self> {
        let at = |name: &str| dir.join(name);
        for name in ["lower", "upper", "work", "merged"] {
            std::fs::create_dir(at(name)).unwrap();
        }
        let options = format!(
            "lowerdir={},upperdir={},workdir={}",
            at("lower").display(),
            at("upper").display(),
            at("work").display()
        );
        let options = std::ffi::CString::new(options).unwrap();
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount("dawn-test", at("merged"), "overlay", flags, options.as_c_str()).ok()?;
        Some(Self(at("merged")))
    }
}

impl Drop for Overlayfs {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH);
    }
}

#[test]
fn handles_by_path() {
    let outside = tempfile::tempdir().unwrap();
    let Some(overlayfs) = Overlayfs::mount(outside.path()) else {
        return eprintln!("no overlayfs can be mounted here: not tested");
    };
    let mut fixture = Fixture::within(tempfile::tempdir_in(&overlayfs.0).unwrap());
    let (mut c, root) = fixture.area();
    let set = SetAttributes { mode: Some(0o755), ..SetAttributes::default() };
    let dir = c.mkdir(&root, "dir", &set).unwrap();
    let file = c.create(&dir, "file", &set, true).unwrap();
    c.write(&file, 0, b"before", 2).unwrap();
    let deep = (0..10).fold(dir, |at, _| c.mkdir(&at, "sub", &set).unwrap());

    // Found again by a search after a restart, among names that might be meant.
    for n in 0..600 {
        std::fs::create_dir(fixture.path("area").join(format!("decoy-{n}"))).unwrap();
    }
    fixture.restart();
    let mut c = fixture.client();
    assert_eq!(c.read(&file, 0, 10).unwrap().0, b"before");
    assert_eq!(c.lookup(&deep, "..").unwrap().0, c.walk(&root, &format!("dir{}", "/sub".repeat(9))).unwrap());

    // A rename is followed until the next restart, a successor of the same name is another file.
    c.rename((&dir, "file"), (&root, "moved")).unwrap();
    assert_eq!(c.read(&file, 0, 10).unwrap().0, b"before");
    let next = c.create(&dir, "file", &set, true).unwrap();
    assert_ne!(next, file);
    c.rename((&root, "dir"), (&root, "renamed")).unwrap();
    assert_eq!(c.getattr(&next).unwrap().size, 0);
    c.remove(&root, "moved").unwrap();
    assert_eq!(status(c.getattr(&file)), Status::Stale.code());

    // Deeper than a handle can say.
    let mut at = c.walk(&root, "renamed").unwrap();
    let too_deep = (0..40).find_map(|_| match c.mkdir(&at, "sub2", &set) {
        Ok(next) => {
            at = next;
            None
        }
        refused => Some(status(refused)),
    });
    assert_eq!(too_deep, Some(Status::NameTooLong.code()));
    fixture.server = None;
}
