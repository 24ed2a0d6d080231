//! ONC RPC version 2 (RFC 5531): call headers, AUTH_SYS, reply headers.
//!
//! A call is parsed in place. A header that cannot be understood at all gets no answer (there is no
//! xid to answer to); everything else gets the refusal RFC 5531 §9 names. Deliberately missing:
//! RPCSEC_GSS and AUTH_SHORT, which are refused as rejected credentials.

use crate::xdr::{Reader, Writer, XdrError};

/// Most bytes of credential or verifier body (RFC 5531 §8.2).
const AUTH_BODY_BYTES_MAX: usize = 400;
/// Most supplementary groups in AUTH_SYS (RFC 5531 appendix A).
pub const AUTH_SYS_GROUPS_MAX: usize = 16;
/// Most bytes of the machine name in AUTH_SYS.
const MACHINE_NAME_BYTES_MAX: usize = 255;

const CALL: u32 = 0;
const REPLY: u32 = 1;
const MSG_ACCEPTED: u32 = 0;
const MSG_DENIED: u32 = 1;

/// Who the caller says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// AUTH_NONE: no user in particular.
    None,
    /// AUTH_SYS: user, group and supplementary groups as the client's kernel states them.
    Sys(SysCredential),
    /// A flavour that we do not support, by number.
    Other(u32),
}

/// The body of AUTH_SYS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SysCredential {
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    groups: [u32; AUTH_SYS_GROUPS_MAX],
    group_count: usize,
}

impl SysCredential {
    /// A credential with at most [`AUTH_SYS_GROUPS_MAX`] supplementary groups; further ones are left out,
    /// as every AUTH_SYS client does.
    pub fn new(uid: u32, gid: u32, supplementary: &[u32]) -> Self {
        let mut groups = [0; AUTH_SYS_GROUPS_MAX];
        let mut group_count = 0;
        for (slot, group) in groups.iter_mut().zip(supplementary) {
            *slot = *group;
            group_count += 1;
        }
        Self { uid, gid, groups, group_count }
    }

    /// The supplementary groups.
    pub fn groups(&self) -> &[u32] {
        self.groups.get(..self.group_count).unwrap_or_default()
    }

    fn parse(body: &[u8]) -> Result<Self, XdrError> {
        let mut r = Reader::new(body);
        r.u32()?; // stamp
        r.opaque(MACHINE_NAME_BYTES_MAX)?;
        let (uid, gid) = (r.u32()?, r.u32()?);
        let count = usize::try_from(r.u32()?).unwrap_or(usize::MAX);
        if count > AUTH_SYS_GROUPS_MAX {
            return Err(XdrError::TooLong { len: count, max: AUTH_SYS_GROUPS_MAX });
        }
        let mut groups = [0; AUTH_SYS_GROUPS_MAX];
        for slot in groups.iter_mut().take(count) {
            *slot = r.u32()?;
        }
        Ok(Self { uid, gid, groups, group_count: count })
    }
}

/// One call, its arguments still encoded.
#[derive(Debug, Clone)]
pub struct Call<'a> {
    /// Transaction id, echoed in the reply.
    pub xid: u32,
    /// Program number.
    pub program: u32,
    /// Program version.
    pub version: u32,
    /// Procedure number.
    pub procedure: u32,
    /// Who calls.
    pub credential: Credential,
    /// The arguments.
    pub args: Reader<'a>,
}

/// What [`parse_call`] made of a record.
#[derive(Debug)]
pub enum Parsed<'a> {
    /// A well-formed call.
    Call(Call<'a>),
    /// A call that is refused before dispatch.
    Refused(u32, Refused),
    /// Not a call at all: no answer is possible.
    Nonsense,
}

/// Refusals and failures at the RPC level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// Another RPC version than 2.
    RpcVersion,
    /// Credentials cannot be parsed (AUTH_BADCRED).
    BadCredential,
    /// A flavour that we do not support (AUTH_REJECTEDCRED).
    RejectedCredential,
    /// A flavour too weak for this export (AUTH_TOOWEAK).
    TooWeak,
    /// No such program here.
    ProgramUnavailable,
    /// The program exists in these versions only (lowest, highest).
    ProgramMismatch(u32, u32),
    /// No such procedure.
    ProcedureUnavailable,
    /// Arguments cannot be decoded.
    GarbageArguments,
    /// We failed, for instance out of memory.
    SystemError,
}

/// Reads the call header at the front of `record`.
pub fn parse_call(record: &[u8]) -> Parsed<'_> {
    let mut r = Reader::new(record);
    let (Ok(xid), Ok(CALL)) = (r.u32(), r.u32()) else { return Parsed::Nonsense };
    let Ok(rpc_version) = r.u32() else { return Parsed::Nonsense };
    if rpc_version != 2 {
        return Parsed::Refused(xid, Refused::RpcVersion);
    }
    let (Ok(program), Ok(version), Ok(procedure)) = (r.u32(), r.u32(), r.u32()) else {
        return Parsed::Nonsense;
    };
    match parse_auth(&mut r) {
        Ok(credential) => Parsed::Call(Call { xid, program, version, procedure, credential, args: r }),
        Err(_) => Parsed::Refused(xid, Refused::BadCredential),
    }
}

fn parse_auth(r: &mut Reader<'_>) -> Result<Credential, XdrError> {
    let flavour = r.u32()?;
    let body = r.opaque(AUTH_BODY_BYTES_MAX)?;
    let credential = match flavour {
        0 => Credential::None,
        1 => Credential::Sys(SysCredential::parse(body)?),
        other => Credential::Other(other),
    };
    r.u32()?; // verifier: AUTH_NONE in practice, and never looked at for AUTH_SYS
    r.opaque(AUTH_BODY_BYTES_MAX)?;
    Ok(credential)
}

/// Header of a reply that carries results.
pub fn accept(out: &mut Writer, xid: u32) {
    accepted(out, xid, 0);
}

fn accepted(out: &mut Writer, xid: u32, status: u32) {
    for word in [xid, REPLY, MSG_ACCEPTED, 0, 0, status] {
        out.u32(word);
    }
}

fn denied(out: &mut Writer, xid: u32, words: &[u32]) {
    for word in [xid, REPLY, MSG_DENIED].iter().chain(words) {
        out.u32(*word);
    }
}

/// The whole reply for a refusal.
pub fn refuse(out: &mut Writer, xid: u32, why: Refused) {
    match why {
        Refused::RpcVersion => denied(out, xid, &[0, 2, 2]),
        Refused::BadCredential => denied(out, xid, &[1, 1]),
        Refused::RejectedCredential => denied(out, xid, &[1, 2]),
        Refused::TooWeak => denied(out, xid, &[1, 5]),
        Refused::ProgramUnavailable => accepted(out, xid, 1),
        Refused::ProgramMismatch(low, high) => {
            accepted(out, xid, 2);
            out.u32(low);
            out.u32(high);
        }
        Refused::ProcedureUnavailable => accepted(out, xid, 3),
        Refused::GarbageArguments => accepted(out, xid, 4),
        Refused::SystemError => accepted(out, xid, 5),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|w| w.to_be_bytes()).collect()
    }

    #[test]
    fn headers() {
        let good = call(&[9, 0, 2, 100_003, 3, 1, 1, 24, 0, 0, 5, 6, 1, 44, 0, 0, 77]);
        let Parsed::Call(c) = parse_call(&good) else { panic!("refused") };
        assert_eq!((c.xid, c.program, c.version, c.procedure), (9, 100_003, 3, 1));
        assert_eq!(c.credential, Credential::Sys(SysCredential::new(5, 6, &[44])));
        assert_eq!(c.args.rest(), 77u32.to_be_bytes());

        let many_groups = call(&[9, 0, 2, 100_003, 3, 1, 1, 24, 0, 0, 5, 6, 17, 44, 0, 0]);
        assert!(matches!(parse_call(&many_groups), Parsed::Refused(9, Refused::BadCredential)));
        let old = call(&[9, 0, 1]);
        assert!(matches!(parse_call(&old), Parsed::Refused(9, Refused::RpcVersion)));
        for nonsense in [call(&[]), call(&[9]), call(&[9, 1, 2]), call(&[9, 0, 2, 1])] {
            assert!(matches!(parse_call(&nonsense), Parsed::Nonsense));
        }
    }
}
