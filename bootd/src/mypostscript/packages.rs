//! What a node's post scripts install: the package lists of its image, and the image's own variables.
//!
//! The lists are read when the script is rendered. A list that cannot be read, or holds what is not a package
//! name, is left out with a line in the log: the node's other scripts still run.

use super::{Export, addons, as_served, cell, image_name, is_name};
use dawn_cluster::list::elements;
use dawn_cluster::{Col, OsImage, Snapshot, col};
use dawn_imagebuilder::listfile::{self, ListError};
use dawn_imagebuilder::pkglist::{self, Pass, PkglistError};
use dawn_plan::local_path;
use dawn_serving::Late;
use dawn_serving::disks::within;
use std::io;
use std::path::Path;

/// Variables of the image that the node has; none without an image.
pub(super) fn of_image(snapshot: &Snapshot, node: &str, export: &mut Export<'_>) {
    development_kits(snapshot, node, export);
    let image = dawn_statelite::image_of(snapshot, node).and_then(|name| snapshot.osimage(&name));
    let Some(image) = image else { return export("NOSYNCFILES", "1") };
    let text = |column: Col| image.get(column).map(|text| text.to_string()).unwrap_or_default();
    let folders = |column: Col| {
        let served: Vec<String> =
            text(column).split(',').map(|one| as_served(snapshot, one.trim())).collect();
        served.join(",")
    };
    export("OSPKGDIR", &folders(col::linuximage::PKGDIR));
    let passes = passes(&image, col::linuximage::PKGLIST);
    export("OSPKGS", &passes.iter().map(words).collect::<Vec<_>>().join(","));
    export("ENVLIST", passes.iter().map(variables).collect::<Vec<_>>().join(" ").trim());
    export("OTHERPKGDIR", &folders(col::linuximage::OTHERPKGDIR));
    let others = self::passes(&image, col::linuximage::OTHERPKGLIST);
    for (number, pass) in (1..).zip(&others) {
        export(&format!("OTHERPKGS{number}"), &words(pass));
        export(&format!("ENVLIST{number}"), &variables(pass));
    }
    export("OTHERPKGS_INDEX", &others.len().to_string());
    addons::kits(snapshot, &image, export);
    if text(col::osimage::SYNCLISTS).is_empty() {
        export("NOSYNCFILES", "1");
    }
    for pair in text(col::osimage::ENVIRONVAR).split(',') {
        match pair.trim().split_once('=') {
            Some((name, value)) if is_name(name) => export(name, value),
            _ if pair.trim().is_empty() => {}
            _ => {
                tracing::warn!(image = %image_name(&image), pair, "osimage.environvar: not NAME=VALUE; left out")
            }
        }
    }
}

/// The directories `sdk…` next to the packages of a SUSE system.
fn development_kits(snapshot: &Snapshot, node: &str, export: &mut Export<'_>) {
    let (os, arch) = (cell(snapshot, node, col::nodetype::OS), cell(snapshot, node, col::nodetype::ARCH));
    if !os.starts_with("sle")
        || [&os, &arch].iter().any(|part| part.is_empty() || part.contains('/') || part.contains(".."))
    {
        return;
    }
    let above = local_path(snapshot, &format!("{}/{os}/{arch}", super::INSTALL));
    let names = within(&above, |above| -> std::io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(above)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with("sdk") && entry.path().is_dir() {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    });
    // Without the directory there is nothing to name.
    let names = names.ok().and_then(Result::ok).unwrap_or_default();
    let paths: Vec<String> =
        names.iter().map(|name| format!("{}/{os}/{arch}/{name}", super::INSTALL)).collect();
    if !paths.is_empty() {
        export("SDKDIR", &paths.join(","));
    }
}

/// The passes of all lists that a column names.
fn passes(image: &OsImage, column: Col) -> Vec<Pass> {
    let files = image.get(column).map(|text| text.to_string()).unwrap_or_default();
    let mut all = Vec::new();
    for file in elements(&files) {
        match read(Path::new(file), image) {
            Ok(passes) => all.extend(passes),
            Err(why) => {
                tracing::warn!(image = %image_name(image), %column, file, %why, "nodes get no packages of this list");
            }
        }
    }
    all
}

/// Why a list is left out.
#[derive(Debug, thiserror::Error)]
enum Unread {
    #[error(transparent)]
    Late(#[from] Late),
    #[error("{0}")]
    Metadata(io::Error),
    #[error("it is not a regular file")]
    NotFile,
    #[error(transparent)]
    File(#[from] ListError),
    #[error(transparent)]
    Packages(#[from] PkglistError),
}

fn read(file: &Path, image: &OsImage) -> Result<Vec<Pass>, Unread> {
    let known = within(file, |file| std::fs::metadata(file))?.map_err(Unread::Metadata)?;
    if !known.is_file() {
        return Err(Unread::NotFile);
    }
    let value = |name: &str| image.named(&name.to_ascii_lowercase()).map(|text| text.to_string());
    let lines = listfile::load(file, &value)?;
    Ok(pkglist::parse(lines.iter().map(String::as_str))?)
}

/// `a,b,@group,-before,--after`: the words that the node's script gets.
fn words(pass: &Pass) -> String {
    let before = pass.remove_before.iter().map(|name| format!("-{name}"));
    let groups = pass.groups.iter().map(|name| format!("@{name}"));
    let after = pass.remove_after.iter().map(|name| format!("--{name}"));
    let all: Vec<String> = pass.install.iter().cloned().chain(groups).chain(before).chain(after).collect();
    all.join(",")
}

fn variables(pass: &Pass) -> String {
    let pairs: Vec<String> = pass.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn development_kits_of_suse() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["sdk2", "sdk1", "other"] {
            std::fs::create_dir_all(dir.path().join("sles15.5/x86_64").join(name)).unwrap();
        }
        std::fs::write(dir.path().join("sles15.5/x86_64/sdk3"), "").unwrap();
        let of = |os: &str| {
            let snapshot = Snapshot::from_rows([
                ("site", &[("key", "installdir"), ("value", &*dir.path().to_string_lossy())][..]),
                ("nodelist", &[("node", "cn1")]),
                ("nodetype", &[("node", "cn1"), ("os", os), ("arch", "x86_64")]),
            ]);
            let mut text = String::new();
            development_kits(&snapshot, "cn1", &mut |name, value| text.push_str(&format!("{name}={value}")));
            text
        };
        assert_eq!(of("sles15.5"), "SDKDIR=/install/sles15.5/x86_64/sdk1,/install/sles15.5/x86_64/sdk2");
        assert_eq!((of("sles12"), of("rhels8"), of("sle/..")), Default::default());
    }
}
