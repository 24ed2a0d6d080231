//! Why a node would not boot, or has no answers for its installer.
//!
//! The texts are xCAT's where it has one. Nodes that have the trouble from one place (a group's row, an
//! image) have the same value, so that a command may report it once for all of them.

use crate::output::{CommandError, ErrorKind, Problem};
use dawn_cluster::{Advised, NotServed};
use dawn_deploy::{DeployError, FileError, Problem as Directive};
use dawn_plan::PlanError;
use dawn_plan::destiny::DestinyError;
use dawn_serving::Late;
use std::path::PathBuf;

/// Why a node would not boot.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Unready {
    /// Nothing in `mac.mac`.
    #[error("No MAC address available for this node")]
    NoMac,
    /// A text that is not an address.
    #[error("mac.mac is '{text}', which is not a MAC address; it comes from the row of {row}")]
    BadMac {
        /// The beginning of the text.
        text: String,
        /// Whose row has it.
        row: String,
    },
    /// Nothing in `hosts.ip`.
    #[error("No IP address for this node.")]
    NoAddress,
    /// A way to boot that Dawn does not have.
    #[error(transparent)]
    Netboot(#[from] NotServed),
    /// `chain.currstate` is empty.
    #[error("Cannot determine current state for this node")]
    NoState,
    /// The state cannot be set.
    #[error(transparent)]
    Destiny(#[from] DestinyError),
    /// There is no plan.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// There are no answers for its installer.
    #[error(transparent)]
    Answers(#[from] DeployError),
    /// A file of the image is missing.
    #[error("The image {image} is not built: {file} is missing", file = .file.display())]
    NotBuilt {
        /// The image.
        image: String,
        /// The file.
        file: PathBuf,
        /// What makes it.
        command: String,
    },
    /// The installer's kernel is missing.
    #[error("Install image not found: there is no kernel with its initramfs at {}", places(.kernels))]
    NoInstaller {
        /// The image.
        image: String,
        /// Where a kernel could be.
        kernels: Vec<PathBuf>,
    },
    /// A disk does not answer.
    #[error("{path}: {late}", path = .path.display())]
    Disk {
        /// What was looked for.
        path: PathBuf,
        /// How it failed.
        late: Late,
    },
    /// An image of a switch for a node of another kind.
    #[error("nodeset command is not processed for {0}, only supports switchtype=onie")]
    NotOnie(String),
    /// An image of a switch that is not one served file.
    #[error(
        "The image '{0}' is invalid: linuximage.pkgdir must be one file below the install or TFTP directory"
    )]
    NotOneFile(String),
    /// There is no installer to ask for answers.
    #[error("{node} is not installed on a disk: the provmethod of {image} is not install")]
    NotInstalled {
        /// The node.
        node: String,
        /// Its image.
        image: String,
    },
    /// The installer asks for other files.
    #[error("the installer of {node} does not ask for {file}; it asks for {asked}")]
    NotAsked {
        /// The node.
        node: String,
        /// The file.
        file: String,
        /// Those that it asks for.
        asked: String,
    },
}

/// The kind of an error of a plan.
fn of_plan(error: &PlanError) -> ErrorKind {
    match error {
        PlanError::NoNode(_) | PlanError::NoImage { .. } => ErrorKind::NotFound,
        PlanError::NoInstaller { .. } | PlanError::StaticAddress(_) => ErrorKind::Refused,
        _ => ErrorKind::Conflict,
    }
}

/// The kind of an error of the answers for an installer.
fn of_answers(error: &DeployError) -> ErrorKind {
    let of_file = |error: &FileError| match error {
        FileError::Absent => ErrorKind::NotFound,
        FileError::Outside(_) => ErrorKind::Refused,
        FileError::Failed(_) => ErrorKind::Conflict,
    };
    match error {
        DeployError::Plan(error) => of_plan(error),
        DeployError::NoTemplate { reason, .. } => of_file(reason),
        DeployError::NoMasterAddress { .. } => ErrorKind::Conflict,
        DeployError::Render(error) => match error.problem.as_ref() {
            Directive::Plan(error) => of_plan(error),
            Directive::Unreadable { reason, .. } => of_file(reason),
            Directive::Command | Directive::NotImplemented => ErrorKind::Refused,
            _ => ErrorKind::Conflict,
        },
    }
}

fn places(kernels: &[PathBuf]) -> String {
    let places: Vec<String> = kernels.iter().map(|kernel| kernel.display().to_string()).collect();
    places.join(" or ")
}

impl Unready {
    /// The word by which programs know it.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoMac => "no_mac",
            Self::BadMac { .. } => "bad_mac",
            Self::NoAddress => "no_address",
            Self::Netboot(_) => "netboot_not_served",
            Self::NoState => "no_state",
            Self::Destiny(_) => "state_not_set",
            Self::Plan(_) => "no_plan",
            Self::Answers(_) => "no_answers",
            Self::NotBuilt { .. } => "image_not_built",
            Self::NoInstaller { .. } => "no_installer",
            Self::Disk { .. } => "disk_away",
            Self::NotOnie(_) => "not_onie",
            Self::NotOneFile(_) => "not_one_file",
            Self::NotInstalled { .. } => "not_installed",
            Self::NotAsked { .. } => "not_asked",
        }
    }

    /// What the caller can do after it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Disk { .. } => ErrorKind::Unavailable,
            Self::NotAsked { .. } => ErrorKind::Usage,
            Self::Destiny(error) => CommandError::from(error.clone()).kind(),
            Self::Plan(error) => of_plan(error),
            Self::Answers(error) => of_answers(error),
            Self::NoInstaller { .. } => ErrorKind::NotFound,
            _ => ErrorKind::Conflict,
        }
    }

    /// What to do about it for a node.
    #[must_use]
    pub fn hint(&self, node: &str) -> Option<String> {
        match self {
            Self::NoMac => Some(format!("set one: `chdef {node} mac=ADDRESS`")),
            Self::NoAddress => Some(format!("set one: `chdef {node} ip=ADDRESS`")),
            Self::Netboot(error) => error.hint(),
            Self::Plan(error) => error.hint(),
            Self::Answers(error) => error.hint(),
            Self::NotBuilt { command, .. } => Some(format!("run `{command}`")),
            Self::NoInstaller { image, .. } => {
                Some(format!("copy the medium there, or set pkgdir of the image {image}"))
            }
            _ => None,
        }
    }

    /// The error of a node.
    #[must_use]
    pub fn error(&self, node: &str) -> CommandError {
        self.with_text(node, self.to_string())
    }

    /// The error of a node and of that many others.
    #[must_use]
    pub fn error_of_many(&self, node: &str, others: usize) -> CommandError {
        self.with_text(node, format!("{self} (the same cause for {others} more nodes)"))
    }

    /// The same as a part of a result about the node.
    #[must_use]
    pub fn problem(&self, node: &str) -> Problem {
        Problem::new(self.code(), self).hint(self.hint(node))
    }

    fn with_text(&self, node: &str, text: String) -> CommandError {
        CommandError::new(self.kind(), text).maybe_hint(self.hint(node))
    }
}

/// What should be done about an image before a node boots it, although the node would boot.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Advice {
    /// Its initramfs images do not fit this program.
    #[error("the initramfs images of {0} were made by another build of Dawn")]
    OtherBuild(String),
    /// The archive is not of the tree as it is.
    #[error("the packed root of {0} is older than its tree or its kernel")]
    OldArchive(String),
    /// A disk does not answer.
    #[error("{path}: {late}", path = .path.display())]
    Disk {
        /// The directory of the image.
        path: PathBuf,
        /// How it failed.
        late: Late,
    },
}

impl Advised for Advice {
    fn hint(&self) -> Option<String> {
        match self {
            Self::OtherBuild(image) => Some(format!("renew them: `genimage --onlyinitrd {image}`")),
            Self::OldArchive(image) => Some(format!("renew it: `packimage {image}`")),
            Self::Disk { .. } => None,
        }
    }
}

impl Advice {
    /// As a part of a result about a node.
    #[must_use]
    pub fn problem(&self) -> Problem {
        let code = match self {
            Self::OtherBuild(_) => "initramfs_of_another_build",
            Self::OldArchive(_) => "archive_is_old",
            Self::Disk { .. } => "disk_away",
        };
        Problem::new(code, self).hint(self.hint())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dawn_deploy::RenderError;

    #[test]
    fn what_does_not_exist_is_not_found() {
        let image = || PlanError::NoImage { image: "gone".to_owned() };
        let directive = |problem| {
            let (file, directive) = ("compute.tmpl".to_owned(), "#INCLUDE:x#".to_owned());
            Unready::from(DeployError::from(RenderError {
                file,
                line: 3,
                directive,
                problem: Box::new(problem),
            }))
        };
        let absent = || Directive::Unreadable { path: "/x".to_owned(), reason: FileError::Absent };
        let template = |reason| Unready::from(DeployError::NoTemplate { path: "/t".to_owned(), reason });
        for (unready, kind) in [
            (Unready::from(image()), ErrorKind::NotFound),
            (Unready::from(DeployError::from(image())), ErrorKind::NotFound),
            (Unready::from(PlanError::NoServer("cn1".to_owned())), ErrorKind::Conflict),
            (Unready::from(PlanError::StaticAddress("cn1".to_owned())), ErrorKind::Refused),
            (Unready::NoInstaller { image: "im1".to_owned(), kernels: Vec::new() }, ErrorKind::NotFound),
            (template(FileError::Absent), ErrorKind::NotFound),
            (template(FileError::Outside("/install".to_owned())), ErrorKind::Refused),
            (directive(absent()), ErrorKind::NotFound),
            (directive(Directive::Command), ErrorKind::Refused),
            (directive(Directive::NoHash), ErrorKind::Conflict),
            (Unready::NoMac, ErrorKind::Conflict),
        ] {
            assert_eq!(unready.kind(), kind, "{unready}");
            assert_eq!(unready.error("cn1").kind(), kind, "{unready}");
        }
    }
}
