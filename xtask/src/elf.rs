//! Is an executable static? Reads program headers and the dynamic section of a 64-bit little-endian ELF file.
//!
//! A static position-independent executable has a dynamic section for its own relocations; it is static as
//! long as that names no library (`DT_NEEDED`) and no interpreter is asked for (`PT_INTERP`).

use anyhow::{Context, Result, ensure};

const MAGIC: &[u8] = b"\x7fELF\x02\x01";
const PT_DYNAMIC: u64 = 2;
const PT_INTERP: u64 = 3;
const DT_NULL: u64 = 0;
const DT_NEEDED: u64 = 1;
const DYNAMIC_ENTRY_BYTES: usize = 16;

/// What an executable needs at run time.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Needs {
    /// It names a dynamic loader.
    pub interpreter: bool,
    /// Number of shared libraries it names.
    pub libraries: usize,
}

/// Reads the needs of an executable.
pub(crate) fn needs(file: &[u8]) -> Result<Needs> {
    ensure!(file.starts_with(MAGIC), "not a 64-bit little-endian ELF file");
    let (table, size, count) = (number(file, 0x20, 8)?, number(file, 0x36, 2)?, number(file, 0x38, 2)?);
    let mut needs = Needs { interpreter: false, libraries: 0 };
    for index in 0..count {
        let header = position(table + index * size)?;
        match number(file, header, 4)? {
            PT_INTERP => needs.interpreter = true,
            PT_DYNAMIC => needs.libraries += libraries(file, header)?,
            _ => {}
        }
    }
    Ok(needs)
}

fn libraries(file: &[u8], header: usize) -> Result<usize> {
    let start = position(number(file, header + 8, 8)?)?;
    let bytes = position(number(file, header + 32, 8)?)?;
    let mut count = 0;
    for entry in (start..start + bytes).step_by(DYNAMIC_ENTRY_BYTES) {
        match number(file, entry, 8)? {
            DT_NULL => break,
            DT_NEEDED => count += 1,
            _ => {}
        }
    }
    Ok(count)
}

fn number(file: &[u8], at: usize, bytes: usize) -> Result<u64> {
    let field = file.get(at..at + bytes).context("the ELF file is cut short")?;
    Ok(field.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)))
}

fn position(value: u64) -> Result<usize> {
    let value = usize::try_from(value).context("an offset beyond memory")?;
    ensure!(value < isize::MAX as usize / 2, "an offset beyond any file");
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_test_is_static_and_the_shell_is_not() {
        let this = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert_eq!(needs(&this).unwrap(), Needs { interpreter: false, libraries: 0 });
        let shell = needs(&std::fs::read("/bin/sh").unwrap()).unwrap();
        assert!(shell.interpreter && shell.libraries > 0, "{shell:?}");
    }

    #[test]
    fn a_cut_file_is_an_error() {
        let this = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        for length in [0, 4, 0x30, 0x48] {
            assert!(needs(&this[..length]).is_err(), "{length}");
        }
    }
}
