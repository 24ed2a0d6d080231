//! Why a node has no plan.

use dawn_cluster::{Advised, NameError};

/// Why a node has no plan. The text is for the administrator and for the node's console, as is the hint.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
pub enum PlanError {
    /// The node is not in `nodelist`.
    #[error("Could not find node '{0}'.")]
    NoNode(String),
    /// `chain.currstate` is empty or not understood.
    #[error("{node} has no boot state (chain.currstate is '{state}')")]
    NoState {
        /// The node.
        node: String,
        /// Text found.
        state: String,
    },
    /// `nodetype.provmethod` names no image.
    #[error("Cannot find the OS image {image} in the osimage table.")]
    NoImage {
        /// The name found, possibly empty.
        image: String,
    },
    /// The image lacks a value that the boot needs.
    #[error("The image {image} has no {column}")]
    ImageIncomplete {
        /// Name of the image.
        image: String,
        /// Attribute without a value.
        column: &'static str,
    },
    /// No address of ours and none in the tables that the node could reach.
    #[error("No server address for {0}")]
    NoServer(String),
    /// A word for the kernel command line that a boot loader would misread.
    #[error("The kernel argument '{word}' cannot be used: {reason}")]
    Argument {
        /// The word.
        word: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A name from an older database that a boot loader would misread.
    #[error("{0}, so it cannot be written to a boot script")]
    Name(#[from] NameError),
    /// A task without the system that carries it out.
    #[error("There is no discovery system to carry out a task")]
    NoDiscovery,
    /// A system whose installer is not known.
    #[error("Dawn does not know the installer of {image}: its osvers is '{osvers}'")]
    NoInstaller {
        /// Name of the image.
        image: String,
        /// What it says of its system.
        osvers: String,
    },
    /// The image names no directory of this machine that could have the installer's kernel.
    #[error("The image {image} has no pkgdir on this machine, and so no kernel of the installer")]
    NoMedia {
        /// Name of the image.
        image: String,
    },
    /// A directory of packages that no node can fetch from.
    #[error("{path} is not below the install directory (site.installdir), so nodes cannot fetch it")]
    NotServed {
        /// The directory.
        path: String,
    },
    /// Addresses that the installer is to set by itself.
    #[error("site.managedaddressmode is static: installers of Dawn take the address of {0} from DHCP")]
    StaticAddress(String),
}

impl Advised for PlanError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::NoState { node, .. } => Some(format!("set one: `nodeset {node} osimage=IMAGE`")),
            Self::ImageIncomplete { image, column } => {
                Some(format!("set it: `chdef -t osimage {image} {column}=VALUE`"))
            }
            Self::NoServer(_) => Some(
                "set noderes.xcatmaster or site.master, or give this machine an address in the node's network"
                    .to_owned(),
            ),
            Self::Name(_) => Some("give it another name".to_owned()),
            Self::NoDiscovery => Some("make it: `mknb x86_64`".to_owned()),
            Self::NoInstaller { .. } => {
                Some("Dawn knows those of Enterprise Linux, Fedora, SUSE, Debian and Ubuntu".to_owned())
            }
            Self::NoMedia { image } => {
                Some(format!("copy the medium to a directory and name it: `chdef -t osimage {image} pkgdir=DIRECTORY`"))
            }
            Self::StaticAddress(_) => Some("remove the key: `chtab -d key=managedaddressmode site`".to_owned()),
            Self::NoNode(_) | Self::NoImage { .. } | Self::Argument { .. } | Self::NotServed { .. } => None,
        }
    }
}
