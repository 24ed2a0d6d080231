//! What `liteimg` had to make because it was listed and missing, so that it can be taken back.
//!
//! Noted in [`MADE_FILE`] before it is made: places in the image, one a line, and the directories above that
//! were missing too. When a place is not listed any more, its files and directories are removed if they are
//! still empty.

use super::disk::Disk;
use super::{Item, LiteimgError, MADE_FILE};
use std::collections::BTreeSet;

fn read(disk: &Disk) -> Result<BTreeSet<String>, LiteimgError> {
    Ok(disk.read_text(MADE_FILE)?.unwrap_or_default().lines().map(str::to_owned).collect())
}

fn write(disk: &mut Disk, made: &BTreeSet<String>) -> Result<(), LiteimgError> {
    match made.is_empty() {
        true => disk.remove(MADE_FILE),
        false => {
            disk.write_text(MADE_FILE, &made.iter().map(|place| format!("{place}\n")).collect::<String>())
        }
    }
}

/// Notes that `item` is about to be made, with the directories above it that the image has not.
pub(super) fn note(disk: &mut Disk, item: &Item) -> Result<(), LiteimgError> {
    let mut made = read(disk)?;
    let place = item.place();
    made.extend(above(place).filter(|dir| !disk.exists(dir)).map(str::to_owned));
    made.insert(place.to_owned());
    write(disk, &made)
}

/// Removes what was made and is neither listed any more, nor on the way to what is, nor in use.
pub(super) fn take_back(disk: &mut Disk, wanted: &[Item]) -> Result<(), LiteimgError> {
    let mut made = read(disk)?;
    let needed = |place: &str| {
        wanted.iter().any(|item| item.place() == place || above(item.place()).any(|dir| dir == place))
    };
    let unwanted: Vec<String> = made.iter().rev().filter(|place| !needed(place)).cloned().collect();
    for place in unwanted {
        let behind_link = above(&place).any(|dir| disk.is_symlink(dir));
        if !behind_link && disk.is_empty(&place) {
            disk.remove(&place)?;
        }
        made.remove(&place);
    }
    write(disk, &made)
}

/// The directories above a place, from the top.
fn above(place: &str) -> impl Iterator<Item = &str> {
    place.match_indices('/').filter_map(|(at, _)| place.get(..at))
}
