//! Paths inside a root that is not ours yet: links are resolved as if that root were `/`.
//!
//! `openat2` does the walk; what it found is read back through `/proc/self/fd`, so that the rest of the
//! program can use ordinary paths. A link in the image, absolute or with too many `..`, never leads out of
//! it.

use std::fs;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};

/// Links and missing parts tried for one path.
const PARTS_MAX: usize = 256;

/// Where `path` leads to, with all links followed: an ordinary path below `root`. No value if nothing is
/// there.
pub fn follow(root: &str, path: &str) -> Option<String> {
    let dir =
        rustix::fs::openat(CWD, root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let relative = path.trim_start_matches('/');
    let relative = if relative.is_empty() { "." } else { relative };
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let found = openat2(dir.ok()?, relative, flags, Mode::empty(), ResolveFlags::IN_ROOT).ok()?;
    let number = std::os::fd::AsRawFd::as_raw_fd(&found);
    Some(fs::read_link(format!("/proc/self/fd/{number}")).ok()?.to_string_lossy().into_owned())
}

/// Like [`follow`], but the last component is not followed and need not exist; missing directories stay as
/// they are in `path`.
pub fn locate(root: &str, path: &str) -> String {
    let clean = path.trim_matches('/');
    let mut missing: Vec<&str> = Vec::new();
    let mut rest = clean;
    for _ in 0..PARTS_MAX {
        let (dir, name) = rest.rsplit_once('/').unwrap_or(("", rest));
        missing.push(name);
        if let Some(real) = follow(root, dir) {
            let tail = missing.iter().rev().copied().collect::<Vec<_>>().join("/");
            return format!("{}/{tail}", real.trim_end_matches('/'));
        }
        rest = dir;
    }
    format!("{root}/{clean}")
}

/// An ordinary path below `root` as a path inside it: `/sysroot/etc/x` → `/etc/x`.
pub fn inside<'a>(root: &str, real: &'a str) -> &'a str {
    match Path::new(real).strip_prefix(root) {
        Ok(_) => real.get(root.trim_end_matches('/').len()..).filter(|rest| !rest.is_empty()).unwrap_or("/"),
        Err(_) => real,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_stay_inside() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().to_str().unwrap();
        fs::create_dir_all(format!("{root}/usr/lib")).unwrap();
        fs::write(format!("{root}/usr/lib/x"), "").unwrap();
        symlink("/usr/lib", format!("{root}/lib")).unwrap();
        symlink("../../../../usr", format!("{root}/up")).unwrap();
        symlink("/lib/x", format!("{root}/link")).unwrap();
        assert_eq!(follow(root, "/link"), Some(format!("{root}/usr/lib/x")));
        assert_eq!(follow(root, "/lib/none"), None);
        assert_eq!(locate(root, "/lib/none"), format!("{root}/usr/lib/none"));
        assert_eq!(locate(root, "/link"), format!("{root}/link"));
        assert_eq!(locate(root, "/up/lib/a/b"), format!("{root}/usr/lib/a/b"));
        assert_eq!(locate(root, "/new"), format!("{root}/new"));
        assert_eq!(inside(root, &format!("{root}/etc")), "/etc");
        assert_eq!(inside(root, root), "/");
    }
}
