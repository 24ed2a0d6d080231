//! rmimage: remove what genimage and packimage made. The rows of the tables are the caller's business.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::genimage::{self, GenimageError};
use crate::image::{DefError, ImageDef};
use crate::packimage::OUTPUTS;

/// Files of an image that are not in [`OUTPUTS`]: kernel, initramfs images and what the builder notes.
const PIECES: [&str; 7] = [
    "kernel",
    "initrd-stateless.gz",
    "initrd-statelite.gz",
    "rootimg-statelite.gz",
    ".fingerprint",
    ".initrd-fingerprint",
    ".packed",
];
/// The last line for the user.
const DONE: &str = "Image files have been removed successfully from this management node.";

/// Why an image could not be removed.
#[derive(Debug, thiserror::Error)]
pub enum RmimageError {
    /// The definition is not usable.
    #[error(transparent)]
    Def(#[from] DefError),
    /// Another command works on the image, or something is mounted in its tree.
    #[error(transparent)]
    Busy(#[from] GenimageError),
    /// The system refused.
    #[error("{path}: {source}")]
    File {
        /// The path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Remove all files of an image. Files that are not ours stay, and the directory with them.
///
/// # Errors
/// When a piece cannot be removed; what was removed before stays removed.
pub fn run(def: &ImageDef, verbose: bool, line: &mut dyn FnMut(&str)) -> Result<(), RmimageError> {
    def.check()?;
    let dir = def.paths().dir;
    if dir.is_dir() {
        let lock = genimage::lock(&dir)?;
        for name in ["rootimg", ".building"] {
            let path = dir.join(name);
            if fs::symlink_metadata(&path).is_ok() {
                if verbose || name == "rootimg" {
                    line(&format!("Removing directory {}", path.display()));
                }
                genimage::remove_tree(&path)?;
            }
        }
        for name in PIECES.iter().chain(&OUTPUTS) {
            file(&dir.join(name), verbose || !name.starts_with('.'), line)?;
        }
        file(&dir.join(".lock"), false, line)?;
        drop(lock);
        // Only if nothing else is there.
        let _ = fs::remove_dir(&dir);
    }
    line(DONE);
    Ok(())
}

fn file(path: &Path, say: bool, line: &mut dyn FnMut(&str)) -> Result<(), RmimageError> {
    match fs::remove_file(path) {
        Ok(()) if say => line(&format!("Removing file {}", path.display())),
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(RmimageError::File { path: path.to_owned(), source }),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_of_the_image_goes_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let def = ImageDef {
            name: "i".into(),
            osvers: "debian12".into(),
            arch: "x86_64".into(),
            profile: "p".into(),
            rootimgdir: dir.path().join("img"),
            ..ImageDef::default()
        };
        let at = |name: &str| def.rootimgdir.join(name);
        let make = || {
            fs::create_dir_all(at("rootimg/etc")).unwrap();
            for name in ["kernel", "rootimg.sfs", ".packed"] {
                fs::write(at(name), "").unwrap();
            }
        };
        make();
        let mut lines = Vec::new();
        run(&def, false, &mut |line| lines.push(line.to_owned())).unwrap();
        let text = |name: &str| at(name).display().to_string();
        assert_eq!(
            lines,
            [
                format!("Removing directory {}", text("rootimg")),
                format!("Removing file {}", text("kernel")),
                format!("Removing file {}", text("rootimg.sfs")),
                DONE.to_owned()
            ]
        );
        assert!(!def.rootimgdir.exists());
        run(&def, false, &mut |_| {}).unwrap();
        make();
        fs::write(at("notes.txt"), "mine").unwrap();
        run(&def, true, &mut |_| {}).unwrap();
        let left: Vec<_> = fs::read_dir(&def.rootimgdir).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, ["notes.txt"]);
        let _held = genimage::lock(&def.rootimgdir).unwrap();
        assert!(matches!(run(&def, false, &mut |_| {}), Err(RmimageError::Busy(_))));
    }
}
