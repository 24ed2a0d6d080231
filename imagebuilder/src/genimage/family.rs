//! Which kind of distribution an image is of.

use super::GenimageError;
use crate::image::ImageDef;
use crate::oci;

/// The kinds of distributions that can be built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Debian and Ubuntu, by `mmdebstrap`.
    Deb,
    /// Enterprise Linux and Fedora, by `dnf --installroot`.
    Dnf,
    /// SUSE Linux Enterprise and openSUSE, by `zypper --root`.
    Zypper,
    /// ALT, by its `apt-get` for RPM packages.
    AptRpm,
    /// Any distribution, from a container image on disk.
    Oci,
}

/// Beginnings of `osimage.osvers`, as xCAT's distribution names are; a version must follow, or nothing.
const NAMES: [(&str, Family); 24] = [
    ("debian", Family::Deb),
    ("ubuntu", Family::Deb),
    ("rhels", Family::Dnf),
    ("rhelserver", Family::Dnf),
    ("rhelc", Family::Dnf),
    ("rhelhpc", Family::Dnf),
    ("rhel", Family::Dnf),
    ("rh", Family::Dnf),
    ("centos-stream", Family::Dnf),
    ("centos", Family::Dnf),
    ("alma", Family::Dnf),
    ("almalinux", Family::Dnf),
    ("rocky", Family::Dnf),
    ("ol", Family::Dnf),
    ("oracle", Family::Dnf),
    ("SL", Family::Dnf),
    ("fedora", Family::Dnf),
    ("sles", Family::Zypper),
    ("sled", Family::Zypper),
    ("sle", Family::Zypper),
    ("opensuse-leap", Family::Zypper),
    ("opensuse", Family::Zypper),
    ("leap", Family::Zypper),
    ("alt", Family::AptRpm),
];

/// What a reader is told when a distribution is none of these.
pub(super) const KNOWN: &str = "debian, ubuntu, rhels, centos, alma, rocky, ol, fedora, sles, opensuse, alt";

impl Family {
    /// The back end for an image.
    ///
    /// # Errors
    /// [`GenimageError::Distribution`] when `osvers` is not known.
    pub fn of(def: &ImageDef) -> Result<Self, GenimageError> {
        if def.pkgdir.first().is_some_and(|element| oci::Reference::is_one(element)) {
            return Ok(Self::Oci);
        }
        let is_version =
            |rest: &str| rest.is_empty() || rest.starts_with(|c: char| c.is_ascii_digit() || c == '-');
        NAMES
            .iter()
            .find(|(name, _)| def.osvers.strip_prefix(name).is_some_and(is_version))
            .map(|(_, family)| *family)
            .ok_or_else(|| GenimageError::Distribution(def.osvers.clone()))
    }

    /// The package list used when `linuximage.pkglist` is empty.
    #[must_use]
    pub fn default_pkglist(self) -> &'static str {
        match self {
            Self::Deb => include_str!("../../share/debian.compute.pkglist"),
            Self::Dnf => include_str!("../../share/rh.compute.pkglist"),
            Self::Zypper => include_str!("../../share/sles.compute.pkglist"),
            Self::AptRpm => include_str!("../../share/alt.compute.pkglist"),
            Self::Oci => "",
        }
    }

    /// Whether a package of this name brings a kernel.
    #[must_use]
    pub(super) fn is_kernel(self, package: &str) -> bool {
        let is = |name: &str| {
            package == name || package.strip_prefix(name).is_some_and(|rest| rest.starts_with('-'))
        };
        match self {
            Self::Deb => package.starts_with("linux-image-"),
            // Not kernel-headers, kernel-tools and the like.
            Self::Dnf => ["kernel", "kernel-core", "kernel-rt", "kernel-uek", "kernel-ml", "kernel-lt"]
                .iter()
                .any(|name| package == *name || package.strip_prefix(name).is_some_and(starts_version)),
            Self::Zypper => ["kernel-default", "kernel-default-base", "kernel-azure", "kernel-rt"]
                .iter()
                .any(|name| is(name)),
            Self::AptRpm => package.starts_with("kernel-image-"),
            Self::Oci => false,
        }
    }
}

/// `-5.14.0-503.el9`: a version follows a package's name.
fn starts_version(rest: &str) -> bool {
    rest.strip_prefix('-').is_some_and(|version| version.starts_with(|c: char| c.is_ascii_digit()))
}

/// The version in an `osvers`: `9.4` of `rhels9.4`; empty when there is none.
pub(super) fn version(osvers: &str) -> &str {
    osvers.find(|c: char| c.is_ascii_digit()).and_then(|at| osvers.get(at..)).unwrap_or_default()
}

/// The major number of [`version`]; 0 when there is none.
pub(super) fn major(osvers: &str) -> u32 {
    version(osvers)
        .split(|c: char| !c.is_ascii_digit())
        .next()
        .and_then(|text| text.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distributions_have_their_package_manager() {
        let of = |osvers: &str, pkgdir: &[&str]| {
            let pkgdir = pkgdir.iter().map(|&text| text.to_owned()).collect();
            Family::of(&ImageDef { osvers: osvers.into(), pkgdir, ..ImageDef::default() }).ok()
        };
        let table = [
            ("debian12", Some(Family::Deb)),
            ("ubuntu22.04.3", Some(Family::Deb)),
            ("rhels8.6.0", Some(Family::Dnf)),
            ("rhel9", Some(Family::Dnf)),
            ("centos-stream9", Some(Family::Dnf)),
            ("alma9.4", Some(Family::Dnf)),
            ("fedora40", Some(Family::Dnf)),
            ("SL7.9", Some(Family::Dnf)),
            ("sles15.5", Some(Family::Zypper)),
            ("opensuse-leap15.6", Some(Family::Zypper)),
            ("alt", Some(Family::AptRpm)),
            ("alt-p10", Some(Family::AptRpm)),
            ("altair3", None),
            ("windows11", None),
            ("", None),
        ];
        for (osvers, family) in table {
            assert_eq!(of(osvers, &[]), family, "{osvers}");
        }
        assert_eq!(of("anything", &["oci:/srv/images/el9:latest"]), Some(Family::Oci));
    }

    #[test]
    fn kernel_packages_are_told_from_their_companions() {
        let table = [
            (Family::Dnf, "kernel", true),
            (Family::Dnf, "kernel-5.14.0-503.el9", true),
            (Family::Dnf, "kernel-core", true),
            (Family::Dnf, "kernel-tools", false),
            (Family::Dnf, "kernel-headers", false),
            (Family::Zypper, "kernel-default", true),
            (Family::Zypper, "kernel-firmware-all", false),
            (Family::AptRpm, "kernel-image-un-def", true),
            (Family::Deb, "linux-image-amd64", true),
            (Family::Deb, "linux-headers-amd64", false),
        ];
        for (family, package, expected) in table {
            assert_eq!(family.is_kernel(package), expected, "{package}");
        }
        assert_eq!((version("rhels8.6.0"), major("rhels8.6.0"), major("alt")), ("8.6.0", 8, 0));
    }
}
