//! Names that a change brings in: of images, of nodes, and of groups in `nodelist.groups`, `nodegroup` and
//! the node tables.
//!
//! A name becomes part of noderanges, files and command lines. One that means something else there could not
//! be removed by the commands that made it. Names that are there already may stay and be worked on.

use super::changed;
use crate::edit::EditError;
use crate::effect::Effect;
use crate::names::{ImageName, NAME_BYTES_MAX, NodeName};
use crate::noderange::{Noderange, NoderangeError};
use crate::schema::Col;
use crate::snapshot::{KNOWN, Snapshot};
use std::collections::HashSet;
use std::sync::LazyLock;

static GROUP_NAME: LazyLock<Col> = LazyLock::new(|| Col::known("nodegroup.groupname"));

/// Where an image gets its name, which becomes part of paths and boot scripts.
static IMAGE_NAMES: LazyLock<[Col; 4]> = LazyLock::new(|| {
    ["osimage.imagename", "linuximage.imagename", "winimage.imagename", "nimimage.imagename"].map(Col::known)
});

/// Refuses a change that brings in a name no command could name, or a node with a group's name and the
/// reverse.
pub(super) fn check(base: &Snapshot, next: &Snapshot, effects: &[Effect]) -> Result<(), EditError> {
    let (mut checked, mut listed) = (HashSet::new(), HashSet::new());
    for effect in effects {
        let Some(after) = &effect.after else { continue };
        if let Some(col) = IMAGE_NAMES.iter().find(|col| col.table == effect.table && changed(effect, **col))
            && let Some(name) = after.get(*col)
        {
            name.parse::<ImageName>().map_err(|error| refused(*col, name, error.to_string()))?;
        }
        let is_group = effect.table == GROUP_NAME.table;
        let key = if is_group { Some(*GROUP_NAME) } else { effect.table.info().node_col() };
        if let Some(col) = key.filter(|col| changed(effect, *col))
            && let Some(name) = after.get(col)
        {
            let problem = match () {
                () if effect.table == KNOWN.nodelist => new_node(base, name),
                () if is_group => new_group(base, next, name),
                () if next.has_node(name) || base.is_group(name) || !checked.insert(name) => Ok(()),
                () => check_group_name(base, name),
            };
            problem.map_err(|reason| refused(col, name, reason))?;
        }
        if effect.table == KNOWN.nodelist && changed(effect, KNOWN.groups) {
            let groups = after.get(KNOWN.groups).map(|text| text.split(',')).into_iter().flatten();
            for name in groups.map(str::trim).filter(|name| !name.is_empty()) {
                if listed.insert(name) {
                    new_group(base, next, name).map_err(|reason| refused(KNOWN.groups, name, reason))?;
                }
            }
        }
    }
    Ok(())
}

fn refused(col: Col, name: &str, reason: String) -> EditError {
    EditError::BadValue { col, value: name.to_owned(), reason: reason.into() }
}

fn new_node(base: &Snapshot, name: &str) -> Result<(), String> {
    if base.has_node(name) {
        return Ok(());
    }
    name.parse::<NodeName>().map_err(|error| error.to_string())?;
    if base.is_group(name) {
        return Err("it is a group, and a node of that name would hide its members from every command".into());
    }
    Ok(())
}

fn new_group(base: &Snapshot, next: &Snapshot, name: &str) -> Result<(), String> {
    if base.is_group(name) {
        return Ok(());
    }
    if next.has_node(name) {
        return Err("it is a node, which every command would take instead of the group".into());
    }
    check_group_name(base, name)
}

/// The rules for the name of a new group (or of a row that is a node's or a group's).
///
/// # Errors
/// Why commands and scripts could not name it: it is too long, begins with `-`, has a character that
/// noderanges, shells or boot loaders use, or reads as a range.
pub fn check_group_name(base: &Snapshot, name: &str) -> Result<(), String> {
    // Signs of noderanges, shells and boot loaders.
    let odd = |c: char| c.is_control() || "/@()^,'\"`$;&|<>{}*?!#%\\".contains(c);
    if let Some(found) = name.chars().find(|c| odd(*c)) {
        return Err(format!("the name of a group or node has no {found:?}"));
    }
    if name.starts_with('-') || matches!(name, "." | "..") {
        return Err("the name of a group or node begins with a letter or digit".into());
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(format!("a name may have {NAME_BYTES_MAX} bytes at most"));
    }
    // A criterion would look at every node, and is not a range.
    if !name.contains(['-', ':', '[', '+']) || name.contains(['=', '~']) {
        return Ok(());
    }
    match Noderange::new(name).unverified().with_excluded().expand(base) {
        Err(NoderangeError::TooMuch(_)) => Err("it reads as a range of nodes".into()),
        Ok(found) if found.nodes.len() > 1 && !base.is_group(name) => {
            Err(format!("it reads as a range of {} nodes", found.nodes.len()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_groups() {
        let node = [("node", "n1"), ("groups", "all,rack-1")];
        let base = Snapshot::from_rows([("nodelist", &node[..])]);
        for good in
            ["compute", "rack-2", "rack01-a", "site.example", "fe80::1", "a b", "größe", "x=y", "all", "10"]
        {
            assert_eq!(check_group_name(&base, good), Ok(()), "{good}");
        }
        for bad in [
            "../x",
            "-n",
            ".",
            "a,b",
            "a@b",
            "(x)",
            "^f",
            "'x'",
            "a$b",
            "$(id)",
            "a;b",
            "a|b",
            "a&b",
            "`id`",
            "50%",
            "a\\b",
            "a*",
            "n1-n3",
            "n[1-3]",
            "n1+2",
            "n1-n999999999",
            "x\ny",
        ] {
            assert!(check_group_name(&base, bad).is_err(), "{bad}");
        }
        assert!(check_group_name(&base, &"x".repeat(NAME_BYTES_MAX + 1)).is_err());
    }
}
