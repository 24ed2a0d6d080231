//! Reader for tar archives: POSIX ustar with PAX records (POSIX.1-2001 pax, "ustar Interchange Format") and
//! the long names of GNU tar. Sparse files are not known.

use std::io::{self, Read};

use super::tree::{DIRECTORY, FILE, LINK, Meta, Target};
use super::{invalid, skip};

const BLOCK_BYTES: usize = 512;
/// Largest extension block (names, PAX records), in bytes.
const EXTENSION_BYTES_MAX: u64 = 1024 * 1024;

/// What extension blocks say about the next entry.
#[derive(Debug, Default)]
struct Extension {
    path: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u32>,
    gid: Option<u32>,
    mtime: Option<i64>,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Unpacks an archive up to its end mark or the end of the stream.
pub(super) fn unpack(source: &mut dyn Read, tree: &mut dyn Target) -> io::Result<()> {
    let mut extension = Extension::default();
    loop {
        let mut block = [0; BLOCK_BYTES];
        source.read_exact(&mut block)?;
        if block.iter().all(|byte| *byte == 0) {
            // Drain the rest, so that the sender does not see a broken stream.
            return io::copy(source, &mut io::sink()).map(drop);
        }
        let header = Header::parse(&block)?;
        match header.kind {
            b'x' => extension.records(&extension_bytes(source, header.size)?)?,
            b'g' => drop(extension_bytes(source, header.size)?),
            b'L' => extension.path = Some(text(&extension_bytes(source, header.size)?).to_vec()),
            b'K' => extension.target = Some(text(&extension_bytes(source, header.size)?).to_vec()),
            _ => entry(source, tree, header, std::mem::take(&mut extension))?,
        }
    }
}

fn entry(
    source: &mut dyn Read,
    tree: &mut dyn Target,
    header: Header,
    extension: Extension,
) -> io::Result<()> {
    let size = extension.size.unwrap_or(header.size);
    let target = extension.target.unwrap_or(header.target);
    let kind = match header.kind {
        b'0' | 0 | b'7' | b'1' => FILE,
        b'2' => LINK,
        b'3' => 0o020_000,
        b'4' => 0o060_000,
        b'5' => DIRECTORY,
        b'6' => 0o010_000,
        other => return Err(invalid(format!("tar entry of unknown kind {other}"))),
    };
    let meta = Meta {
        path: extension.path.unwrap_or(header.path),
        mode: kind | (header.mode & 0o7777),
        uid: extension.uid.unwrap_or(header.uid),
        gid: extension.gid.unwrap_or(header.gid),
        mtime: extension.mtime.unwrap_or(header.mtime),
        device: header.device,
        xattrs: extension.xattrs,
    };
    match header.kind {
        b'1' => tree.hard_link(&meta, &target),
        _ if kind == FILE => {
            tree.file(&meta, source, size)?;
            skip(source, padding(size))
        }
        _ => tree.add(meta, &target),
    }
}

struct Header {
    path: Vec<u8>,
    mode: u32,
    uid: u32,
    gid: u32,
    size: u64,
    mtime: i64,
    kind: u8,
    target: Vec<u8>,
    device: (u32, u32),
}

impl Header {
    fn parse(block: &[u8; BLOCK_BYTES]) -> io::Result<Self> {
        let field = |from: usize, size: usize| block.get(from..from + size).unwrap_or_default();
        if number(field(148, 8))? != checksum(block) {
            return Err(invalid("a tar header is damaged"));
        }
        let small = |from, size| u32::try_from(number(field(from, size))?).map_err(|_| invalid("tar number"));
        let name = text(field(0, 100));
        // GNU tar keeps other things where POSIX keeps the first part of a long path.
        let prefix = if field(257, 6) == b"ustar\0" { text(field(345, 155)) } else { b"" };
        let path = if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() };
        Ok(Self {
            path,
            mode: small(100, 8)?,
            uid: small(108, 8)?,
            gid: small(116, 8)?,
            size: number(field(124, 12))?,
            mtime: i64::try_from(number(field(136, 12))?).unwrap_or(0),
            kind: block.get(156).copied().unwrap_or(0),
            target: text(field(157, 100)).to_vec(),
            device: (small(329, 8)?, small(337, 8)?),
        })
    }
}

/// Sum of all bytes, those of the sum itself taken as blanks.
fn checksum(block: &[u8; BLOCK_BYTES]) -> u64 {
    let value = |(at, byte): (usize, &u8)| if (148..156).contains(&at) { 32 } else { u64::from(*byte) };
    block.iter().enumerate().map(value).sum()
}

/// Octal digits, or GNU's binary form with the top bit set.
fn number(field: &[u8]) -> io::Result<u64> {
    if field.first().is_some_and(|byte| byte & 0x80 != 0) {
        let low = field.get(field.len().saturating_sub(8)..).unwrap_or_default();
        return Ok(low.iter().fold(0, |sum: u64, byte| sum << 8 | u64::from(*byte)));
    }
    let digits = std::str::from_utf8(field).map_err(|_| invalid("a tar number is damaged"))?;
    match digits.trim_matches(['\0', ' ']) {
        "" => Ok(0),
        digits => u64::from_str_radix(digits, 8).map_err(|_| invalid("a tar number is damaged")),
    }
}

fn text(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

fn padding(size: u64) -> u64 {
    size.next_multiple_of(BLOCK_BYTES as u64) - size
}

fn extension_bytes(source: &mut dyn Read, size: u64) -> io::Result<Vec<u8>> {
    if size > EXTENSION_BYTES_MAX {
        return Err(invalid("a tar extension is too big"));
    }
    let mut bytes = Vec::new();
    source.take(size).read_to_end(&mut bytes)?;
    skip(source, padding(size))?;
    Ok(bytes)
}

impl Extension {
    /// `<length> <key>=<value>\n`, where the length counts the whole record.
    fn records(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let broken = || invalid("a PAX record is damaged");
            let blank = bytes.iter().position(|byte| *byte == b' ').ok_or_else(broken)?;
            let digits = std::str::from_utf8(bytes.get(..blank).unwrap_or_default()).map_err(|_| broken())?;
            let length: usize = digits.parse().map_err(|_| broken())?;
            let record = bytes.get(blank + 1..length.saturating_sub(1)).ok_or_else(broken)?;
            let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(broken)?;
            let (key, value) = record.split_at(equals);
            self.record(key, value.get(1..).unwrap_or_default());
            bytes = bytes.get(length..).ok_or_else(broken)?;
        }
        Ok(())
    }

    fn record(&mut self, key: &[u8], value: &[u8]) {
        let digits = || std::str::from_utf8(value).ok().and_then(|text| text.split('.').next());
        match key {
            b"path" => self.path = Some(value.to_vec()),
            b"linkpath" => self.target = Some(value.to_vec()),
            b"size" => self.size = digits().and_then(|text| text.parse().ok()),
            b"uid" => self.uid = digits().and_then(|text| text.parse().ok()),
            b"gid" => self.gid = digits().and_then(|text| text.parse().ok()),
            b"mtime" => self.mtime = digits().and_then(|text| text.parse().ok()),
            _ => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    self.xattrs.push((name.to_vec(), value.to_vec()));
                }
            }
        }
    }
}
