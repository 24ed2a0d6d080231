//! An image's definition on its way from the daemon to the process that builds the image.
//!
//! `genimage` and `packimage` work in the process of their caller, which has the network and the apt
//! configuration to do it; the daemon answers with the values of the tables, one `key=value` per line. The
//! root password travels as a crypt hash only.

use dawn_bootd::output::{CommandError, Done, Lines, Report};
use dawn_bootd::root_password::root_hash;
use dawn_cluster::{Col, OsImage, Snapshot, col};
use dawn_imagebuilder::image::ImageDef;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Attributes that are copied as they are, `osimage` and `linuximage` columns alike.
const COLUMNS: [Col; 17] = [
    col::osimage::OSVERS,
    col::osimage::OSARCH,
    col::osimage::PROFILE,
    col::osimage::PROVMETHOD,
    col::linuximage::PKGLIST,
    col::linuximage::PKGDIR,
    col::linuximage::OTHERPKGLIST,
    col::linuximage::OTHERPKGDIR,
    col::linuximage::POSTINSTALL,
    col::linuximage::EXLIST,
    col::linuximage::KERNELVER,
    col::linuximage::NETDRIVERS,
    col::linuximage::PERMISSION,
    col::osimage::SYNCLISTS,
    col::osimage::ROOTFSTYPE,
    col::linuximage::NODEBOOTIF,
    col::linuximage::DRIVERUPDATESRC,
];

/// What building needs besides [`ImageDef`].
#[derive(Clone, Debug, Default)]
pub struct Definition {
    /// The image.
    pub image: ImageDef,
    /// `site.timezone`.
    pub timezone: Option<String>,
    /// `osimage.synclists`.
    pub synclists: Vec<PathBuf>,
    /// `site.secureroot`.
    pub secureroot: bool,
    /// Of a statelite image: no row of `litefile` is for it, not even one for all images.
    pub has_no_litefile: bool,
}

/// What the tables say of an image, in the order in which it is printed, or xCAT's text if there is none.
pub struct Attributes(Vec<(String, String)>);

impl Attributes {
    /// The lines that travel to the builder.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|(key, value)| format!("{key}={value}"))
    }
}

impl serde::Serialize for Attributes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

impl Report for Attributes {
    fn print(&self, lines: &mut Lines<'_, '_>) -> Done {
        self.lines().try_for_each(|line| lines.data(line))
    }
}

/// The attributes of an image.
///
/// # Errors
/// There is no such image, or it does not say where its root is.
pub fn attributes(snapshot: &Snapshot, name: &str) -> Result<Attributes, CommandError> {
    let image = snapshot.osimage(name);
    let image = image.ok_or_else(|| {
        CommandError::not_found(format!("Cannot find the OS image {name} in the osimage table."))
    })?;
    let mut all = vec![("imagename".to_owned(), name.to_owned())];
    let mut set = |key: &str, value: String| all.push((key.to_owned(), value.replace('\n', " ")));
    for column in COLUMNS {
        if let Some(value) = image.get(column) {
            set(column.name(), value.to_string());
        }
    }
    set("rootimgdir", directory(snapshot, name, &image)?);
    for key in ["installdir", "timezone", "secureroot"] {
        if let Some(value) = snapshot.site(key) {
            set(&format!("site.{key}"), value.to_string());
        }
    }
    let arch = image.get(col::osimage::OSARCH);
    let sources = arch.and_then(|arch| snapshot.site(&format!("aptsrclist_{arch}")));
    if let Some(sources) = sources {
        set("aptsrclist", sources.to_string());
    }
    if image.get(col::osimage::PROVMETHOD).is_some_and(|method| **method == *"statelite") {
        set("litefile", dawn_statelite::files_of_image(snapshot, name).len().to_string());
    }
    if let Some(hash) = root_hash(snapshot, name) {
        set("roothash", hash.to_string());
    }
    Ok(Attributes(all))
}

fn directory(snapshot: &Snapshot, name: &str, image: &OsImage) -> Result<String, CommandError> {
    image.rootimgdir(snapshot).ok_or_else(|| {
        CommandError::conflict(format!(
            "The image {name} has no rootimgdir, and osvers, osarch or profile is missing to derive it."
        ))
    })
}

/// Reads the lines.
pub fn read<'a>(lines: impl Iterator<Item = &'a str>) -> Result<Definition, CommandError> {
    let values: BTreeMap<&str, &str> = lines.filter_map(|line| line.split_once('=')).collect();
    let get = |key: &str| values.get(key).map(|value| value.trim()).filter(|value| !value.is_empty());
    let text = |key: &str| get(key).unwrap_or_default().to_owned();
    let list = |key: &str| -> Vec<String> {
        let parts = get(key).unwrap_or_default().split(',').map(str::trim);
        parts.filter(|part| !part.is_empty()).map(str::to_owned).collect()
    };
    let paths = |key: &str| -> Vec<PathBuf> { list(key).into_iter().map(PathBuf::from).collect() };
    let permission = match get("permission") {
        Some(octal) => {
            let mode = u32::from_str_radix(octal, 8).ok().filter(|mode| *mode <= 0o7777);
            let wrong =
                || CommandError::conflict(format!("linuximage.permission {octal:?} is not an octal mode"));
            Some(mode.ok_or_else(wrong)?)
        }
        None => None,
    };
    let image = ImageDef {
        name: text("imagename"),
        osvers: text("osvers"),
        arch: text("osarch"),
        profile: text("profile"),
        provmethod: text("provmethod"),
        rootimgdir: text("rootimgdir").into(),
        pkglist: paths("pkglist"),
        pkgdir: list("pkgdir"),
        otherpkglist: paths("otherpkglist"),
        otherpkgdir: list("otherpkgdir"),
        postinstall: list("postinstall"),
        exlist: get("exlist").map(PathBuf::from),
        kernelver: get("kernelver").map(str::to_owned),
        netdrivers: list("netdrivers"),
        permission,
        aptsrclist: get("aptsrclist").map(PathBuf::from),
        installdir: get("site.installdir").unwrap_or("/install").into(),
        root_hash: get("roothash").map(str::to_owned),
    };
    let secureroot =
        get("site.secureroot").is_some_and(|value| value != "0" && !value.starts_with(['n', 'N']));
    let timezone = get("site.timezone").map(str::to_owned);
    let has_no_litefile = get("litefile") == Some("0");
    Ok(Definition { image, timezone, synclists: paths("synclists"), secureroot, has_no_litefile })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statelite_image_without_a_row_differs_from_one_with() {
        for (method, row_of, expected) in [
            ("statelite", "", true),
            ("statelite", "other", true),
            ("statelite", "img", false),
            ("statelite", "ALL", false),
            ("netboot", "", false),
        ] {
            let mut rows: Vec<(&str, Vec<(&str, &str)>)> = vec![
                ("osimage", vec![("imagename", "img"), ("provmethod", method), ("osvers", "debian12")]),
                ("linuximage", vec![("imagename", "img"), ("rootimgdir", "/install/img")]),
            ];
            if !row_of.is_empty() {
                rows.push(("litefile", vec![("image", row_of), ("file", "/tmp/"), ("options", "tmpfs")]));
            }
            let snapshot = Snapshot::from_rows(rows.iter().map(|(table, cells)| (*table, cells.as_slice())));
            let lines: Vec<String> = attributes(&snapshot, "img").expect("a definition").lines().collect();
            let read = read(lines.iter().map(String::as_str)).expect("our own lines");
            assert_eq!(read.has_no_litefile, expected, "{method} {row_of}");
        }
    }
}
