//! Names that a change brings in: of images, of nodes, and of groups in `nodelist.groups`, `nodegroup` and
//! the node tables.
//!
//! A name becomes part of noderanges, files and command lines. One that means something else there could not
//! be removed by the commands that made it. Names that are there already may stay and be worked on.

use super::changed;
use crate::edit::EditError;
use crate::effect::Effect;
use crate::names::{ImageName, NAME_BYTES_MAX, NameError, NodeName};
use crate::noderange::{Noderange, NoderangeError};
use crate::schema::Col;
use crate::snapshot::{KNOWN, Snapshot};
use std::collections::HashSet;
use std::error::Error;
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
            name.parse::<ImageName>().map_err(|error| refused(*col, name, &error))?;
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
            problem.map_err(|reason| refused(col, name, &reason))?;
        }
        if effect.table == KNOWN.nodelist && changed(effect, KNOWN.groups) {
            let groups = after.get(KNOWN.groups).map(|text| text.split(',')).into_iter().flatten();
            for name in groups.map(str::trim).filter(|name| !name.is_empty()) {
                if listed.insert(name) {
                    new_group(base, next, name).map_err(|reason| refused(KNOWN.groups, name, &reason))?;
                }
            }
        }
    }
    Ok(())
}

fn refused(col: Col, name: &str, reason: &dyn Error) -> EditError {
    EditError::BadValue { col, value: name.to_owned(), reason: reason.to_string().into() }
}

/// Why a name cannot be that of a new node or group.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NewNameError {
    /// No node can have it.
    #[error(transparent)]
    Node(#[from] NameError),
    /// It belongs to a group.
    #[error("it is a group, and a node of that name would hide its members from every command")]
    IsGroup,
    /// It belongs to a node.
    #[error("it is a node, which every command would take instead of the group")]
    IsNode,
    /// It has a sign of noderanges, shells or boot loaders.
    #[error("the name of a group or node has no {0:?}, only letters, digits, '-', '_', '.' and ':'")]
    Sign(char),
    /// It begins as an option does, or is a directory.
    #[error("the name of a group or node begins with a letter or digit")]
    Beginning,
    /// Too many bytes.
    #[error("a name may have {NAME_BYTES_MAX} bytes at most")]
    TooLong,
    /// It is a noderange of more nodes than a request may have.
    #[error("it reads as a range of nodes")]
    HugeRange,
    /// It is a noderange of so many nodes.
    #[error("it reads as a range of {0} nodes")]
    Range(usize),
}

fn new_node(base: &Snapshot, name: &str) -> Result<(), NewNameError> {
    if base.has_node(name) {
        return Ok(());
    }
    name.parse::<NodeName>()?;
    if base.is_group(name) {
        return Err(NewNameError::IsGroup);
    }
    Ok(())
}

fn new_group(base: &Snapshot, next: &Snapshot, name: &str) -> Result<(), NewNameError> {
    if base.is_group(name) {
        return Ok(());
    }
    if next.has_node(name) {
        return Err(NewNameError::IsNode);
    }
    check_group_name(base, name)
}

/// The rules for the name of a new group (or of a row that is a node's or a group's).
///
/// # Errors
/// Why commands and scripts could not name it: it is not of the characters that a node's name may have, or
/// reads as a range.
pub fn check_group_name(base: &Snapshot, name: &str) -> Result<(), NewNameError> {
    match name.parse::<NodeName>() {
        Ok(_) => {}
        Err(NameError::Character { found, .. }) => return Err(NewNameError::Sign(found)),
        Err(NameError::TooLong { .. }) => return Err(NewNameError::TooLong),
        Err(_) => return Err(NewNameError::Beginning),
    }
    if !name.contains(['-', ':']) {
        return Ok(());
    }
    match Noderange::new(name).unverified().with_excluded().expand(base) {
        Err(NoderangeError::TooMuch(_)) => Err(NewNameError::HugeRange),
        Ok(found) if found.nodes.len() > 1 && !base.is_group(name) => {
            Err(NewNameError::Range(found.nodes.len()))
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
            ["compute", "rack-2", "rack01-a", "site.example", "fe80::1", "__mgmtnode", "all", "10", "a_b"]
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
            "a b",
            "größe",
            "x=y",
            "",
        ] {
            assert!(check_group_name(&base, bad).is_err(), "{bad}");
        }
        assert!(check_group_name(&base, &"x".repeat(NAME_BYTES_MAX + 1)).is_err());
    }
}
