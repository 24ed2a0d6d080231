//! File handles on the wire: what they hold and why a client cannot make one.
//!
//! A handle is at most 64 bytes (RFC 1813 §2.3.3):
//!
//! ```text
//!  0  version (1)          4..12  export id            20..24  region id (0: the export's own tree)
//!  1  kind                12..20  SipHash-2-4 MAC      24..    object bytes
//!  2  kernel handle type
//!  3  length of the object bytes
//! ```
//!
//! The MAC covers everything else and is keyed with 16 bytes kept in the data directory, so handles stay
//! valid over restarts and upgrades and a client cannot invent one for an inode outside its export.
//! Object bytes are what the kernel gave for the file ([`Kind::Kernel`], inode and generation: a removed
//! file is stale, never another file) or a chain of name hashes ([`Kind::Path`]) on file systems without
//! kernel handles.

use std::hash::Hasher;

use siphasher::sip::SipHasher24;

use crate::types::ExportId;

/// Most bytes of an NFSv3 file handle.
pub const HANDLE_BYTES_MAX: usize = 64;
/// Bytes before the object bytes.
const HEADER_BYTES: usize = 24;
/// Most bytes that name the object itself.
pub const OBJECT_BYTES_MAX: usize = HANDLE_BYTES_MAX - HEADER_BYTES;
const VERSION: u8 = 1;

/// The key that authenticates handles: 16 bytes, secret, one per data directory.
#[derive(Clone)]
pub struct HandleKey([u8; 16]);

impl HandleKey {
    /// Takes 16 random bytes as key.
    pub fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    fn mac(&self, handle: &[u8]) -> u64 {
        let mut hasher = SipHasher24::new_with_key(&self.0);
        hasher.write(handle.get(..12).unwrap_or_default());
        hasher.write(handle.get(20..).unwrap_or_default());
        hasher.finish()
    }

    /// Keyed hash of arbitrary bytes, for name hashes that clients cannot steer.
    pub(crate) fn hash(&self, bytes: &[u8]) -> u64 {
        let mut hasher = SipHasher24::new_with_key(&self.0);
        hasher.write(b"name");
        hasher.write(bytes);
        hasher.finish()
    }
}

impl std::fmt::Debug for HandleKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HandleKey(..)")
    }
}

/// How the object bytes name the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `name_to_handle_at` of the kernel; the handle type is kept with it.
    Kernel(u8),
    /// Hashes of the names from the region's root to the object.
    Path,
    /// A directory or file that exists in an overlay only, by the hash of its path.
    Synthetic,
}

/// A file handle as it travels.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileHandle {
    bytes: [u8; HANDLE_BYTES_MAX],
    len: u8,
}

impl FileHandle {
    /// Builds and seals a handle. `None` if `object` is longer than [`OBJECT_BYTES_MAX`].
    pub fn seal(key: &HandleKey, export: ExportId, region: u32, kind: Kind, object: &[u8]) -> Option<Self> {
        let mut bytes = [0u8; HANDLE_BYTES_MAX];
        let object_len = u8::try_from(object.len()).ok()?;
        let (kind_byte, type_byte) = match kind {
            Kind::Kernel(handle_type) => (0, handle_type),
            Kind::Path => (1, 0),
            Kind::Synthetic => (2, 0),
        };
        let len = HEADER_BYTES + object.len();
        bytes.get_mut(..4)?.copy_from_slice(&[VERSION, kind_byte, type_byte, object_len]);
        bytes.get_mut(4..12)?.copy_from_slice(&export.0.to_be_bytes());
        bytes.get_mut(20..24)?.copy_from_slice(&region.to_be_bytes());
        bytes.get_mut(HEADER_BYTES..len)?.copy_from_slice(object);
        let mac = key.mac(bytes.get(..len)?);
        bytes.get_mut(12..20)?.copy_from_slice(&mac.to_be_bytes());
        Some(Self { bytes, len: u8::try_from(len).ok()? })
    }

    /// Takes bytes from the wire; they are unproven until [`FileHandle::open`] has checked the MAC.
    pub fn from_wire(wire: &[u8]) -> Option<Self> {
        let mut bytes = [0u8; HANDLE_BYTES_MAX];
        bytes.get_mut(..wire.len())?.copy_from_slice(wire);
        Some(Self { bytes, len: u8::try_from(wire.len()).ok()? })
    }

    /// The bytes as they travel.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// Checks version, length and MAC, and takes the handle apart. `None`: not one of ours.
    pub fn open(&self, key: &HandleKey) -> Option<Opened<'_>> {
        let bytes = self.as_bytes();
        let (head, object) = bytes.split_first_chunk::<HEADER_BYTES>()?;
        let [version, kind, handle_type, object_len, e @ .., r0, r1, r2, r3] = *head;
        let (export, mac) = e.split_first_chunk::<8>()?;
        if version != VERSION
            || usize::from(object_len) != object.len()
            || key.mac(bytes).to_be_bytes() != *mac
        {
            return None;
        }
        let kind = match kind {
            0 => Kind::Kernel(handle_type),
            1 => Kind::Path,
            2 => Kind::Synthetic,
            _ => return None,
        };
        let export = ExportId(u64::from_be_bytes(*export));
        Some(Opened { export, region: u32::from_be_bytes([r0, r1, r2, r3]), kind, object })
    }
}

impl std::fmt::Debug for FileHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.as_bytes().iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

/// The parts of a proven handle.
#[derive(Debug, PartialEq, Eq)]
pub struct Opened<'a> {
    /// The export it belongs to.
    pub export: ExportId,
    /// The region of the export (0: its own tree, others: overlay substitutes).
    pub region: u32,
    /// How `object` names the object.
    pub kind: Kind,
    /// The object's name within the region.
    pub object: &'a [u8],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_bit_anywhere_is_refused() {
        let key = HandleKey::new([7; 16]);
        let fh = FileHandle::seal(&key, ExportId(42), 3, Kind::Kernel(1), &[1, 2, 3, 4, 5, 6, 7, 8]).unwrap();
        let opened = fh.open(&key).unwrap();
        assert_eq!((opened.export, opened.region, opened.kind), (ExportId(42), 3, Kind::Kernel(1)));
        assert_eq!(opened.object, [1, 2, 3, 4, 5, 6, 7, 8]);
        for bit in 0..fh.as_bytes().len() * 8 {
            let mut bytes = fh.as_bytes().to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(FileHandle::from_wire(&bytes).unwrap().open(&key), None, "bit {bit}");
        }
        for len in 0..fh.as_bytes().len() {
            assert_eq!(FileHandle::from_wire(&fh.as_bytes()[..len]).unwrap().open(&key), None);
        }
        assert_eq!(fh.open(&HandleKey::new([8; 16])), None);
        assert!(FileHandle::from_wire(&[0; 65]).is_none());
        assert!(FileHandle::seal(&key, ExportId(1), 0, Kind::Path, &[0; 41]).is_none());
    }
}
