//! `-u` of `mkdef` and `chdef`: what an osimage leaves unsaid is taken from its name
//! (`<osvers>-<arch>-<provmethod>-<profile>`) and from the lists of the profile below
//! `<installdir>/custom/{install,netboot}/<distribution>/`.
//!
//! Values of the command line or of the tables stay.

use super::Wanted;
use dawn_bootd::output::Stop;
use dawn_cluster::{Assign, Snapshot};
use dawn_serving::disks::within;
use std::path::{Path, PathBuf};

/// Attributes that are files of the profile: attribute, extension, and the methods that read them.
const LISTS: [(&str, &str, &[&str]); 5] = [
    ("template", "tmpl", &["install"]),
    ("pkglist", "pkglist", &["install", "netboot", "statelite"]),
    ("otherpkglist", "otherpkgs.pkglist", &["install", "netboot", "statelite"]),
    ("exlist", "exlist", &["netboot", "statelite"]),
    ("postinstall", "postinstall", &["netboot", "statelite"]),
];

/// Adds missing attributes to each image. An error for objects of other types, and for images whose
/// distribution, architecture, method and profile are neither given nor in the name.
pub fn osimages(wanted: &mut [Wanted], base: &Snapshot) -> Result<(), Stop> {
    wanted.iter_mut().try_for_each(|object| match object.kind.name {
        "osimage" => osimage(object, base),
        _ => Err(Stop::usage("The '-u' option is only valid for objects of the type 'osimage'.")),
    })
}

fn osimage(object: &mut Wanted, base: &Snapshot) -> Result<(), Stop> {
    let name = object.name.clone();
    let mut named = name.splitn(4, '-');
    let mut identity = Vec::new();
    for attr in ["osvers", "osarch", "provmethod", "profile"] {
        let from_name = named.next();
        let value = said(object, attr, base).or_else(|| from_name.map(str::to_owned));
        let value = value.filter(|value| !value.is_empty()).ok_or_else(|| {
            Stop::usage(format!(
                "The attribute '{attr}' of '{name}' is needed to complete it: it is neither given nor part of a \
                 name <osvers>-<arch>-<provmethod>-<profile>."
            ))
        })?;
        identity.push((attr, value));
    }
    let value = |n: usize| identity.get(n).map_or("", |(_, value)| value.as_str());
    let profile = Profile { os: value(0), arch: value(1), name: value(3) };
    let method = value(2);
    let mut found = vec![("imagetype", "linux".to_owned()), ("osname", "Linux".to_owned())];
    if let Some(dir) = base.site("installdir").and_then(|installdir| profile.directory(&installdir, method)) {
        for (attr, extension, _) in LISTS.iter().filter(|(_, _, methods)| methods.contains(&method)) {
            found.extend(profile.file(&dir, extension).map(|path| (*attr, path)));
        }
    }
    found.extend(identity.clone());
    for (attr, value) in found {
        if said(object, attr, base).is_none() {
            object.pairs.push((attr.to_owned(), Assign::Set(value)));
        }
    }
    Ok(())
}

/// What the command line says of the attribute, else what the tables say.
fn said(object: &Wanted, attr: &str, base: &Snapshot) -> Option<String> {
    let given = object.pairs.iter().rev().find(|(name, _)| name == attr).map(|(_, assign)| match assign {
        Assign::Set(value) | Assign::Add(value) | Assign::Remove(value) => value.clone(),
    });
    given.or_else(|| base.object_attr(object.kind, &object.name, attr).map(|text| text.to_string()))
}

/// What the names of a profile's files are made of.
struct Profile<'a> {
    os: &'a str,
    arch: &'a str,
    name: &'a str,
}

impl Profile<'_> {
    /// Where the lists are; nothing if a part of the path could lead elsewhere.
    fn directory(&self, installdir: &str, method: &str) -> Option<PathBuf> {
        let plain = |part: &&str| !part.is_empty() && !part.contains('/') && !part.starts_with('.');
        [self.os, self.arch, self.name].iter().all(plain).then_some(())?;
        let kind = if method == "install" { "install" } else { "netboot" };
        Some(Path::new(installdir).join("custom").join(kind).join(distribution(self.os)))
    }

    /// The most specific file of this extension.
    fn file(&self, dir: &Path, extension: &str) -> Option<String> {
        let Profile { os, arch, name } = self;
        let major = os.split('.').next().unwrap_or(os);
        let stems = [
            format!("{name}.{os}.{arch}"),
            format!("{name}.{major}.{arch}"),
            format!("{name}.{arch}"),
            format!("{name}.{os}"),
            (*name).to_owned(),
        ];
        let names = stems.map(|stem| format!("{stem}.{extension}"));
        let find = move |dir: &Path| names.iter().map(|name| dir.join(name)).find(|path| path.is_file());
        // A disk that does not answer gives no information.
        within(dir, find).ok().flatten().map(|path| path.display().to_string())
    }
}

/// The directory of a distribution: `debian12` is debian, `rhels9.2` rh, `sles15` sles.
fn distribution(os: &str) -> &str {
    let letters = os.find(|c: char| !c.is_ascii_alphabetic()).and_then(|end| os.get(..end)).unwrap_or(os);
    if letters.starts_with("rhel") { "rh" } else { letters }
}
