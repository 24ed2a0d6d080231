//! Directory entries: short names, and the long names that they abbreviate.
//!
//! A name that is not plain upper-case 8.3 gets long-name entries (UTF-16, 13 units each, last part first)
//! and a short name of the form `NAME~1.EXT`, or, for the hundredth clash, with its number in place of the
//! name.

use std::collections::{BTreeMap, BTreeSet};

/// Most UTF-16 units of a name.
const NAME_UNITS_MAX: usize = 255;
/// UTF-16 units in one long-name entry.
const UNITS_PER_ENTRY: usize = 13;
/// The one date all entries carry: 2020-01-01 (years since 1980, month, day).
const DATE: u16 = (40 << 9) | (1 << 5) | 1;

/// Why FAT cannot hold a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// One of `"*/:<>?\|` or a control character.
    #[error("the name has a character that FAT does not know")]
    Character,
    /// More than 255 units, or none.
    #[error("the name is empty or too long")]
    Length,
    /// The same name but for case.
    #[error("another name differs from it only in upper and lower case")]
    Case,
}

/// A name as FAT writes it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Name {
    short: [u8; 11],
    /// Units of the long name; none if the short one says it all.
    long: Vec<u16>,
}

/// What a directory holds.
pub(super) struct Entry<'a> {
    /// The name.
    pub name: &'a str,
    /// The first cluster; 0 for an empty file.
    pub first: u64,
    /// Bytes of a file; none for a directory.
    pub size: Option<u64>,
}

impl Name {
    /// How many entries of 32 bytes it takes.
    pub(super) fn entries(&self) -> usize {
        self.long.len().div_ceil(UNITS_PER_ENTRY) + 1
    }

    fn checksum(&self) -> u8 {
        self.short.iter().fold(0_u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte))
    }
}

/// FAT's form of every name in one directory.
///
/// # Errors
/// The name and the reason.
pub(super) fn entries_of<'a>(
    names: impl Iterator<Item = &'a String>,
) -> Result<BTreeMap<String, Name>, (String, NameError)> {
    let mut taken = BTreeSet::new();
    let mut seen = BTreeSet::new();
    let mut all = BTreeMap::new();
    for name in names {
        check(name).map_err(|reason| (name.clone(), reason))?;
        if !seen.insert(name.to_uppercase()) {
            // A path that is a file and a directory is told apart by the caller.
            if all.contains_key(name) {
                continue;
            }
            return Err((name.clone(), NameError::Case));
        }
        let (short, exact) = short_name(name, &taken);
        taken.insert(short);
        let long = if exact { Vec::new() } else { name.encode_utf16().collect() };
        all.insert(name.clone(), Name { short, long });
    }
    Ok(all)
}

fn check(name: &str) -> Result<(), NameError> {
    if name.is_empty() || name.encode_utf16().count() > NAME_UNITS_MAX || matches!(name, "." | "..") {
        return Err(NameError::Length);
    }
    if name.chars().any(|c| c < ' ' || "\"*/:<>?\\|\u{7f}".contains(c)) || name.ends_with([' ', '.']) {
        return Err(NameError::Character);
    }
    Ok(())
}

/// A short name that is not `taken`, and whether it is the very name.
fn short_name(name: &str, taken: &BTreeSet<[u8; 11]>) -> ([u8; 11], bool) {
    let (stem, extension) = name.rsplit_once('.').unwrap_or((name, ""));
    let plain = |text: &str| {
        text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b"_-~".contains(&b))
    };
    let short = pack(stem.as_bytes(), extension.as_bytes());
    let exact = plain(stem) && plain(extension) && (1..=8).contains(&stem.len()) && extension.len() <= 3;
    if exact && name.contains('.') != extension.is_empty() && !taken.contains(&short) {
        return (short, true);
    }
    let clean = |text: &str| -> Vec<u8> {
        text.bytes().filter(u8::is_ascii_alphanumeric).map(|b| b.to_ascii_uppercase()).collect()
    };
    let (stem, extension) = (clean(stem), clean(extension));
    for number in 1_u32.. {
        let tail = format!("~{number}");
        let room = 8_usize.saturating_sub(tail.len());
        let mut head: Vec<u8> = stem.iter().copied().take(room).collect();
        head.extend_from_slice(tail.as_bytes());
        let short = pack(&head, &extension);
        if !taken.contains(&short) {
            return (short, false);
        }
    }
    (short, false)
}

fn pack(stem: &[u8], extension: &[u8]) -> [u8; 11] {
    let mut short = [b' '; 11];
    let (left, right) = short.split_at_mut(8);
    for (to, from) in left.iter_mut().zip(stem).chain(right.iter_mut().zip(extension)) {
        *to = *from;
    }
    short
}

/// The bytes of a directory; `own` is its cluster and its parent's, none for the root.
pub(super) fn directory_bytes(
    entries: &[Entry<'_>],
    names: &BTreeMap<String, Name>,
    own: Option<(u64, u64)>,
) -> Vec<u8> {
    let mut out = Vec::new();
    if let Some((own, parent)) = own {
        put_entry(&mut out, &pack(b".", b""), own, None);
        put_entry(&mut out, &pack(b"..", b""), parent, None);
    }
    for entry in entries {
        let Some(name) = names.get(entry.name) else { continue };
        put_long(&mut out, name);
        put_entry(&mut out, &name.short, entry.first, entry.size);
    }
    out
}

/// The entry that names the volume.
pub(super) fn label_entry(label: &[u8; 11]) -> Vec<u8> {
    let mut out = Vec::new();
    put_entry(&mut out, label, 0, Some(0));
    if let Some(attributes) = out.get_mut(11) {
        *attributes = 0x08;
    }
    out
}

fn put_long(out: &mut Vec<u8>, name: &Name) {
    let parts: Vec<&[u16]> = name.long.chunks(UNITS_PER_ENTRY).collect();
    for (number, part) in (1_u8..).zip(&parts).collect::<Vec<_>>().into_iter().rev() {
        // A short last part ends with one zero unit, then ones.
        let mut units = [0xffff_u16; UNITS_PER_ENTRY];
        for (to, from) in units.iter_mut().zip(part.iter().copied().chain([0])) {
            *to = from;
        }
        let last = usize::from(number) == parts.len();
        let units: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
        let (first, rest) = units.split_at(10);
        let (second, third) = rest.split_at(12);
        out.push(if last { number | 0x40 } else { number });
        out.extend_from_slice(first);
        out.extend_from_slice(&[0x0f, 0, name.checksum()]);
        out.extend_from_slice(second);
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(third);
    }
}

fn put_entry(out: &mut Vec<u8>, short: &[u8; 11], first: u64, size: Option<u64>) {
    out.extend_from_slice(short);
    out.push(if size.is_some() { 0x20 } else { 0x10 });
    out.extend_from_slice(&[0, 0, 0, 0]); // case, creation time
    out.extend_from_slice(&DATE.to_le_bytes()); // created
    out.extend_from_slice(&DATE.to_le_bytes()); // read
    out.extend_from_slice(&[0, 0, 0, 0]); // high half of the cluster, time of the change
    out.extend_from_slice(&DATE.to_le_bytes()); // changed
    out.extend_from_slice(&u16::try_from(first).unwrap_or(0).to_le_bytes());
    out.extend_from_slice(&u32::try_from(size.unwrap_or(0)).unwrap_or(u32::MAX).to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names() {
        let names: Vec<String> =
            ["BOOTX64.EFI", "grubx64.efi", "long name.config", "long names.config", "EFI", ".x"]
                .map(str::to_owned)
                .to_vec();
        let all = entries_of(names.iter()).unwrap();
        let short = |name: &str| String::from_utf8_lossy(&all[name].short).into_owned();
        assert_eq!(short("BOOTX64.EFI"), "BOOTX64 EFI");
        assert_eq!(all["BOOTX64.EFI"].entries(), 1);
        assert_eq!(short("grubx64.efi"), "GRUBX6~1EFI");
        assert_eq!(all["grubx64.efi"].entries(), 2);
        assert_eq!(short("long name.config"), "LONGNA~1CON");
        assert_eq!(short("long names.config"), "LONGNA~2CON");
        assert_eq!(short("EFI"), "EFI        ");
        assert_eq!(short(".x"), "~1      X  ");
    }
}
