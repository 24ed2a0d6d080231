//! Our own templates, package lists and scripts: for images that name none and for which no file is found.
//!
//! Their names begin with `builtin:`; a template of a site may include them (`#INCLUDE:builtin:post.sh#`).

use dawn_cluster::Installer;

/// How their names begin.
pub const BUILTIN: &str = "builtin:";

const FILES: [(&str, &str); 9] = [
    ("el.tmpl", include_str!("../templates/el.tmpl")),
    ("el.pkglist", include_str!("../templates/el.pkglist")),
    ("debian.tmpl", include_str!("../templates/debian.tmpl")),
    ("debian.pkglist", include_str!("../templates/debian.pkglist")),
    ("subiquity.tmpl", include_str!("../templates/subiquity.tmpl")),
    ("subiquity.pkglist", include_str!("../templates/subiquity.pkglist")),
    ("sles.tmpl", include_str!("../templates/sles.tmpl")),
    ("sles.pkglist", include_str!("../templates/sles.pkglist")),
    ("post.sh", include_str!("../templates/post.sh")),
];

/// Whether the path is one of ours.
#[must_use]
pub fn is_builtin(path: &str) -> bool {
    path.starts_with(BUILTIN)
}

/// The text of one of ours.
pub(crate) fn text(path: &str) -> Option<&'static str> {
    let name = path.strip_prefix(BUILTIN)?;
    FILES.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// The file of an ending (`tmpl`, `pkglist`) for an installer.
pub(crate) fn path(installer: Installer, ending: &str) -> String {
    let stem = match installer {
        Installer::Kickstart => "el",
        Installer::AutoYast => "sles",
        Installer::Preseed => "debian",
        Installer::Autoinstall => "subiquity",
    };
    format!("{BUILTIN}{stem}.{ending}")
}
