//! Entry points for the fuzzer: any image and any layer is taken without a panic, and nothing outside of the
//! tree is touched.

use std::fs;
use std::io::Write;
use std::path::Path;

use super::apply::Tree;
use super::store::{Content, sha256};
use super::{Reference, unpack};

/// Unpacks a layer over a tree with links in it.
///
/// # Panics
/// When something next to the tree has changed.
pub fn fuzz_layer(data: &[u8]) {
    let top = Workshop::new();
    let Ok(mut tree) = Tree::make(&top.path().join("root")) else { return };
    let _ = std::os::unix::fs::symlink("../outside", top.path().join("root/out"));
    let _ = std::os::unix::fs::symlink("/", top.path().join("root/up"));
    let _ = tree.add(Content::of_bytes(data.to_vec(), sha256(data)));
    let _ = tree.finish();
    top.check();
}

/// Takes the bytes for an archive of `docker save` and for one of an OCI layout.
///
/// # Panics
/// When something next to the tree has changed.
pub fn fuzz_archive(data: &[u8]) {
    let top = Workshop::new();
    let file = top.path().join("image.tar");
    if fs::File::create(&file).and_then(|mut file| file.write_all(data)).is_err() {
        return;
    }
    for (number, word) in ["docker-archive", "oci-archive"].iter().enumerate() {
        let text = format!("{word}:{}", file.display());
        let Ok(image) = Reference::parse(&text) else { continue };
        let _ = unpack(&image, "x86_64", &top.path().join(number.to_string()), &mut |_| ());
    }
    top.check();
}

/// A directory for one run, with a neighbour that must stay as it is.
struct Workshop(tempfile::TempDir);

impl Workshop {
    #[allow(clippy::expect_used, reason = "a fuzzer without a temporary directory can only stop")]
    fn new() -> Self {
        let top = tempfile::tempdir().expect("a temporary directory");
        fs::create_dir(top.path().join("outside")).expect("a directory");
        fs::write(top.path().join("outside/file"), "precious").expect("a file");
        Self(top)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn check(&self) {
        let outside = self.path().join("outside");
        assert_eq!(fs::read(outside.join("file")).unwrap_or_default(), b"precious");
        assert_eq!(fs::read_dir(outside).map_or(0, Iterator::count), 1);
    }
}
