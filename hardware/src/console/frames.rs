//! What a viewer and the hub send each other: a byte that says what it is, two bytes for the length, and that
//! many bytes.

use crate::limits::CONSOLE_FRAME_BYTES_MAX;

/// Bytes before the content.
const HEAD_BYTES: usize = 3;

/// One piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// Output of the machine; from a viewer: what is typed.
    Data(Vec<u8>),
    /// From a viewer: the machine shall see a break.
    Break,
    /// From a viewer: takes the right to write from the viewer who has it.
    Take,
    /// From a viewer: gives the right to write back.
    Watch,
    /// From a viewer: connect again.
    Reopen,
    /// From a viewer: who else is here.
    Who,
    /// From the hub: a line for the viewer.
    Notice(String),
    /// From the hub: this is the end, and why.
    End(String),
}

/// Bytes that are not frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadFrame {
    /// No frame begins so.
    #[error("a frame cannot begin with the byte {0:#04x}")]
    Kind(u8),
    /// Too long.
    #[error("a frame has {CONSOLE_FRAME_BYTES_MAX} bytes at most, not {0}")]
    Length(usize),
}

impl Frame {
    /// The frame as bytes; content beyond [`CONSOLE_FRAME_BYTES_MAX`] is cut off.
    pub fn bytes(&self) -> Vec<u8> {
        let (kind, content): (u8, &[u8]) = match self {
            Self::Data(bytes) => (b'd', bytes),
            Self::Break => (b'b', &[]),
            Self::Take => (b't', &[]),
            Self::Watch => (b's', &[]),
            Self::Reopen => (b'o', &[]),
            Self::Who => (b'w', &[]),
            Self::Notice(text) => (b'n', text.as_bytes()),
            Self::End(text) => (b'e', text.as_bytes()),
        };
        let content = content.get(..CONSOLE_FRAME_BYTES_MAX).unwrap_or(content);
        let length = u16::try_from(content.len()).unwrap_or(0).to_be_bytes();
        [&[kind][..], &length, content].concat()
    }

    fn read(kind: u8, content: Vec<u8>) -> Result<Self, BadFrame> {
        let text =
            |bytes: &[u8]| String::from_utf8_lossy(bytes).chars().filter(|c| !c.is_control()).collect();
        Ok(match kind {
            b'd' => Self::Data(content),
            b'b' => Self::Break,
            b't' => Self::Take,
            b's' => Self::Watch,
            b'o' => Self::Reopen,
            b'w' => Self::Who,
            b'n' => Self::Notice(text(&content)),
            b'e' => Self::End(text(&content)),
            other => return Err(BadFrame::Kind(other)),
        })
    }
}

/// Cuts bytes into frames.
#[derive(Debug, Default)]
pub struct Decoder {
    bytes: Vec<u8>,
}

impl Decoder {
    /// Bytes that came in.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next frame, if it is complete.
    ///
    /// # Errors
    /// [`BadFrame`]: nothing that comes after it can be read.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, BadFrame> {
        let Some((&[kind, high, low], _)) = self.bytes.split_first_chunk::<HEAD_BYTES>() else {
            return Ok(None);
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length > CONSOLE_FRAME_BYTES_MAX {
            return Err(BadFrame::Length(length));
        }
        let Some(content) = self.bytes.get(HEAD_BYTES..HEAD_BYTES + length) else { return Ok(None) };
        let content = content.to_vec();
        self.bytes.drain(..HEAD_BYTES + length);
        Frame::read(kind, content).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let frames = [
            Frame::Data(b"ls\r".to_vec()),
            Frame::Break,
            Frame::Take,
            Frame::Watch,
            Frame::Reopen,
            Frame::Who,
            Frame::Notice("alice writes".to_owned()),
            Frame::End("gone".to_owned()),
        ];
        let (mut decoder, mut read) = (Decoder::default(), Vec::new());
        for byte in frames.iter().flat_map(Frame::bytes) {
            decoder.push(&[byte]);
            read.extend(decoder.next_frame().unwrap());
        }
        assert_eq!(read, frames);
        for (bytes, error) in [(b"x\0\0", BadFrame::Kind(b'x')), (b"d\xff\xff", BadFrame::Length(0xffff))] {
            let mut decoder = Decoder::default();
            decoder.push(bytes);
            assert_eq!(decoder.next_frame(), Err(error));
        }
    }
}
