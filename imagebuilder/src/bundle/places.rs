//! Where the files of a bundle may go.
//!
//! A bundle comes from somewhere else, and its manifest names paths. Files of the image go below the image's
//! own directory, which no other image uses; its lists go there or below `custom`. Scripts are taken only on
//! request: post scripts, which other nodes run as well, the postinstall script, which `genimage` runs here
//! as root, and what installers of other images find by its name. Nothing that is there already is replaced,
//! unless it is this image's, and nothing that other images name is put there.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use dawn_wire::image::is_in_tree;

use super::manifest::is_place;
use super::{BundleError, Manifest};

/// Below the install directory: lists and scripts of administrators, for this server itself.
const CUSTOM: &str = "custom";
/// Below the install directory: scripts that nodes and their installers run.
const SCRIPTS: [&str; 2] = ["postscripts", "prescripts"];
/// Below the install directory: templates and lists of packages, which installations of all images that name
/// none find here by system, architecture and profile.
const SEARCHED: &str = "custom/install";
/// Names of files that root acts on wherever they are found: a synclist names files of this server and
/// scripts for nodes, and images that name no synclist find it below `custom`.
const SCRIPT_ENDINGS: [&str; 3] = ["tmpl", "postinstall", "synclist"];
/// Below the install directory: answers for the installers of single nodes.
const ANSWERS: &str = "autoinst";
/// Below `postscripts`, what is not a script: keys and certificates that nodes take over, and the template of
/// the script that names all others.
const NO_SCRIPTS: [&str; 4] = ["ca", "cert", "hostkeys", "mypostscript.tmpl"];

/// What an image of this management node uses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// Its name.
    pub name: String,
    /// Its directory.
    pub rootimgdir: Option<PathBuf>,
    /// The directories of its packages.
    pub packages: Vec<PathBuf>,
    /// The lists and scripts that its attributes name.
    pub files: Vec<PathBuf>,
}

/// The places of one bundle.
#[derive(Debug)]
pub(super) struct Places<'a> {
    within: &'a Path,
    /// The image's directory.
    image: &'a Path,
    /// Files that the image of this name has here already.
    own: BTreeSet<&'a Path>,
    /// Files that other images use.
    others: BTreeSet<&'a Path>,
}

impl<'a> Places<'a> {
    /// Everything that the manifest names has a place it may go to.
    ///
    /// # Errors
    /// [`BundleError::Bad`]; [`BundleError::Scripts`] for scripts that the caller has not asked for.
    pub(super) fn new(
        within: &'a Path,
        known: &'a [Known],
        manifest: &Manifest,
        image: &'a Path,
        scripts: bool,
    ) -> Result<Self, BundleError> {
        let name = manifest.name().unwrap_or_default();
        let files = |own: bool| {
            let images = known.iter().filter(move |known| (known.name == name) == own);
            images.flat_map(|known| known.files.iter().map(PathBuf::as_path)).collect()
        };
        let places = Self { within, image, own: files(true), others: files(false) };
        if let Some(extra) = manifest.extra.iter().find(|extra| !is_place(&format!("/{}", extra.name))) {
            return Err(bad("extra file", &extra.name, "is not a path of the bundle"));
        }
        let extra = manifest.extra.iter().map(|extra| {
            let name = Path::new(&extra.name).file_name().unwrap_or_default();
            ("extra file", Path::new(&extra.dest).join(name).to_string_lossy().into_owned())
        });
        let files = manifest.files().into_iter().map(|file| ("file", file));
        let mut found: Vec<String> = manifest.scripts();
        for (what, path) in extra.chain(files) {
            let inside = places.inside(what, &path)?;
            if SCRIPTS.iter().any(|dir| inside.starts_with(dir)) || places.is_searched(&inside) {
                found.push(path);
            } else if !places.is_open(&inside) {
                let (image, custom) = (image.display(), within.join(CUSTOM));
                let why = format!(
                    "is not at a place for a bundle's files, which are {image} and {}",
                    custom.display()
                );
                return Err(bad(what, &path, &why));
            }
        }
        places.check_image(known, name)?;
        found.sort();
        found.dedup();
        if scripts || found.is_empty() { Ok(places) } else { Err(BundleError::Scripts(found.join(", "))) }
    }

    /// The image's directory is below the install directory, in a place for images, and not another image's.
    fn check_image(&self, known: &[Known], name: &str) -> Result<(), BundleError> {
        let (what, path) = ("rootimgdir", self.image.to_string_lossy());
        let inside = self.inside(what, &path)?;
        if inside.as_os_str().is_empty() {
            return Err(bad(what, &path, "is the directory of all images; name one below it"));
        }
        let is_shared = SCRIPTS.iter().chain(&[ANSWERS, CUSTOM]).any(|dir| inside.starts_with(dir));
        if is_shared {
            return Err(bad(what, &path, "is a place for files of all nodes, not of an image"));
        }
        let uses = |known: &Known| {
            let mut directories = known.rootimgdir.iter().chain(&known.packages);
            directories.any(|dir| dir.starts_with(self.image) || self.image.starts_with(dir))
                || known.files.iter().any(|file| file.starts_with(self.image))
        };
        let others = known.iter().filter(|known| known.name != name && uses(known));
        match others.map(|known| &known.name).next() {
            Some(other) => Err(BundleError::OfOther { place: path.into_owned(), image: other.clone() }),
            None => Ok(()),
        }
    }

    /// The path below the install directory; not one in the tree of an image.
    fn inside(&self, what: &str, path: &str) -> Result<PathBuf, BundleError> {
        if !is_place(path.trim_end_matches('/')) {
            return Err(bad(what, path, "is not an absolute path"));
        }
        let Ok(inside) = Path::new(path).strip_prefix(self.within) else {
            return Err(bad(what, path, "is outside of the directory that a bundle may write to"));
        };
        if is_in_tree(inside) {
            return Err(bad(what, path, "is in the tree of an image, which belongs to the image alone"));
        }
        Ok(inside.to_owned())
    }

    fn is_open(&self, inside: &Path) -> bool {
        inside.starts_with(CUSTOM) || self.within.join(inside).starts_with(self.image)
    }

    /// Installations, or images that are completed, may find the file by its name alone and run it.
    fn is_searched(&self, inside: &Path) -> bool {
        let ending = inside.extension().unwrap_or_default();
        inside.starts_with(SEARCHED)
            || inside.starts_with(CUSTOM) && SCRIPT_ENDINGS.iter().any(|script| ending == *script)
    }

    /// Another image names the file, and this one does not.
    pub(super) fn is_of_others(&self, to: &Path) -> bool {
        self.others.contains(to) && !self.own.contains(to)
    }

    /// A file that is there already may be replaced: it is in the image's directory, or it is a list of this
    /// image only.
    pub(super) fn may_replace(&self, to: &Path) -> bool {
        to.starts_with(self.image) || self.own.contains(to) && !self.others.contains(to)
    }

    /// The file that goes to `to` is neither a key nor the template of all scripts.
    pub(super) fn check_script(&self, to: &Path) -> Result<(), BundleError> {
        let inside = to.strip_prefix(self.within).unwrap_or(to);
        let Some(name) = SCRIPTS.iter().find_map(|dir| inside.strip_prefix(dir).ok()) else { return Ok(()) };
        let first =
            name.components().next().map(|part| part.as_os_str().to_string_lossy()).unwrap_or_default();
        if NO_SCRIPTS.contains(&&*first) || first.starts_with(['_', '.']) {
            return Err(bad("file", &to.to_string_lossy(), "is for keys and settings of all nodes"));
        }
        Ok(())
    }

    /// The file stays executable: it is a script that the caller has asked for.
    pub(super) fn is_script(&self, to: &Path, manifest: &Manifest) -> bool {
        let inside = to.strip_prefix(self.within).unwrap_or(to);
        SCRIPTS.iter().any(|dir| inside.starts_with(dir))
            || manifest.scripts().iter().any(|script| Path::new(script) == to)
    }
}

fn bad(what: &str, path: &str, why: &str) -> BundleError {
    BundleError::Bad(format!("{what} '{path}' {why}"))
}
