//! Object templates: stanza files that `lsdef --template` lists and `mkdef --template` takes values from.
//!
//! Some come with the program; more are files in `templates/objects/TYPE/` of the data directory, any name,
//! as many stanzas as one likes. A file's stanza takes the place of one of the same name and type that came
//! with the program.

use super::Wanted;
use dawn_bootd::output::Stop;
use dawn_cluster::stanza;
use dawn_cluster::{Assign, Object, ObjectType, ObjectValue, Snapshot};
use std::path::{Path, PathBuf};

/// What comes with the program.
const OURS: &str = include_str!("templates.stanza");
/// Where the administrator's own ones are, below the data directory; then a directory for each type.
pub const DIRECTORY: &str = "templates/objects";
/// Files of one type that are read at most.
const FILES_MAX: usize = 1000;
/// Bytes of one file at most.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// In front of the value of an attribute that must be given.
const MANDATORY: &str = "MANDATORY:";
/// In front of the value of an attribute that stays empty unless it is given.
const OPTIONAL: &str = "OPTIONAL:";

/// All templates of these types, by type in the order given, then by name.
pub fn list(types: &[&'static ObjectType], data: Option<&Path>) -> Result<Vec<Object>, Stop> {
    let ours = stanza::read(OURS).map_err(|error| Stop::internal(error.to_string()))?;
    let mut all = Vec::new();
    for kind in types {
        let mut found: Vec<stanza::Stanza> =
            ours.iter().filter(|one| one.kind == kind.name).cloned().collect();
        for file in files(kind, data)? {
            for one in read_file(&file)?.into_iter().filter(|one| one.kind == kind.name) {
                found.retain(|known| known.name != one.name);
                found.push(one);
            }
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        all.extend(found.into_iter().map(|one| object(kind, one)));
    }
    Ok(all)
}

/// Attributes that were not given come from the template of that name, or else from the object.
pub fn fill(object: &mut Wanted, name: &str, base: &Snapshot, data: Option<&Path>) -> Result<(), Stop> {
    let template = list(&[object.kind], data)?.into_iter().find(|template| &*template.name == name);
    let source = template.or_else(|| base.object(object.kind, name)).ok_or_else(|| {
        let kind = object.kind.name;
        Stop::not_found(format!("Could not find the template object named '{name}' of type '{kind}'."))
    })?;
    for (attr, value) in &source.attrs {
        if object.pairs.iter().any(|(given, _)| **given == **attr) {
            continue;
        }
        if value.value.starts_with(MANDATORY) {
            return Err(Stop::usage(format!("The attribute \"{attr}\" must be specified!")));
        }
        if !value.value.starts_with(OPTIONAL) {
            object.pairs.push((attr.to_string(), Assign::Set(value.value.to_string())));
        }
    }
    Ok(())
}

/// The error for an unknown name.
pub fn missing(name: &str) -> Stop {
    Stop::not_found(format!("Could not find {name} in xCAT templates."))
}

fn object(kind: &'static ObjectType, one: stanza::Stanza) -> Object {
    let value = |value: String| ObjectValue { value: value.into(), line: None };
    let attrs = one.attrs.into_iter().filter(|(_, text)| !text.is_empty());
    Object {
        kind,
        name: one.name.into(),
        attrs: attrs.map(|(attr, text)| (attr.into(), value(text))).collect(),
    }
}

/// The administrator's files for a type, sorted, hidden ones and editors' copies left out.
fn files(kind: &ObjectType, data: Option<&Path>) -> Result<Vec<PathBuf>, Stop> {
    let Some(data) = data else { return Ok(Vec::new()) };
    let directory = data.join(DIRECTORY).join(kind.name);
    let Ok(entries) = std::fs::read_dir(&directory) else { return Ok(Vec::new()) };
    let is_meant = |path: &PathBuf| {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        path.is_file() && !name.starts_with('.') && !name.ends_with('~')
    };
    let mut list: Vec<PathBuf> =
        entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is_meant).collect();
    if list.len() > FILES_MAX {
        return Err(Stop::conflict(format!("{}: more than {FILES_MAX} templates", directory.display())));
    }
    list.sort();
    Ok(list)
}

fn read_file(path: &Path) -> Result<Vec<stanza::Stanza>, Stop> {
    let failed = |error: &dyn std::fmt::Display| Stop::conflict(format!("{}: {error}", path.display()));
    let bytes =
        dawn_serving::bounded_read::read(path, FILE_BYTES_MAX, dawn_serving::bounded_read::Rights::Daemon)
            .map_err(|error| failed(&error))?;
    let text = String::from_utf8(bytes).map_err(|error| failed(&error))?;
    stanza::read(&text).map_err(|error| failed(&error))
}

/// Types in the order of `lsdef --template` without `-t`.
pub fn all_types() -> Vec<&'static ObjectType> {
    let mut types = super::all_types();
    types.sort_by_key(|kind| (kind.name != "node", kind.name));
    types
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::defs::kind;

    #[test]
    fn ours_name_attributes_that_exist() {
        for one in stanza::read(OURS).unwrap() {
            let kind = kind(&one.kind).unwrap();
            for (attr, _) in &one.attrs {
                assert!(kind.has_attr(attr), "{}: {attr}", one.name);
            }
        }
    }
}
