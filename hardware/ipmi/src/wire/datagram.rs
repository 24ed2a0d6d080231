//! Which kind of datagram it is.

use super::rmcp::{self, ASF_ENTERPRISE, ASF_PING, ASF_PONG, CLASS_ASF, CLASS_IPMI, ENTITIES_IPMI, HEADER};
use super::{Malformed, Reader, v15, v20};

/// A datagram.
#[derive(Debug)]
pub enum Datagram<'a> {
    /// "Who is there?"
    Ping {
        /// Returned by the answer.
        tag: u8,
    },
    /// The answer.
    Pong {
        /// The ping's.
        tag: u8,
        /// Whether it supports IPMI.
        ipmi: bool,
    },
    /// IPMI 1.5, and what comes before any session.
    V15(v15::Packet<'a>),
    /// RMCP+.
    V20(v20::Packet<'a>),
}

impl<'a> Datagram<'a> {
    /// Reads a datagram.
    ///
    /// # Errors
    /// When it is something else: another class or version, an acknowledgement, cut short.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let [version, _, _, class] = reader.array()?;
        if version != HEADER[0] {
            return Err(Malformed("it is of another version of RMCP"));
        }
        let body = reader.rest();
        match class {
            CLASS_ASF => parse_asf(body),
            CLASS_IPMI if body.first() == Some(&rmcp::AUTH_TYPE_RMCP_PLUS) => {
                v20::Packet::parse(body).map(Self::V20)
            }
            CLASS_IPMI => v15::Packet::parse(body).map(Self::V15),
            _ => Err(Malformed("it is of another class of RMCP")),
        }
    }
}

fn parse_asf(body: &[u8]) -> Result<Datagram<'_>, Malformed> {
    let mut reader = Reader::new(body);
    let enterprise: [u8; 4] = reader.array()?;
    let [kind, tag, _, length] = reader.array()?;
    let data = reader.take(usize::from(length))?;
    match (enterprise, kind) {
        (ASF_ENTERPRISE, ASF_PING) => Ok(Datagram::Ping { tag }),
        (ASF_ENTERPRISE, ASF_PONG) => {
            let entities = data.get(8).ok_or(Malformed("the pong is cut short"))?;
            Ok(Datagram::Pong { tag, ipmi: entities & ENTITIES_IPMI != 0 })
        }
        _ => Err(Malformed("it is another message of ASF")),
    }
}
