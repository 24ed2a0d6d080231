//! Which distribution an `osimage.osvers` is of.

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
        assert_eq!((os_version("rhels8.6.0"), os_major("rhels8.6.0"), os_major("alt")), ("8.6.0", 8, 0));
    }
}
