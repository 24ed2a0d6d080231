//! Inventory of parts: reading a FRU device (IPMI 2.0, chapter 34) and its areas (IPMI FRU Information
//! Storage Definition 1.0). The multirecord and the internal use area are not read.

use super::{Command, CommandError, Transport, code};
use crate::wire::message::Code;
use crate::wire::{Malformed, Reader};

/// Largest FRU device that is read, bytes: areas begin below 2 KiB, and none is longer than that.
pub const FRU_BYTES_MAX: usize = 4_096;
/// Bytes asked for at first; fewer if the BMC cannot return so many.
const CHUNK_BYTES: u8 = 64;
const CHUNK_BYTES_MIN: u8 = 8;
/// Fields of an area beyond those that have names.
const CUSTOM_FIELDS_MAX: usize = 64;
/// "No more fields".
const END: u8 = 0xc1;

/// Get FRU Inventory Area Info.
#[derive(Clone, Copy, Debug)]
pub struct GetFruInfo(pub u8);

/// A FRU device's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FruInfo {
    /// In bytes.
    pub bytes: u16,
    /// Whether offsets and counts are in words of two bytes.
    pub words: bool,
}

impl Command for GetFruInfo {
    type Answer = FruInfo;
    const CODE: Code = code(0x0a, 0x10);

    fn data(&self) -> Vec<u8> {
        vec![self.0]
    }

    fn read(&self, data: &[u8]) -> Result<FruInfo, Malformed> {
        let mut reader = Reader::new(data);
        Ok(FruInfo { bytes: reader.u16()?, words: reader.u8()? & 1 != 0 })
    }
}

/// Read FRU Data. The answer is what was returned, which may be less.
#[derive(Clone, Copy, Debug)]
pub struct ReadFru {
    /// The device.
    pub device: u8,
    /// Where to begin.
    pub offset: u16,
    /// How much.
    pub count: u8,
}

impl Command for ReadFru {
    type Answer = Vec<u8>;
    const CODE: Code = code(0x0a, 0x11);

    fn data(&self) -> Vec<u8> {
        let [low, high] = self.offset.to_le_bytes();
        vec![self.device, low, high, self.count]
    }

    fn read(&self, data: &[u8]) -> Result<Vec<u8>, Malformed> {
        let mut reader = Reader::new(data);
        let _count = reader.u8()?;
        Ok(reader.rest().to_vec())
    }
}

/// Reads a whole FRU device, as far as areas can be, [`FRU_BYTES_MAX`] at most.
///
/// # Errors
/// The commands'.
pub async fn read_fru(bmc: &impl Transport, device: u8) -> Result<Vec<u8>, CommandError> {
    let info = bmc.run(GetFruInfo(device)).await?;
    let size = usize::from(info.bytes).min(FRU_BYTES_MAX);
    let unit = if info.words { 2 } else { 1 };
    let (mut bytes, mut chunk) = (Vec::new(), CHUNK_BYTES);
    while bytes.len() < size {
        let left = u8::try_from((size - bytes.len()).div_ceil(unit)).unwrap_or(u8::MAX);
        let offset = u16::try_from(bytes.len() / unit).unwrap_or(u16::MAX);
        match bmc.run(ReadFru { device, offset, count: chunk.min(left) }).await {
            Ok(part) if part.is_empty() => break,
            Ok(part) => bytes.extend(part),
            Err(CommandError::Completion(code)) if code.is_too_much() && chunk > CHUNK_BYTES_MIN => {
                chunk /= 2
            }
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(size);
    Ok(bytes)
}

/// A field of an area.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    /// Characters.
    Text(String),
    /// Bytes without a meaning that is known here.
    Binary(Vec<u8>),
}

/// The chassis area.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chassis {
    /// Its kind (SMBIOS, table 17).
    pub kind: u8,
    /// Part number, serial number.
    pub fields: [Option<Field>; 2],
    /// What the maker adds.
    pub custom: Vec<Field>,
}

/// The board area.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Board {
    /// When it was made, minutes since the beginning of 1996, UTC; 0 if unknown.
    pub made_minutes: u32,
    /// Manufacturer, name, serial number, part number, file id.
    pub fields: [Option<Field>; 5],
    /// What the maker adds.
    pub custom: Vec<Field>,
}

/// The product area.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Product {
    /// Manufacturer, name, part number, version, serial number, asset tag, file id.
    pub fields: [Option<Field>; 7],
    /// What the maker adds.
    pub custom: Vec<Field>,
}

/// What a FRU device says of its part. A damaged area is a separate error; the others are used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fru {
    /// The chassis area, if there is one.
    pub chassis: Option<Result<Chassis, Malformed>>,
    /// The board area, if there is one.
    pub board: Option<Result<Board, Malformed>>,
    /// The product area, if there is one.
    pub product: Option<Result<Product, Malformed>>,
}

impl Fru {
    /// Reads the areas.
    ///
    /// # Errors
    /// When the common header is missing, of another version, or its sum is wrong.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let header: [u8; 8] = Reader::new(bytes).array()?;
        if header[0] & 0x0f != 1 {
            return Err(Malformed("the FRU header is of another version"));
        }
        check_sum(&header)?;
        let [_, _, chassis, board, product, ..] = header;
        let present = |offset: u8| (offset != 0).then_some(offset);
        Ok(Self {
            chassis: present(chassis).map(|at| area(bytes, at).and_then(read_chassis)),
            board: present(board).map(|at| area(bytes, at).and_then(read_board)),
            product: present(product).map(|at| area(bytes, at).and_then(read_product)),
        })
    }
}

fn check_sum(bytes: &[u8]) -> Result<(), Malformed> {
    let sum = bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    if sum == 0 { Ok(()) } else { Err(Malformed("the sum of a FRU area is wrong")) }
}

/// An area after its version and length, without its sum.
fn area(bytes: &[u8], at: u8) -> Result<Reader<'_>, Malformed> {
    let mut reader = Reader::new(bytes);
    reader.take(usize::from(at) * 8)?;
    let [version, length] = reader.clone().array()?;
    if version & 0x0f != 1 || length == 0 {
        return Err(Malformed("a FRU area is of another version"));
    }
    let area = reader.take(usize::from(length) * 8)?;
    check_sum(area)?;
    let mut reader = Reader::new(area.split_last().map_or(&[][..], |(_, rest)| rest));
    reader.take(2)?;
    Ok(reader)
}

fn read_chassis(mut area: Reader<'_>) -> Result<Chassis, Malformed> {
    let kind = area.u8()?;
    let (fields, custom) = read_fields(&mut area, 0)?;
    Ok(Chassis { kind, fields, custom })
}

fn read_board(mut area: Reader<'_>) -> Result<Board, Malformed> {
    let language = area.u8()?;
    let made_minutes = area.u24()?;
    let (fields, custom) = read_fields(&mut area, language)?;
    Ok(Board { made_minutes, fields, custom })
}

fn read_product(mut area: Reader<'_>) -> Result<Product, Malformed> {
    let language = area.u8()?;
    let (fields, custom) = read_fields(&mut area, language)?;
    Ok(Product { fields, custom })
}

type Fields<const N: usize> = ([Option<Field>; N], Vec<Field>);

/// Reads the named fields of an area and those after them. Areas without an end mark end with their bytes.
fn read_fields<const N: usize>(area: &mut Reader<'_>, language: u8) -> Result<Fields<N>, Malformed> {
    let mut named = [const { None }; N];
    let mut custom = Vec::new();
    for index in 0..N + CUSTOM_FIELDS_MAX {
        let kind = match area.u8() {
            Ok(END) | Err(_) => break,
            Ok(kind) => kind,
        };
        let bytes = area.take(usize::from(kind & 0x3f))?;
        let field = (!bytes.is_empty()).then(|| decode(kind >> 6, bytes, language));
        match named.get_mut(index) {
            Some(slot) => *slot = field,
            None => custom.extend(field),
        }
    }
    Ok((named, custom))
}

/// Decodes a field by the two bits of its type.
fn decode(kind: u8, bytes: &[u8], language: u8) -> Field {
    let text = match kind {
        1 => bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(bcd_plus).collect(),
        2 => six_bit(bytes),
        // Languages other than English have 16-bit characters.
        3 if !matches!(language, 0 | 25) && bytes.len().is_multiple_of(2) => {
            let units: Vec<u16> =
                bytes.chunks_exact(2).filter_map(|pair| Reader::new(pair).u16().ok()).collect();
            String::from_utf16_lossy(&units)
        }
        3 => bytes.iter().map(|byte| char::from(*byte)).collect(),
        _ => return Field::Binary(bytes.to_vec()),
    };
    Field::Text(text.trim_end_matches(['\0', ' ']).to_owned())
}

pub(super) fn bcd_plus(digit: u8) -> char {
    char::from_digit(digit.into(), 10).unwrap_or(match digit {
        10 => ' ',
        11 => '-',
        _ => '.',
    })
}

/// Four characters in three bytes, low bits first.
pub(super) fn six_bit(bytes: &[u8]) -> String {
    let mut text = String::new();
    let (mut held, mut bits) = (0_u32, 0);
    for byte in bytes {
        held |= u32::from(*byte) << bits;
        bits += 8;
        while bits >= 6 {
            text.push(char::from(0x20 + (held & 0x3f).to_le_bytes()[0]));
            held >>= 6;
            bits -= 6;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Closes an area: end mark, padding, length and sum.
    fn close(mut area: Vec<u8>) -> Vec<u8> {
        area.push(END);
        area.resize((area.len() + 1).next_multiple_of(8) - 1, 0);
        area[1] = u8::try_from(area.len().div_ceil(8)).unwrap();
        area.push(area.iter().fold(0_u8, |sum, byte| sum.wrapping_sub(*byte)));
        area
    }

    fn device() -> Vec<u8> {
        let board = [&[1, 0, 25, 0x10, 0x27, 0][..], b"\xc4ACME\x83\x29\xdc\xa6\xc0\x42\x12\xb4\x02\x01\x02"]
            .concat();
        let header = [1, 0, 0, 1, 0, 0, 0, 0xfe];
        [&header[..], &close(board)].concat()
    }

    #[test]
    fn areas() {
        let fru = Fru::parse(&device()).unwrap();
        assert_eq!((fru.chassis, fru.product), (None, None));
        let board = fru.board.unwrap().unwrap();
        assert_eq!(board.made_minutes, 10_000);
        let text = |text: &str| Some(Field::Text(text.to_owned()));
        assert_eq!(
            board.fields,
            [text("ACME"), text("IPMI"), None, text("12-4"), Some(Field::Binary(vec![1, 2]))]
        );
    }

    #[test]
    fn damage() {
        let good = device();
        for index in 8..good.len() {
            let mut bad = good.clone();
            bad[index] ^= 0x20;
            assert!(Fru::parse(&bad).unwrap().board.unwrap().is_err(), "byte {index}");
        }
        for length in 0..good.len() {
            let cut = Fru::parse(&good[..length]);
            assert!(cut.is_err() || cut.unwrap().board.unwrap().is_err(), "{length} bytes");
        }
    }
}
