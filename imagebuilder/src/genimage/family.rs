//! Which back end builds an image.

use dawn_cluster::Distribution;

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

impl Family {
    /// The back end for an image.
    ///
    /// # Errors
    /// [`GenimageError::Distribution`] when `osvers` is not known.
    pub fn of(def: &ImageDef) -> Result<Self, GenimageError> {
        if def.pkgdir.first().is_some_and(|element| oci::Reference::is_one(element)) {
            return Ok(Self::Oci);
        }
        match Distribution::of(&def.osvers) {
            Some(Distribution::Debian) => Ok(Self::Deb),
            Some(Distribution::RedHat) => Ok(Self::Dnf),
            Some(Distribution::Suse) => Ok(Self::Zypper),
            Some(Distribution::Alt) => Ok(Self::AptRpm),
            None => Err(GenimageError::Distribution(def.osvers.clone())),
        }
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
            // Not kernel-headers, kernel-tools and similar packages.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distributions_have_their_package_manager() {
        let of = |osvers: &str, pkgdir: &[&str]| {
            let pkgdir = pkgdir.iter().map(|&text| text.to_owned()).collect();
            Family::of(&ImageDef { osvers: osvers.into(), pkgdir, ..ImageDef::default() }).ok()
        };
        for (osvers, family) in [
            ("ubuntu22.04.3", Some(Family::Deb)),
            ("rhels8.6.0", Some(Family::Dnf)),
            ("opensuse-leap15.6", Some(Family::Zypper)),
            ("alt-p10", Some(Family::AptRpm)),
            ("altair3", None),
        ] {
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
    }
}
