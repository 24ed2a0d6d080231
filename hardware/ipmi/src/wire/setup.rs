//! Payloads that set up an RMCP+ session (IPMI 2.0, 13.17 to 13.24).

use super::{Malformed, Reader};
use crate::crypto::Suite;
use crate::limits::USER_NAME_BYTES_MAX;

/// The user is looked up by name alone, not by name and privilege.
const NAME_ONLY: u8 = 0x10;

/// What a user of a session may do (table 22-23).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Privilege {
    /// Calls back.
    Callback = 1,
    /// Reads.
    User = 2,
    /// Switches power, but does not configure.
    Operator = 3,
    /// Everything.
    Administrator = 4,
}

impl Privilege {
    /// The number on the wire.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// The level with this number.
    pub fn from_number(number: u8) -> Option<Self> {
        [Self::Callback, Self::User, Self::Operator, Self::Administrator]
            .into_iter()
            .find(|level| level.number() == number)
    }

    /// The role byte of the key exchange.
    pub(crate) fn role(self) -> u8 {
        self.number() | NAME_ONLY
    }
}

/// A status other than 0 in an answer of the set-up (table 13-15).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Status(pub u8);

impl Status {
    /// The role is not allowed to this user.
    pub const ROLE: Self = Self(0x0a);
    /// No such user.
    pub const NAME: Self = Self(0x0d);
    /// The code of a message is wrong.
    pub const INTEGRITY: Self = Self(0x0f);

    /// Whether another cipher suite may be accepted.
    pub fn is_about_algorithms(self) -> bool {
        matches!(self.0, 0x04 | 0x05 | 0x10 | 0x11)
    }

    /// What it means, in the words of the specification's table.
    pub fn text(self) -> Option<&'static str> {
        Some(match self.0 {
            0x01 => "Insufficient resources to create new session (wait for existing sessions to timeout)",
            0x02 => "Invalid session ID",
            0x03 => "Invalid payload type",
            0x04 => "Invalid authentication algorithm",
            0x05 => "Invalid integrity algorithm",
            0x06 => "No matching authentication payload",
            0x07 => "No matching integrity payload",
            0x08 => "Inactive Session ID",
            0x09 => "Invalid role",
            0x0a => "Unauthorised role or privilege level requested",
            0x0b => "Insufficient resources to create a session at the requested role",
            0x0c => "Invalid username length",
            0x0d => "Unauthorized name",
            0x0e => "Unauthorized GUID",
            0x0f => "Invalid integrity check value",
            0x10 => "Invalid confidentiality algorithm",
            0x11 => "No cipher suite match with proposed security algorithms",
            0x12 => "Illegal or unrecognized parameter",
            _ => return None,
        })
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.text() {
            Some(text) => f.write_str(text),
            None => write!(f, "{:02x}h code on opening RMCP+ session", self.0),
        }
    }
}

/// Open Session Request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenRequest {
    /// Returned by the answer.
    pub tag: u8,
    /// The highest privilege wanted, 0 for "whatever the user has".
    pub privilege: u8,
    /// The console's number of the session.
    pub console_session: u32,
    /// Numbers of the three algorithms.
    pub algorithms: [u8; 3],
}

impl OpenRequest {
    /// Appends it.
    pub fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[self.tag, self.privilege, 0, 0]);
        out.extend_from_slice(&self.console_session.to_le_bytes());
        put_algorithms(out, self.algorithms);
    }

    /// Reads it.
    ///
    /// # Errors
    /// When it is cut short.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let [tag, privilege, _, _] = reader.array()?;
        let console_session = reader.u32()?;
        Ok(Self { tag, privilege, console_session, algorithms: read_algorithms(&mut reader)? })
    }
}

/// Open Session Response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenResponse {
    /// The request's.
    pub tag: u8,
    /// The console's number of the session.
    pub console_session: u32,
    /// The BMC's number of the session and its algorithms, or why there is no session.
    pub result: Result<(u32, [u8; 3]), Status>,
}

impl OpenResponse {
    /// Appends it.
    pub fn put(&self, out: &mut Vec<u8>) {
        let status = self.result.err().map_or(0, |status| status.0);
        out.extend_from_slice(&[self.tag, status, 4, 0]);
        out.extend_from_slice(&self.console_session.to_le_bytes());
        if let Ok((bmc_session, algorithms)) = self.result {
            out.extend_from_slice(&bmc_session.to_le_bytes());
            put_algorithms(out, algorithms);
        }
    }

    /// Reads it.
    ///
    /// # Errors
    /// When it is cut short.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let (Head { tag, status, session }, mut reader) = read_head(bytes)?;
        let result = match status {
            0 => Ok((reader.u32()?, read_algorithms(&mut reader)?)),
            _ => Err(Status(status)),
        };
        Ok(Self { tag, console_session: session, result })
    }
}

/// What messages of a BMC begin with.
struct Head {
    tag: u8,
    status: u8,
    /// The console's number of the session, 0 if a refusal leaves it out.
    session: u32,
}

/// Reads the head. Some BMCs end a refusal after the status.
fn read_head(bytes: &[u8]) -> Result<(Head, Reader<'_>), Malformed> {
    let mut reader = Reader::new(bytes);
    let [tag, status] = reader.array()?;
    let session = reader.u16().and_then(|_reserved| reader.u32());
    let session = if status == 0 { session? } else { session.unwrap_or(0) };
    Ok((Head { tag, status, session }, reader))
}

fn put_algorithms(out: &mut Vec<u8>, algorithms: [u8; 3]) {
    for (kind, algorithm) in (0..).zip(algorithms) {
        out.extend_from_slice(&[kind, 0, 0, 8, algorithm, 0, 0, 0]);
    }
}

fn read_algorithms(reader: &mut Reader<'_>) -> Result<[u8; 3], Malformed> {
    let mut algorithms = [0; 3];
    for (kind, algorithm) in (0..).zip(&mut algorithms) {
        let [found, _, _, length, number, _, _, _] = reader.array()?;
        // A length of 0 is "any", which is not an answer.
        if found != kind || length != 8 {
            return Err(Malformed("its list of algorithms has another form"));
        }
        *algorithm = number & 0x3f;
    }
    Ok(algorithms)
}

/// RAKP Message 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rakp1<'a> {
    /// Returned by the answer.
    pub tag: u8,
    /// The BMC's number of the session.
    pub bmc_session: u32,
    /// The console's random number.
    pub random: [u8; 16],
    /// Privilege and way to look up the user.
    pub role: u8,
    /// The user.
    pub user: &'a [u8],
}

impl<'a> Rakp1<'a> {
    /// Appends it.
    pub fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[self.tag, 0, 0, 0]);
        out.extend_from_slice(&self.bmc_session.to_le_bytes());
        out.extend_from_slice(&self.random);
        out.extend_from_slice(&[self.role, 0, 0, length_byte(self.user)]);
        out.extend_from_slice(self.user);
    }

    /// Reads it.
    ///
    /// # Errors
    /// When it is cut short or the name is too long.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let [tag, _, _, _] = reader.array()?;
        let bmc_session = reader.u32()?;
        let random = reader.array()?;
        let [role, _, _, length] = reader.array()?;
        let length = usize::from(length);
        if length > USER_NAME_BYTES_MAX {
            return Err(Malformed("the user name is too long"));
        }
        Ok(Self { tag, bmc_session, random, role, user: reader.take(length)? })
    }
}

/// The length of a user name as the key exchange has it.
pub(crate) fn length_byte(user: &[u8]) -> u8 {
    u8::try_from(user.len()).unwrap_or(u8::MAX)
}

/// The BMC's random number, its GUID, and the code that proves the password.
pub type Proof<'a> = ([u8; 16], [u8; 16], &'a [u8]);

/// RAKP Message 2.
#[derive(Debug)]
pub struct Rakp2<'a> {
    /// The request's.
    pub tag: u8,
    /// The console's number of the session.
    pub console_session: u32,
    /// The BMC's random number, its GUID and the key exchange code, or why there is no session.
    pub result: Result<Proof<'a>, Status>,
}

impl<'a> Rakp2<'a> {
    /// Appends it.
    pub fn put(&self, out: &mut Vec<u8>) {
        let status = self.result.err().map_or(0, |status| status.0);
        out.extend_from_slice(&[self.tag, status, 0, 0]);
        out.extend_from_slice(&self.console_session.to_le_bytes());
        if let Ok((random, guid, code)) = self.result {
            out.extend_from_slice(&random);
            out.extend_from_slice(&guid);
            out.extend_from_slice(code);
        }
    }

    /// Reads it.
    ///
    /// # Errors
    /// When it is cut short.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let (Head { tag, status, session }, mut reader) = read_head(bytes)?;
        let result = match status {
            0 => Ok((reader.array()?, reader.array()?, reader.rest())),
            _ => Err(Status(status)),
        };
        Ok(Self { tag, console_session: session, result })
    }
}

/// RAKP Message 3, and 4, which has the same form: a session number of the receiver and a code.
#[derive(Debug)]
pub struct Rakp34<'a> {
    /// The tag of the exchange.
    pub tag: u8,
    /// The receiver's number of the session.
    pub session: u32,
    /// The code, or why there is no session.
    pub result: Result<&'a [u8], Status>,
}

impl<'a> Rakp34<'a> {
    /// Appends it.
    pub fn put(&self, out: &mut Vec<u8>) {
        let status = self.result.err().map_or(0, |status| status.0);
        out.extend_from_slice(&[self.tag, status, 0, 0]);
        out.extend_from_slice(&self.session.to_le_bytes());
        out.extend_from_slice(self.result.unwrap_or_default());
    }

    /// Reads it.
    ///
    /// # Errors
    /// When it is cut short.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let (Head { tag, status, session }, mut reader) = read_head(bytes)?;
        Ok(Self { tag, session, result: if status == 0 { Ok(reader.rest()) } else { Err(Status(status)) } })
    }
}

/// The suite with exactly these algorithms.
pub fn suite_of(algorithms: [u8; 3]) -> Option<Suite> {
    [Suite::Sha256, Suite::Sha1].into_iter().find(|suite| suite.algorithms() == algorithms)
}
