//! The template and the package list of an image that names none: by its system, architecture and profile,
//! as xCAT looks for them; ours if there is none.

use dawn_cluster::{Installer, os_major};

/// Files of the administrator, below a directory for each platform.
pub const LOCAL_DIRECTORY: &str = "/install/custom/install";
/// Files of xCAT, where they are still there.
pub const XCAT_DIRECTORY: &str = "/opt/xcat/share/xcat/install";
/// How far the last number of a version is counted down.
const MINORS_MAX: u32 = 32;

/// Beginnings of `osvers`, and the directory of their files.
const PLATFORMS: [(&str, &str); 18] = [
    ("rhel", "rh"),
    ("rh", "rh"),
    ("centos", "centos"),
    ("alma", "alma"),
    ("rocky", "rocky"),
    ("oracle", "ol"),
    ("ol", "ol"),
    ("SL", "SL"),
    ("fedora", "fedora"),
    ("sles", "sles"),
    ("sled", "sles"),
    ("sle", "sles"),
    ("leap", "sles"),
    ("opensuse", "suse"),
    ("suse", "suse"),
    ("ubuntu", "ubuntu"),
    ("debian", "debian"),
    ("alt", "alt"),
];

/// What is looked for.
pub(crate) struct Wanted<'a> {
    pub(crate) osvers: &'a str,
    pub(crate) arch: &'a str,
    pub(crate) profile: &'a str,
    pub(crate) installer: Installer,
    /// `tmpl`, `pkglist`.
    pub(crate) ending: &'a str,
}

/// Where the synclist of an image may be that names none, best first; `kind` is `install` or `netboot`.
#[must_use]
pub fn synclists(kind: &str, osvers: &str, arch: &str, profile: &str) -> Vec<String> {
    let wanted = Wanted { osvers, arch, profile, installer: Installer::Preseed, ending: "synclist" };
    let all = wanted.candidates();
    let own = all.iter().filter_map(|path| path.strip_prefix(LOCAL_DIRECTORY));
    own.map(|rest| format!("/install/custom/{kind}{rest}")).collect()
}

impl Wanted<'_> {
    /// Where it may be, best first.
    pub(crate) fn candidates(&self) -> Vec<String> {
        let is_name = |text: &str| !text.is_empty() && !text.contains('/') && !text.starts_with('.');
        if ![self.osvers, self.arch, self.profile].into_iter().all(is_name) {
            return Vec::new();
        }
        let platform =
            PLATFORMS.iter().find(|(begin, _)| self.osvers.starts_with(begin)).map(|(_, name)| *name);
        let directories = [LOCAL_DIRECTORY, XCAT_DIRECTORY].into_iter();
        let directories = directories.flat_map(|top| platform.map(|platform| format!("{top}/{platform}")));
        directories
            .flat_map(|top| self.names().into_iter().map(move |name| format!("{top}/{name}")))
            .collect()
    }

    fn names(&self) -> Vec<String> {
        let Self { osvers, arch, profile, ending, .. } = self;
        let mut names = Vec::new();
        let mut both = |os: &str| {
            for name in [format!("{profile}.{os}.{arch}.{ending}"), format!("{profile}.{os}.{ending}")] {
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        };
        both(osvers);
        match self.installer {
            Installer::Autoinstall => both("subiquity"),
            Installer::Kickstart if osvers.starts_with("rhel") => both(&format!("rhels{}", os_major(osvers))),
            _ => {}
        }
        descending(osvers).iter().for_each(|os| both(os));
        if osvers.starts_with("leap15") {
            both("sle15");
        }
        names.push(format!("{profile}.{arch}.{ending}"));
        names.push(format!("{profile}.{ending}"));
        names
    }
}

/// `rocky9.2` → rocky9.2, rocky9.1, rocky9.0, rocky9. A part with a leading zero ends the list.
fn descending(osvers: &str) -> Vec<String> {
    let osvers = osvers.split('-').next().unwrap_or(osvers);
    let mut all = vec![osvers.to_owned()];
    let mut rest = osvers;
    while let Some((before, last)) = rest.rsplit_once('.') {
        let number = Some(last).filter(|last| *last == "0" || !last.starts_with('0'));
        let Some(number) = number.and_then(|last| last.parse::<u32>().ok()) else { break };
        all.extend((0..number.min(MINORS_MAX)).rev().map(|minor| format!("{before}.{minor}")));
        all.push(before.to_owned());
        rest = before;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::{Wanted, descending, synclists};
    use dawn_cluster::Installer;

    #[test]
    fn versions_count_down() {
        for (osvers, expected) in [
            ("rocky9.2", "rocky9.2 rocky9.1 rocky9.0 rocky9"),
            ("ubuntu24.04.1", "ubuntu24.04.1 ubuntu24.04.0 ubuntu24.04"),
            ("rhels7.1-alternate", "rhels7.1 rhels7.0 rhels7"),
            ("debian12", "debian12"),
            ("x.y", "x.y"),
        ] {
            assert_eq!(descending(osvers).join(" "), expected);
        }
        assert!(descending("x.4000000000").len() < 100);
    }

    #[test]
    fn the_administrators_file_goes_before_xcats() {
        let wanted = |osvers: &'static str, installer| Wanted {
            osvers,
            arch: "x86_64",
            profile: "compute",
            installer,
            ending: "tmpl",
        };
        let all = wanted("rhels9.1", Installer::Kickstart).candidates();
        let begin: Vec<&str> =
            all.iter().take(5).map(|path| path.trim_start_matches("/install/custom/install/rh/")).collect();
        assert_eq!(
            begin,
            [
                "compute.rhels9.1.x86_64.tmpl",
                "compute.rhels9.1.tmpl",
                "compute.rhels9.x86_64.tmpl",
                "compute.rhels9.tmpl",
                "compute.rhels9.0.x86_64.tmpl"
            ]
        );
        assert_eq!(all.last().map(String::as_str), Some("/opt/xcat/share/xcat/install/rh/compute.tmpl"));
        let ubuntu = wanted("ubuntu22.04", Installer::Autoinstall).candidates();
        assert!(ubuntu.contains(&"/install/custom/install/ubuntu/compute.subiquity.tmpl".to_owned()));
        let lists = synclists("netboot", "alt", "x86_64", "kvm");
        assert_eq!(
            lists.first().map(String::as_str),
            Some("/install/custom/netboot/alt/kvm.alt.x86_64.synclist")
        );
        let upwards = Wanted { profile: "../x", ..wanted("debian12", Installer::Preseed) };
        assert!(upwards.candidates().is_empty());
    }
}
