//! Handles of removed files while other processes create files that get the same inode numbers.
//!
//! ext4 answers ENOMEM for an inode that is being created at that moment (other file systems do not), which
//! would reach a client as NFS3ERR_JUKEBOX and cost it five seconds.

#![allow(clippy::unwrap_used)]

use std::ffi::CString;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use dawn_nfs::sys::{KernelHandle, name_to_handle, open_handle};
use rustix::io::Errno;

/// Files whose inode numbers are used again and again.
const FILES: usize = 64;
/// Rounds over all handles.
const ROUNDS: usize = 4000;

fn create_all(dir: &Path) -> Vec<CString> {
    let names = (0..FILES).map(|number| format!("f{number}"));
    names
        .inspect(|name| drop(File::create(dir.join(name)).unwrap()))
        .map(|name| CString::new(name).unwrap())
        .collect()
}

fn remove_all(dir: &Path) {
    (0..FILES).for_each(|number| std::fs::remove_file(dir.join(format!("f{number}"))).unwrap());
}

#[test]
fn a_removed_file_is_stale_whatever_others_create() {
    let dir = tempfile::tempdir().unwrap();
    let top = File::open(dir.path()).unwrap();
    let names = create_all(dir.path());
    let handles: Vec<KernelHandle> =
        names.iter().map(|name| name_to_handle(top.as_fd(), name).unwrap()).collect();
    remove_all(dir.path());
    let done = AtomicBool::new(false);
    let answers: Vec<Errno> = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                create_all(dir.path());
                remove_all(dir.path());
            }
        });
        let open = |handle: &KernelHandle| {
            let handle_type = u8::try_from(handle.handle_type).unwrap();
            open_handle(top.as_fd(), handle_type, handle.bytes()).unwrap_err()
        };
        let mut other: Vec<Errno> = (0..ROUNDS).flat_map(|_| handles.iter().map(open)).collect();
        done.store(true, Ordering::Relaxed);
        other.retain(|errno| *errno != Errno::STALE);
        other
    });
    assert_eq!(answers, []);
}
