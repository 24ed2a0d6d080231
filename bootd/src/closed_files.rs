//! Files of the data directory that hold passwords and keys, and are open to other users of this machine.
//!
//! The daemon makes them with mode 0600. A copy, a restored archive or a `chmod` may have opened them, and
//! nothing else reports it. They are reported and left as they are: a key that others could read should be
//! made new, and the administrator is the one to decide that. Which files of a directory hold a private key
//! is recognised by their text, because the certificates next to them are public.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Files that are secret as a whole.
const FILES: [&str; 8] = [
    "dawn.sqlite",
    "dawn.sqlite-wal",
    "dawn.sqlite-shm",
    "cfgloc",
    "nfs-handle.key",
    "install-token.key",
    "ddns.key",
    "snapshot",
];
/// Directories with keys and certificates.
const DIRECTORIES: [&str; 4] = ["ca", "cert", "clients", "hostkeys"];
/// How the text of a private key begins, after the kind of key.
const PRIVATE: &[u8] = b"PRIVATE KEY-----";
/// Bytes of a file that are searched for a key.
const SEARCHED_BYTES_MAX: u64 = 64 << 10;
/// Files that are looked at.
const FILES_MAX: usize = 10_000;
/// Directories below each other.
const DEPTH_MAX: usize = 4;
/// Files that one sentence names.
const NAMED_MAX: usize = 5;

/// The sentence for the log and for `doctor`; `None` if all is closed.
pub fn warning(data: &Path) -> Option<String> {
    let open = found(data);
    let (first, more) = (open.len().min(NAMED_MAX), open.len().saturating_sub(NAMED_MAX));
    let names: Vec<String> =
        open.iter().take(first).map(|(path, mode)| format!("{} (mode {mode:04o})", path.display())).collect();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let verb = if open.len() == 1 { "holds" } else { "hold" };
    (!open.is_empty()).then(|| {
        format!("{}{more} {verb} passwords or keys and can be read by other users", names.join(", "))
    })
}

/// What to do about it.
pub const CURE: &str =
    "`chmod 600` on each file; make passwords and keys new if this machine has other users";

/// The files with their modes.
fn found(data: &Path) -> Vec<(PathBuf, u32)> {
    let mut left = FILES_MAX;
    let mut open: Vec<_> = FILES.iter().filter_map(|name| open_file(data.join(name))).collect();
    for name in DIRECTORIES {
        search(&data.join(name), DEPTH_MAX, &mut left, &mut open);
    }
    open.sort();
    open
}

/// The file's mode if it gives anything to others than its owner.
fn open_file(path: PathBuf) -> Option<(PathBuf, u32)> {
    let found = path.symlink_metadata().ok().filter(std::fs::Metadata::is_file)?;
    let mode = found.permissions().mode() & 0o777;
    (mode & 0o066 != 0).then_some((path, mode))
}

fn search(directory: &Path, depth: usize, left: &mut usize, open: &mut Vec<(PathBuf, u32)>) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let Ok(kind) = entry.file_type() else { continue };
        if *left == 0 {
            return;
        }
        *left -= 1;
        if kind.is_dir() && depth > 0 {
            search(&entry.path(), depth - 1, left, open);
        } else if kind.is_file() {
            open.extend(open_file(entry.path()).filter(|(path, _)| holds_key(path)));
        }
    }
}

fn holds_key(path: &Path) -> bool {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(SEARCHED_BYTES_MAX).read_to_end(&mut bytes));
    read.is_ok() && bytes.windows(PRIVATE.len()).any(|window| window == PRIVATE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn what_others_can_read_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let key = "-----BEGIN EC PRIVATE KEY-----\n";
        for (name, text, mode) in [
            ("dawn.sqlite", "", 0o600),
            ("cfgloc", "", 0o600),
            ("ca/ca.key", key, 0o600),
            ("ca/ca.pem", "-----BEGIN CERTIFICATE-----\n", 0o644),
            ("clients/alice/client-cred.pem", key, 0o600),
        ] {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
        assert_eq!(warning(dir.path()), None);
        for (name, mode) in [
            ("dawn.sqlite", 0o644),
            ("ca/ca.key", 0o640),
            ("clients/alice/client-cred.pem", 0o604),
            ("cfgloc", 0o666),
        ] {
            let path = dir.path().join(name);
            let before = path.metadata().unwrap().permissions();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let text = warning(dir.path()).unwrap();
            assert!(text.contains(name) && text.contains(&format!("{mode:04o}")), "{text}");
            fs::set_permissions(&path, before).unwrap();
        }
    }
}
