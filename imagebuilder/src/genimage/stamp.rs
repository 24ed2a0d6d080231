//! What a tree was built from, as a hash in a file next to it: the same hash means the same packages were
//! asked for.
//!
//! The hash covers the definition, all lists with their includes, the bytes of postinstall scripts, the
//! package sources and the fixed changes. It does not cover the present content of a mirror: to rebuild with
//! newer packages, leave out `unless_changed`.

use std::fmt::Write;
use std::fs;
use std::hash::Hasher;
use std::path::Path;

use siphasher::sip128::{Hasher128, SipHasher13};

use super::{GenimageError, Options, Plan, file_error};
use crate::image::ImageDef;

/// Raised when the fixed changes of a build change.
const BUILD_FORMAT: u32 = 3;
/// What the tree was built from.
pub(super) const TREE: &str = ".fingerprint";
/// What the initramfs images were made with.
pub(super) const INITRD: &str = ".initrd-fingerprint";
/// The release of the kernel that nodes boot.
pub(super) const KERNEL: &str = ".kernel-release";

pub(super) fn fingerprint(def: &ImageDef, options: &Options, plan: &Plan) -> String {
    let mut text = String::new();
    // `Debug` of these types shows every field, so a field that is added later is covered automatically.
    let _ = write!(text, "{BUILD_FORMAT} {def:?} {:?} {:?} {:?}", options.variant, options.keyrings, plan);
    let mut hasher = SipHasher13::new();
    hasher.write(text.as_bytes());
    for script in &def.postinstall {
        let program = script.split_whitespace().next().unwrap_or_default();
        hasher.write(&fs::read(program).unwrap_or_default());
    }
    format!("{:032x}", hasher.finish128().as_u128())
}

pub(super) fn read(dir: &Path, file: &str) -> Option<String> {
    Some(fs::read_to_string(dir.join(file)).ok()?.trim_end_matches('\n').to_owned())
}

pub(super) fn write(dir: &Path, file: &str, fingerprint: &str) -> Result<(), GenimageError> {
    let path = dir.join(file);
    let written = dawn_serving::whole::write_unsynced(&path, format!("{fingerprint}\n").as_bytes(), 0o644);
    written.map_err(|source| file_error(&path, source))
}
