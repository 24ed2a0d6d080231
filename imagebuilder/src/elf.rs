//! Reads little-endian ELF files of 64 bits: the kinds of segments, and a section by its name.
//!
//! All offsets come from the file and may be anything; data outside of the file counts as missing.

/// Kind of the segment that names a program interpreter.
pub(crate) const PT_INTERP: usize = 3;

const MAGIC: &[u8] = b"\x7fELF\x02\x01";

/// The bytes of an ELF file.
#[derive(Clone, Copy)]
pub(crate) struct Elf<'a>(&'a [u8]);

impl<'a> Elf<'a> {
    /// Nothing if it is another kind of file.
    pub(crate) fn read(bytes: &'a [u8]) -> Option<Self> {
        bytes.starts_with(MAGIC).then_some(Self(bytes))
    }

    /// The kinds of all segments (`p_type`).
    pub(crate) fn segments(self) -> Option<Vec<usize>> {
        let (table, size, count) = (self.number(32, 8)?, self.number(54, 2)?, self.number(56, 2)?);
        (0..count).map(|index| self.number(table.checked_add(index.checked_mul(size)?)?, 4)).collect()
    }

    /// The content of the first section of that name.
    pub(crate) fn section(self, name: &str) -> Option<&'a [u8]> {
        let (table, size, count) = (self.number(40, 8)?, self.number(58, 2)?, self.number(60, 2)?);
        let header = |index: usize| table.checked_add(index.checked_mul(size)?);
        let names = self.number(header(self.number(62, 2)?)?.checked_add(24)?, 8)?;
        for index in 0..count {
            let at = header(index)?;
            let name_at = names.checked_add(self.number(at, 4)?)?;
            let rest = self.0.get(name_at..)?.strip_prefix(name.as_bytes());
            if rest.is_some_and(|rest| rest.starts_with(&[0])) {
                let (from, bytes) =
                    (self.number(at.checked_add(24)?, 8)?, self.number(at.checked_add(32)?, 8)?);
                return self.0.get(from..from.checked_add(bytes)?);
            }
        }
        None
    }

    fn number(self, at: usize, bytes: usize) -> Option<usize> {
        let bytes = self.0.get(at..at.checked_add(bytes)?)?;
        bytes
            .iter()
            .rev()
            .try_fold(0_usize, |sum, byte| sum.checked_mul(256)?.checked_add(usize::from(*byte)))
    }
}
