//! `manifest.xml`: `<xcatimage>` with the sections `<osimage>` and `<linuximage>` (one element a column) and
//! an `<extra>` element for every added file.

use std::collections::BTreeMap;

use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event};
use quick_xml::{Reader, Writer};

use super::BundleError;

/// Columns that name files, which travel with the image. Elements of a list are separated by commas; behind
/// the path of a script its arguments may follow.
const FILE_COLUMNS: [&str; 7] =
    ["pkglist", "otherpkglist", "exlist", "postinstall", "template", "synclists", "partitionfile"];
/// Deepest nesting of elements that are read.
const DEPTH_MAX: usize = 3;

/// A file that was added by hand.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Extra {
    /// Its place in the bundle, below `extra/`.
    pub name: String,
    /// The directory it belongs into.
    pub dest: String,
}

/// The attributes of an image.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Manifest {
    /// Columns of `osimage`.
    pub osimage: BTreeMap<String, String>,
    /// Columns of `linuximage`.
    pub linuximage: BTreeMap<String, String>,
    /// Added files.
    pub extra: Vec<Extra>,
}

impl Manifest {
    /// The image's name.
    pub fn name(&self) -> Option<&str> {
        self.osimage.get("imagename").map(String::as_str)
    }

    /// Absolute paths of the files that the attributes name.
    pub fn files(&self) -> Vec<String> {
        let columns = FILE_COLUMNS.iter().filter_map(|column| {
            self.linuximage.get(*column).or_else(|| self.osimage.get(*column)).map(|value| (*column, value))
        });
        let mut files: Vec<String> = columns
            .flat_map(|(column, value)| {
                value.split(',').filter_map(move |element| {
                    let element = element.trim();
                    let element = element.strip_prefix("s:").unwrap_or(element);
                    let path = match column {
                        "postinstall" => element.split_whitespace().next()?,
                        _ => element,
                    };
                    is_place(path).then(|| path.to_owned())
                })
            })
            .collect();
        files.sort();
        files.dedup();
        files
    }

    /// What `genimage` runs as root, and the template, whose scripts an installer runs as root and which
    /// reads tables of this server.
    pub(super) fn scripts(&self) -> Vec<String> {
        let columns = ["postinstall", "template"];
        let lists = [&self.linuximage, &self.osimage].map(|row| columns.map(|column| row.get(column)));
        let lists = lists.into_iter().flatten();
        let elements = lists.flatten().flat_map(|list| list.split(','));
        elements.filter_map(|element| Some(element.split_whitespace().next()?.to_owned())).collect()
    }

    pub(crate) fn to_xml(&self) -> std::io::Result<Vec<u8>> {
        let mut xml = Writer::new_with_indent(Vec::new(), b' ', 2);
        xml.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
        xml.write_event(Event::Start(BytesStart::new("xcatimage")))?;
        section(&mut xml, "osimage", self.osimage.iter())?;
        section(&mut xml, "linuximage", self.linuximage.iter())?;
        for extra in &self.extra {
            let pairs = [("name".to_owned(), extra.name.clone()), ("dest".to_owned(), extra.dest.clone())];
            section(&mut xml, "extra", pairs.iter().map(|(k, v)| (k, v)))?;
        }
        xml.write_event(Event::End(BytesEnd::new("xcatimage")))?;
        let mut bytes = xml.into_inner();
        bytes.push(b'\n');
        Ok(bytes)
    }

    pub(crate) fn from_xml(text: &str) -> Result<Self, BundleError> {
        let bad = |what: &str| BundleError::Bad(format!("manifest.xml: {what}"));
        let mut manifest = Self::default();
        let mut reader = Reader::from_str(text);
        let (mut path, mut value): (Vec<String>, String) = (Vec::new(), String::new());
        loop {
            match reader.read_event().map_err(|error| bad(&error.to_string()))? {
                Event::Start(tag) => {
                    path.push(String::from_utf8_lossy(tag.name().as_ref()).into_owned());
                    value.clear();
                    if path.len() > DEPTH_MAX || path.first().is_some_and(|root| root != "xcatimage") {
                        return Err(bad("not the manifest of an image"));
                    }
                    if path.len() == 2 && path.last().is_some_and(|name| name == "extra") {
                        manifest.extra.push(Extra::default());
                    }
                }
                Event::Text(text) => value.push_str(&text.decode().map_err(|error| bad(&error.to_string()))?),
                Event::GeneralRef(name) => value.push(entity(&name).ok_or_else(|| bad("unknown entity"))?),
                Event::End(_) => {
                    manifest.take(&path, value.trim());
                    value.clear();
                    path.pop();
                }
                Event::Eof => break,
                _ => {}
            }
        }
        match manifest.name() {
            Some(_) if path.is_empty() => Ok(manifest),
            _ => Err(bad("it names no image")),
        }
    }

    fn take(&mut self, path: &[String], value: &str) {
        let [_, section, key] = path else { return };
        let value = value.to_owned();
        match (section.as_str(), key.as_str()) {
            ("osimage", key) => drop(self.osimage.insert(key.to_owned(), value)),
            ("linuximage", key) => drop(self.linuximage.insert(key.to_owned(), value)),
            ("extra", "name") => {
                self.extra.iter_mut().last().into_iter().for_each(|extra| extra.name.clone_from(&value))
            }
            ("extra", "dest") => {
                self.extra.iter_mut().last().into_iter().for_each(|extra| extra.dest.clone_from(&value))
            }
            _ => {}
        }
    }
}

/// May a file of a bundle be put at this path? Absolute, and without ways up or control characters.
pub(super) fn is_place(path: &str) -> bool {
    let parts = path.strip_prefix('/').unwrap_or("..");
    !parts.is_empty()
        && parts.split('/').all(|part| !part.is_empty() && part != "." && part != "..")
        && !path.chars().any(char::is_control)
}

fn section<'a>(
    xml: &mut Writer<Vec<u8>>,
    name: &str,
    pairs: impl Iterator<Item = (&'a String, &'a String)>,
) -> std::io::Result<()> {
    xml.write_event(Event::Start(BytesStart::new(name)))?;
    for (key, value) in pairs {
        xml.write_event(Event::Start(BytesStart::new(key.as_str())))?;
        xml.write_event(Event::Text(BytesText::new(value)))?;
        xml.write_event(Event::End(BytesEnd::new(key.as_str())))?;
    }
    xml.write_event(Event::End(BytesEnd::new(name)))
}

fn entity(name: &[u8]) -> Option<char> {
    Some(match name {
        b"amp" => '&',
        b"lt" => '<',
        b"gt" => '>',
        b"quot" => '"',
        b"apos" => '\'',
        number => {
            let text = std::str::from_utf8(number).ok()?.strip_prefix('#')?;
            let code = match text.strip_prefix('x') {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => text.parse().ok()?,
            };
            char::from_u32(code)?
        }
    })
}
