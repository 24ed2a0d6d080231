//! What a build will do, computed beforehand: package sources, and programs with all their words.

use dawn_wire::image::ROOT;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::Options;
use super::family::Family;
use crate::exec::quoted;
use crate::image::ImageDef;
use crate::oci;
use crate::pkglist::Pass;

/// All that a build will do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The kind of distribution.
    pub family: Family,
    /// Where packages come from, a line each in the package manager's own words.
    pub sources: Vec<String>,
    /// What the user should know before the build.
    pub warnings: Vec<String>,
    /// Files that the programs read: names below the build directory, and texts.
    pub files: Vec<(&'static str, String)>,
    /// The work, in order.
    pub steps: Vec<Step>,
    /// A hash of all that goes into the tree: definition, lists, scripts, sources.
    pub fingerprint: String,
}

/// One piece of work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A program is run.
    Run(Program),
    /// A container image is unpacked.
    Unpack(oci::Reference),
}

/// A program with its words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Program {
    /// Its environment besides the caller's.
    pub env: Vec<(String, String)>,
    /// Name and arguments.
    pub words: Vec<String>,
    /// Scripts of packages run in the tree meanwhile and need `/proc`, `/sys` and `/dev` there. `mmdebstrap`
    /// mounts them itself.
    pub needs_mounts: bool,
}

impl Program {
    /// The command line as a shell would read it.
    fn line(&self) -> String {
        let env = self.env.iter().map(|(name, value)| quoted(&format!("{name}={value}")));
        let env = if self.env.is_empty() { None } else { Some("env".to_owned()) }.into_iter().chain(env);
        env.chain(self.words.iter().map(|word| quoted(word))).collect::<Vec<_>>().join(" ")
    }
}

/// What back ends plan with: the definition and what its lists say.
pub(super) struct Request<'a> {
    pub(super) def: &'a ImageDef,
    pub(super) options: &'a Options,
    /// Where the programs' files are.
    pub(super) building: PathBuf,
    /// Install passes, with a kernel in one of them.
    pub(super) passes: Vec<Pass>,
    /// Passes of the other packages, by plain names.
    pub(super) others: Vec<Pass>,
    /// Sub-directories of `otherpkgdir` that the other packages name.
    pub(super) subdirs: BTreeSet<String>,
}

impl Request<'_> {
    /// The tree under construction.
    pub(super) fn root(&self) -> PathBuf {
        self.building.join(ROOT)
    }

    /// A file of the programs.
    pub(super) fn file(&self, name: &str) -> String {
        self.building.join(name).display().to_string()
    }

    /// All passes in their order.
    pub(super) fn all_passes(&self) -> impl Iterator<Item = &Pass> + Clone {
        self.passes.iter().chain(&self.others)
    }

    /// The calls of a package manager in their order: for each pass what is removed and what is installed,
    /// and at the end what is removed when all is installed. Calls without a name are left out. `group` is
    /// how the program writes a group.
    pub(super) fn calls(
        &self,
        group: &dyn Fn(&str) -> String,
        call: &dyn Fn(&Pass, &str, Vec<String>) -> Step,
    ) -> Vec<Step> {
        let last = Pass::default();
        let passes = self.all_passes().flat_map(|pass| {
            let groups = pass.groups.iter().map(|name| group(name));
            let installed = pass.install.iter().cloned().chain(groups).collect();
            [(pass, "remove", pass.remove_before.clone()), (pass, "install", installed)]
        });
        let all = passes.chain([(&last, "remove", self.removed_at_last())]);
        let wanted = all.filter(|(_, _, names)| !names.is_empty());
        wanted.map(|(pass, verb, names)| call(pass, verb, names)).collect()
    }

    /// What is removed when all is installed.
    pub(super) fn removed_at_last(&self) -> Vec<String> {
        self.all_passes().flat_map(|pass| pass.remove_after.clone()).collect()
    }

    /// Elements of `otherpkgdir` with the sub-directories that lists name.
    pub(super) fn other_dirs(&self, is_repository: &dyn Fn(&Path) -> bool) -> Vec<String> {
        let mut all = Vec::new();
        for element in &self.def.otherpkgdir {
            let dir = Path::new(element);
            if !dir.is_absolute() || is_repository(dir) {
                all.push(element.clone());
            }
            let subdirs = self.subdirs.iter().filter(|_| dir.is_absolute());
            all.extend(subdirs.map(|sub| format!("{}/{sub}", element.trim_end_matches('/'))));
        }
        all
    }
}

impl Step {
    /// The step as a line of a dry run.
    pub(super) fn line(&self) -> String {
        match self {
            Self::Run(program) => program.line(),
            Self::Unpack(reference) => format!("unpack {reference}"),
        }
    }
}
