//! Which distribution an `osimage.osvers` is of, and which questions its installer asks.

/// Families of distributions that are installed and set up in the same way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Distribution {
    /// Debian and Ubuntu.
    Debian,
    /// Enterprise Linux and its relatives, and Fedora.
    RedHat,
    /// SUSE Linux Enterprise and openSUSE.
    Suse,
    /// ALT.
    Alt,
}

/// Beginnings of `osvers`, as xCAT's distribution names are; a version must follow, or nothing.
const NAMES: [(&str, Distribution); 24] = [
    ("debian", Distribution::Debian),
    ("ubuntu", Distribution::Debian),
    ("rhels", Distribution::RedHat),
    ("rhelserver", Distribution::RedHat),
    ("rhelc", Distribution::RedHat),
    ("rhelhpc", Distribution::RedHat),
    ("rhel", Distribution::RedHat),
    ("rh", Distribution::RedHat),
    ("centos-stream", Distribution::RedHat),
    ("centos", Distribution::RedHat),
    ("alma", Distribution::RedHat),
    ("almalinux", Distribution::RedHat),
    ("rocky", Distribution::RedHat),
    ("ol", Distribution::RedHat),
    ("oracle", Distribution::RedHat),
    ("SL", Distribution::RedHat),
    ("fedora", Distribution::RedHat),
    ("sles", Distribution::Suse),
    ("sled", Distribution::Suse),
    ("sle", Distribution::Suse),
    ("opensuse-leap", Distribution::Suse),
    ("opensuse", Distribution::Suse),
    ("leap", Distribution::Suse),
    ("alt", Distribution::Alt),
];

impl Distribution {
    /// The distribution of an `osvers` like `rhels9.4`; `None` if it begins with no known name.
    #[must_use]
    pub fn of(osvers: &str) -> Option<Self> {
        let is_version =
            |rest: &str| rest.is_empty() || rest.starts_with(|c: char| c.is_ascii_digit() || c == '-');
        let is_meant = |name: &str| osvers.strip_prefix(name).is_some_and(is_version);
        NAMES.iter().find(|(name, _)| is_meant(name)).map(|(_, distribution)| *distribution)
    }

    /// The names that an `osvers` can begin with.
    pub fn names() -> impl Iterator<Item = &'static str> {
        NAMES.iter().map(|(name, _)| *name)
    }
}

/// How a distribution is installed on a disk without a person: the form of the answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Installer {
    /// Anaconda of Enterprise Linux and Fedora: one kickstart file.
    Kickstart,
    /// YaST of SUSE: one XML file.
    AutoYast,
    /// debian-installer: one preseed file.
    Preseed,
    /// Ubuntu's subiquity: a directory for cloud-init.
    Autoinstall,
}

impl Installer {
    /// The installer of an `osvers`. Ubuntu has two: from 20.04 on, the name of the template decides
    /// (`subiquity` in it), and without a template it is the newer one. `None`: not one that we know.
    #[must_use]
    pub fn of(osvers: &str, template: Option<&str>) -> Option<Self> {
        let file = template.map(|path| path.rsplit('/').next().unwrap_or(path));
        match Distribution::of(osvers)? {
            Distribution::RedHat => Some(Self::Kickstart),
            Distribution::Suse => Some(Self::AutoYast),
            Distribution::Debian if osvers.starts_with("ubuntu") && os_major(osvers) >= FIRST_SUBIQUITY => {
                let is_named = file.is_none_or(|file| file.contains(SUBIQUITY));
                Some(if is_named { Self::Autoinstall } else { Self::Preseed })
            }
            Distribution::Debian => Some(Self::Preseed),
            Distribution::Alt => None,
        }
    }
}

/// Major version of the first Ubuntu that subiquity installs over the network.
const FIRST_SUBIQUITY: u32 = 20;
/// What the name of a template for it has.
const SUBIQUITY: &str = "subiquity";

/// The version in an `osvers`: `9.4` of `rhels9.4`; empty when there is none.
#[must_use]
pub fn os_version(osvers: &str) -> &str {
    osvers.find(|c: char| c.is_ascii_digit()).and_then(|at| osvers.get(at..)).unwrap_or_default()
}

/// The major number of [`os_version`]; 0 when there is none.
#[must_use]
pub fn os_major(osvers: &str) -> u32 {
    let digits = os_version(osvers).split(|c: char| !c.is_ascii_digit()).next();
    digits.and_then(|text| text.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distributions_are_known_by_their_names() {
        let table = [
            ("debian12", Some(Distribution::Debian)),
            ("ubuntu22.04.3", Some(Distribution::Debian)),
            ("rhels8.6.0", Some(Distribution::RedHat)),
            ("rhel9", Some(Distribution::RedHat)),
            ("centos-stream9", Some(Distribution::RedHat)),
            ("alma9.4", Some(Distribution::RedHat)),
            ("fedora40", Some(Distribution::RedHat)),
            ("SL7.9", Some(Distribution::RedHat)),
            ("sles15.5", Some(Distribution::Suse)),
            ("opensuse-leap15.6", Some(Distribution::Suse)),
            ("alt", Some(Distribution::Alt)),
            ("alt-p10", Some(Distribution::Alt)),
            ("altair3", None),
            ("windows11", None),
            ("", None),
        ];
        for (osvers, distribution) in table {
            assert_eq!(Distribution::of(osvers), distribution, "{osvers}");
        }
        let installers = [
            ("rhels9.4", None, Some(Installer::Kickstart)),
            ("sles15.5", None, Some(Installer::AutoYast)),
            ("debian12", None, Some(Installer::Preseed)),
            ("ubuntu18.04", None, Some(Installer::Preseed)),
            ("ubuntu22.04", None, Some(Installer::Autoinstall)),
            ("ubuntu22.04", Some("/install/subiquity/compute.tmpl"), Some(Installer::Preseed)),
            ("ubuntu22.04", Some("/install/compute.subiquity.tmpl"), Some(Installer::Autoinstall)),
            ("alt-p10", None, None),
            ("windows11", None, None),
        ];
        for (osvers, template, installer) in installers {
            assert_eq!(Installer::of(osvers, template), installer, "{osvers} {template:?}");
        }
        assert_eq!((os_version("rhels8.6.0"), os_major("rhels8.6.0"), os_major("alt")), ("8.6.0", 8, 0));
    }
}
