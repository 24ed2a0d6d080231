//! How a node boots from the network: the words of `noderes.netboot`.

use crate::advised::Advised;
use crate::col;
use crate::row::Text;
use crate::snapshot::Snapshot;

/// How a node boots from the network, `noderes.netboot`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Netboot {
    /// iPXE: also where nothing is said, and for every word that is not known.
    Xnba,
    /// PXELINUX.
    Pxe,
    /// GRUB.
    Grub2,
    /// A loader in the firmware of POWER machines, which fetches its configuration.
    Petitboot,
    /// A switch that fetches its installer.
    Onie,
}

/// Where nothing is said.
const DEFAULT: &str = "xnba";

/// The words with their meanings, and the words alone, as rules have them.
macro_rules! words {
    ($($word:literal => $meaning:expr,)*) => {
        const MEANINGS: &[(&str, Option<Netboot>)] = &[$(($word, $meaning)),*];
        /// Every word that the column takes.
        pub(crate) const WORDS: &[&str] = &[$($word),*];
    };
}

words! {
    "xnba" => Some(Netboot::Xnba),
    "pxe" => Some(Netboot::Pxe),
    "grub2" => Some(Netboot::Grub2),
    "grub2-http" => Some(Netboot::Grub2),
    "grub2-tftp" => Some(Netboot::Grub2),
    "petitboot" => Some(Netboot::Petitboot),
    "onie" => Some(Netboot::Onie),
    // Machines that Dawn does not boot.
    "yaboot" => None,
    "nimol" => None,
    "elilo" => None,
}

impl Netboot {
    /// Reads the column for a node.
    #[must_use]
    pub fn of(snapshot: &Snapshot, node: &str) -> Self {
        Self::named(&Self::word(snapshot, node)).unwrap_or(Self::Xnba)
    }

    /// The word for a node, as the column or the default has it.
    #[must_use]
    pub fn word(snapshot: &Snapshot, node: &str) -> Text {
        snapshot.attr(node, col::noderes::NETBOOT).unwrap_or_else(|| DEFAULT.into())
    }

    /// The word that the column has for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        MEANINGS.iter().find(|(_, netboot)| *netboot == Some(self)).map_or(DEFAULT, |(word, _)| *word)
    }

    /// DHCP sends it the URL of what it loads, so that it has no other way to find its server.
    #[must_use]
    pub fn is_sent_a_url(self) -> bool {
        matches!(self, Self::Petitboot | Self::Onie)
    }

    fn named(word: &str) -> Option<Self> {
        MEANINGS.iter().find(|(known, _)| *known == word).and_then(|(_, netboot)| *netboot)
    }

    /// The node's word, if Dawn does not boot by it.
    #[must_use]
    pub fn not_served(snapshot: &Snapshot, node: &str) -> Option<Text> {
        Some(Self::word(snapshot, node)).filter(|word| Self::named(word).is_none())
    }

    /// Fails for a node whose `noderes.netboot` keeps it from booting.
    ///
    /// # Errors
    /// [`NotServed`].
    pub fn check(snapshot: &Snapshot, node: &str) -> Result<(), NotServed> {
        match Self::not_served(snapshot, node) {
            Some(word) => Err(NotServed { node: node.to_owned(), word: word.to_string() }),
            None => Ok(()),
        }
    }
}

/// `noderes.netboot` has a word that Dawn does not boot by.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
#[error("noderes.netboot is '{word}', which Dawn does not boot")]
pub struct NotServed {
    node: String,
    /// The word.
    pub word: String,
}

impl Advised for NotServed {
    fn hint(&self) -> Option<String> {
        let served = MEANINGS.iter().filter(|(_, netboot)| netboot.is_some());
        let known = served.map(|(word, _)| *word).collect::<Vec<_>>().join(", ");
        Some(format!("Dawn boots {known}; set one: `chdef {} netboot=xnba`", self.node))
    }
}
