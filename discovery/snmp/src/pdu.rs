//! Requests and responses (RFC 1157 §4.1, RFC 3416 §4.1). The trap of v1 has another form and is not read.

use crate::ber::{self, BerError, Reader};
use crate::limits::BINDINGS_MAX;
use crate::value::VarBind;

/// Kinds of PDU, with their tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The values of these names.
    Get,
    /// The values of the names after these.
    GetNext,
    /// The answer.
    Response,
    /// The values of many names after these (not v1).
    GetBulk,
    /// The agent's engine reports why it cannot take a message (v3).
    Report,
}

const TAGS: [(u8, Kind); 5] = [
    (0xa0, Kind::Get),
    (0xa1, Kind::GetNext),
    (0xa2, Kind::Response),
    (0xa5, Kind::GetBulk),
    (0xa8, Kind::Report),
];

/// One request or response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pdu {
    /// Which.
    pub kind: Kind,
    /// What makes an answer the answer to a request.
    pub request_id: i32,
    /// `error-status`; of a GETBULK, how many of the names are not repeated.
    pub status: i32,
    /// `error-index`, counted from 1; of a GETBULK, how many rows are wanted.
    pub index: i32,
    /// Names and values.
    pub bindings: Vec<VarBind>,
}

/// `error-status` of RFC 1157 that a reader of tables treats by itself.
pub const TOO_BIG: i32 = 1;
/// The same: of v1, the name does not exist or nothing follows.
pub const NO_SUCH_NAME: i32 = 2;

/// The name of an `error-status` (RFC 3416 §3).
pub fn status_name(status: i32) -> &'static str {
    const NAMES: [&str; 19] = [
        "noError",
        "tooBig",
        "noSuchName",
        "badValue",
        "readOnly",
        "genErr",
        "noAccess",
        "wrongType",
        "wrongLength",
        "wrongEncoding",
        "wrongValue",
        "noCreation",
        "inconsistentValue",
        "resourceUnavailable",
        "commitFailed",
        "undoFailed",
        "authorizationError",
        "notWritable",
        "inconsistentName",
    ];
    usize::try_from(status).ok().and_then(|at| NAMES.get(at)).copied().unwrap_or("an unknown error")
}

impl Pdu {
    /// Reads one.
    ///
    /// # Errors
    /// [`BerError`]; [`BerError::TooMany`] beyond [`BINDINGS_MAX`].
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, BerError> {
        let at = reader.position();
        let field = reader.field()?;
        let kind = TAGS.iter().find(|(tag, _)| *tag == field.tag).map(|(_, kind)| *kind);
        let kind = kind.ok_or(BerError::Tag { at, found: field.tag, wanted: 0xa2 })?;
        let mut inside = reader.within(&field);
        let (request_id, status, index) = (inside.int32()?, inside.int32()?, inside.int32()?);
        let list_at = inside.position();
        let mut list = inside.open(ber::SEQUENCE)?;
        let mut bindings = Vec::new();
        while !list.is_empty() {
            if bindings.len() == BINDINGS_MAX {
                return Err(BerError::TooMany(list_at));
            }
            bindings.push(VarBind::read(&mut list)?);
        }
        Ok(Self { kind, request_id, status, index, bindings })
    }

    /// Appends it.
    pub fn write(&self, out: &mut Vec<u8>) {
        let tag = TAGS.iter().find(|(_, kind)| *kind == self.kind).map_or(0, |(tag, _)| *tag);
        ber::put_with(out, tag, |out| {
            ber::put_integer(out, i64::from(self.request_id));
            ber::put_integer(out, i64::from(self.status));
            ber::put_integer(out, i64::from(self.index));
            ber::put_with(out, ber::SEQUENCE, |out| self.bindings.iter().for_each(|bind| bind.write(out)));
        });
    }
}
