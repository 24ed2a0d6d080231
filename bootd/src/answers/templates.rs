//! Files of templates: read beneath few directories, in bounded time and size, and kept for a moment.
//!
//! A table cell names a template, and a template names what it includes. So that neither can read a file of
//! the server that nodes should not have, files come from [`PLACES`] alone; links in them lead nowhere else.
//! A file that was read is cached for [`KEPT_TIME`], so that a noderange of thousands asks the disk once.

use dawn_cluster::Snapshot;
use dawn_deploy::{FILE_BYTES_MAX, FileError, Files};
use dawn_plan::{local_path, public_path};
use dawn_serving::DiskPool;
use dawn_serving::beneath::Beneath;
use dawn_serving::disks::WAIT_TIME_MAX;
use std::collections::HashMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Directories that templates may be made of, as HTTP names those of this machine.
const PLACES: [&str; 4] =
    ["/install/custom", "/install/postscripts", "/install/osimages", "/opt/xcat/share/xcat"];
/// How long a file's text is used before it is read again.
const KEPT_TIME: Duration = Duration::from_secs(2);
/// Files that are kept, those that are not there among them.
const KEPT_FILES_MAX: usize = 1024;
/// Texts that are kept, bytes.
const KEPT_BYTES_MAX: usize = 8 << 20;

/// Who waits for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// The calling thread, which is one for disks.
    Direct,
    /// A thread of the pool; the caller waits for it for a limited time.
    Pool,
}

/// What was read not long ago.
#[derive(Default)]
pub(super) struct Templates(Mutex<HashMap<PathBuf, (Instant, Reading)>>);

type Reading = Result<String, FileError>;

/// The files that templates for the nodes of a snapshot may be made of.
pub(super) struct TemplateFiles<'a> {
    templates: &'a Templates,
    snapshot: &'a Snapshot,
    access: Access,
}

impl Templates {
    pub(super) fn files<'a>(&'a self, snapshot: &'a Snapshot, access: Access) -> TemplateFiles<'a> {
        TemplateFiles { templates: self, snapshot, access }
    }

    fn kept(&self, path: &Path, now: Instant) -> Option<Reading> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (when, text) = kept.get(path)?;
        (now.saturating_duration_since(*when) < KEPT_TIME).then(|| text.clone())
    }

    fn keep(&self, path: PathBuf, text: &Reading, now: Instant) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes: usize = kept.values().filter_map(|(_, text)| text.as_ref().ok()).map(String::len).sum();
        if kept.len() >= KEPT_FILES_MAX || bytes > KEPT_BYTES_MAX {
            kept.clear();
        }
        kept.insert(path, (now, text.clone()));
    }
}

impl Files for TemplateFiles<'_> {
    fn read(&self, path: &str) -> Result<String, FileError> {
        let public = public_path(self.snapshot, path);
        let inside = PLACES.iter().find_map(|place| {
            let inside = public.strip_prefix(place)?.strip_prefix('/')?;
            Some((local_path(self.snapshot, place), PathBuf::from(inside)))
        });
        let (top, inside) = inside.ok_or_else(|| FileError::Outside(PLACES.join(", ")))?;
        let whole = top.join(&inside);
        let now = Instant::now();
        if let Some(kept) = self.templates.kept(&whole, now) {
            return kept;
        }
        let text = match self.access {
            Access::Direct => read_beneath(&top, &inside),
            Access::Pool => {
                let read = move || read_beneath(&top, &inside);
                let found = DiskPool::default().call(&whole, WAIT_TIME_MAX, read);
                found.unwrap_or_else(|late| Err(FileError::Failed(late.to_string())))
            }
        };
        self.templates.keep(whole, &text, now);
        text
    }
}

fn read_beneath(top: &Path, inside: &Path) -> Result<String, FileError> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => FileError::Absent,
        _ => FileError::Failed(error.to_string()),
    };
    let file = Beneath::open(top).and_then(|top| top.open_file(inside)).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(FileError::Failed(format!("it is longer than {FILE_BYTES_MAX} bytes")));
    }
    String::from_utf8(bytes).map_err(|_| FileError::Failed("it is not text in UTF-8".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn files_of_templates_are_beneath_their_directories() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for (name, text) in [
            ("custom/install/rh/a.tmpl", "template"),
            ("autoinst/cn1", "answers"),
            ("postscripts/x", "script"),
        ] {
            fs::create_dir_all(at(name).parent().unwrap()).unwrap();
            fs::write(at(name), text).unwrap();
        }
        fs::write(at("custom/binary"), [0xff, 0xfe]).unwrap();
        fs::write(at("custom/long"), "x".repeat(300 << 10)).unwrap();
        std::os::unix::fs::symlink("install/rh/a.tmpl", at("custom/link")).unwrap();
        std::os::unix::fs::symlink("../autoinst/cn1", at("custom/out")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", at("custom/passwd")).unwrap();
        let root = dir.path().to_str().unwrap();
        let snapshot = Snapshot::from_rows([("site", &[("key", "installdir"), ("value", root)][..])]);
        let read = |path: &str, access| Templates::default().files(&snapshot, access).read(path);
        let own = format!("{root}/custom/install/rh/a.tmpl");
        for access in [Access::Direct, Access::Pool] {
            for path in ["/install/custom/install/rh/a.tmpl", &own, "/install/custom/link"] {
                assert_eq!(read(path, access).as_deref(), Ok("template"), "{path}");
            }
            assert_eq!(read("/install/postscripts/x", access).as_deref(), Ok("script"));
            for path in [
                "/install/custom/out",
                "/install/custom/passwd",
                "/install/custom/../autoinst/cn1",
                "/install/custom/no",
            ] {
                assert_eq!(read(path, access), Err(FileError::Absent), "{path}");
            }
            for path in ["/install/autoinst/cn1", "/etc/shadow", "/install/customs", "x", ""] {
                assert!(matches!(read(path, access), Err(FileError::Outside(_))), "{path}");
            }
            for path in ["/install/custom/binary", "/install/custom/long", "/install/custom/install"] {
                assert!(matches!(read(path, access), Err(FileError::Failed(_))), "{path}");
            }
        }
        // What was read counts for a moment.
        let templates = Templates::default();
        let files = templates.files(&snapshot, Access::Direct);
        assert_eq!(files.read("/install/custom/link").as_deref(), Ok("template"));
        fs::write(at("custom/install/rh/a.tmpl"), "another").unwrap();
        assert_eq!(files.read("/install/custom/link").as_deref(), Ok("template"));
        assert_eq!(templates.kept(&at("custom/link"), Instant::now() + KEPT_TIME), None);
    }
}
