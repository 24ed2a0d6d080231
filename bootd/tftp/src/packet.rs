//! TFTP packets on the wire: RFC 1350, options of RFC 2347.
//!
//! Decoding borrows from the datagram and never panics; encoding appends to a buffer.

/// Longest request we look at, bytes. RFC 2347 sets 512; some firmware appends padding.
pub const REQUEST_BYTES_MAX: usize = 1024;
/// Most options read from one request; the rest is ignored.
pub const OPTIONS_MAX: usize = 16;
/// Longest error text sent, bytes: it must fit a small packet and a firmware's line.
pub const ERROR_TEXT_BYTES_MAX: usize = 200;

const RRQ: u16 = 1;
const WRQ: u16 = 2;
const DATA: u16 = 3;
const ACK: u16 = 4;
const ERROR: u16 = 5;
const OACK: u16 = 6;

/// Error codes of RFC 1350 and RFC 2347.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum ErrorCode {
    /// See the text.
    Undefined = 0,
    /// File not found.
    NotFound = 1,
    /// Access violation.
    Access = 2,
    /// Illegal operation.
    IllegalOperation = 4,
    /// Unknown transfer id.
    UnknownTransfer = 5,
    /// Options cannot be negotiated.
    Options = 8,
}

/// A read or write request as sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawRequest<'a> {
    /// Name of the file.
    pub filename: &'a [u8],
    /// `octet`, `netascii`, `mail`, in any case.
    pub mode: &'a [u8],
    /// Names and values in the order sent.
    pub options: Vec<(&'a [u8], &'a [u8])>,
}

/// A packet from a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// Wants to read.
    Read(RawRequest<'a>),
    /// Wants to write.
    Write(RawRequest<'a>),
    /// Got everything up to this block.
    Ack(u16),
    /// Gives up.
    Error(u16, &'a [u8]),
    /// DATA or OACK: only servers of writes and clients get these.
    NotForServers,
}

/// Why a datagram is not a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    /// Fewer bytes than any packet has.
    #[error("the packet is too short")]
    Short,
    /// More bytes than a request may have.
    #[error("the request is too long")]
    Long,
    /// No such operation.
    #[error("unknown operation {0}")]
    Opcode(u16),
    /// A string without its NUL.
    #[error("a string in the request has no end")]
    Unterminated,
}

impl<'a> Packet<'a> {
    /// Reads one datagram.
    ///
    /// # Errors
    /// [`PacketError`] when it is not a TFTP packet.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, PacketError> {
        let (opcode, rest) = take_u16(datagram).ok_or(PacketError::Short)?;
        match opcode {
            RRQ => request(rest).map(Packet::Read),
            WRQ => request(rest).map(Packet::Write),
            ACK => take_u16(rest).map(|(block, _)| Packet::Ack(block)).ok_or(PacketError::Short),
            ERROR => {
                let (code, text) = take_u16(rest).ok_or(PacketError::Short)?;
                let text = text.split(|b| *b == 0).next().unwrap_or_default();
                Ok(Packet::Error(code, text.get(..ERROR_TEXT_BYTES_MAX).unwrap_or(text)))
            }
            DATA | OACK => Ok(Packet::NotForServers),
            other => Err(PacketError::Opcode(other)),
        }
    }
}

fn take_u16(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<2>()?;
    Some((u16::from_be_bytes(*head), rest))
}

fn take_string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|b| *b == 0)?;
    Some((bytes.get(..end)?, bytes.get(end + 1..)?))
}

fn request(body: &[u8]) -> Result<RawRequest<'_>, PacketError> {
    if body.len() > REQUEST_BYTES_MAX {
        return Err(PacketError::Long);
    }
    let (filename, rest) = take_string(body).ok_or(PacketError::Unterminated)?;
    let (mode, mut rest) = take_string(rest).ok_or(PacketError::Unterminated)?;
    let mut options = Vec::new();
    while options.len() < OPTIONS_MAX {
        // Padding or half an option at the end is ignored: firmware exists that sends it.
        let Some((name, after)) = take_string(rest) else { break };
        let Some((value, after)) = take_string(after) else { break };
        if !name.is_empty() {
            options.push((name, value));
        }
        rest = after;
    }
    Ok(RawRequest { filename, mode, options })
}

/// Appends the head of a DATA packet; the block's bytes follow.
pub fn put_data_head(out: &mut Vec<u8>, block: u16) {
    out.extend_from_slice(&DATA.to_be_bytes());
    out.extend_from_slice(&block.to_be_bytes());
}

/// Appends an ERROR packet; the text is cut to [`ERROR_TEXT_BYTES_MAX`] and cleaned of NUL.
pub fn put_error(out: &mut Vec<u8>, code: ErrorCode, text: &str) {
    out.extend_from_slice(&ERROR.to_be_bytes());
    out.extend_from_slice(&(code as u16).to_be_bytes());
    out.extend(text.bytes().filter(|b| *b != 0).take(ERROR_TEXT_BYTES_MAX));
    out.push(0);
}

/// Appends an OACK packet with `options`.
pub fn put_oack(out: &mut Vec<u8>, options: &[(&str, u64)]) {
    out.extend_from_slice(&OACK.to_be_bytes());
    for (name, value) in options {
        out.extend_from_slice(name.as_bytes());
        out.push(0);
        out.extend_from_slice(value.to_string().as_bytes());
        out.push(0);
    }
}

/// Appends a read request, for our own clients in tests and benchmarks.
pub fn put_read_request(out: &mut Vec<u8>, filename: &str, mode: &str, options: &[(&str, u64)]) {
    out.extend_from_slice(&RRQ.to_be_bytes());
    for text in [filename, mode] {
        out.extend_from_slice(text.as_bytes());
        out.push(0);
    }
    for (name, value) in options {
        out.extend_from_slice(name.as_bytes());
        out.push(0);
        out.extend_from_slice(value.to_string().as_bytes());
        out.push(0);
    }
}

/// Appends an ACK, for our own clients.
pub fn put_ack(out: &mut Vec<u8>, block: u16) {
    out.extend_from_slice(&ACK.to_be_bytes());
    out.extend_from_slice(&block.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_with_their_options() {
        let mut wire = Vec::new();
        put_read_request(&mut wire, "a/b", "OCTET", &[("blksize", 1468), ("tsize", 0)]);
        let Ok(Packet::Read(request)) = Packet::parse(&wire) else { panic!("a read request") };
        assert_eq!(request.filename, b"a/b");
        assert_eq!(request.mode, b"OCTET");
        assert_eq!(request.options, [(&b"blksize"[..], &b"1468"[..]), (b"tsize", b"0")]);
    }

    #[test]
    fn broken_packets_are_told_apart() {
        let cases: &[(&[u8], PacketError)] = &[
            (b"", PacketError::Short),
            (b"\0", PacketError::Short),
            (b"\0\x04\0", PacketError::Short),
            (b"\0\x09xx", PacketError::Opcode(9)),
            (b"\0\x01name", PacketError::Unterminated),
            (b"\0\x01name\0octet", PacketError::Unterminated),
        ];
        for (wire, want) in cases {
            assert_eq!(Packet::parse(wire), Err(*want), "{wire:?}");
        }
    }

    #[test]
    fn half_an_option_is_ignored() {
        let Ok(Packet::Read(request)) = Packet::parse(b"\0\x01n\0octet\0blksize\x00512\0tsi") else {
            panic!()
        };
        assert_eq!(request.options.len(), 1);
    }
}
