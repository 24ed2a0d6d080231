//! The port mapper, version 2 (RFC 1833 §3): answers on which ports NFS and MOUNT are.
//!
//! It knows our own programs only and takes no registrations. CALLIT, which lets a stranger use us as a
//! relay, is not offered.

use crate::rpc::{self, Parsed, Refused};
use crate::xdr::{Reader, Writer, XdrError};
use crate::{mount, nfs3};

/// Program number of the port mapper.
pub const PROGRAM: u32 = 100_000;
const TCP: u32 = 6;
const UDP: u32 = 17;

/// The ports to give out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    /// Where NFS and MOUNT listen over TCP.
    pub nfs: u16,
    /// Where they listen over UDP, if they do.
    pub nfs_udp: Option<u16>,
    /// Where MOUNT listens in its own right; `nfs` unless configured.
    pub mount: u16,
}

impl Ports {
    fn table(&self) -> Vec<[u32; 4]> {
        let mut table = vec![
            [nfs3::PROGRAM, 3, TCP, u32::from(self.nfs)],
            [mount::PROGRAM, 3, TCP, u32::from(self.mount)],
            [mount::PROGRAM, 1, TCP, u32::from(self.mount)],
        ];
        if let Some(udp) = self.nfs_udp {
            for (program, version) in [(nfs3::PROGRAM, 3), (mount::PROGRAM, 3), (mount::PROGRAM, 1)] {
                table.push([program, version, UDP, u32::from(udp)]);
            }
        }
        table
    }
}

/// Answers one record; `None` if no answer is due. The first four bytes are room for the record mark.
pub fn answer(record: &[u8], ports: &Ports) -> Option<Vec<u8>> {
    let mut out = Writer::default();
    out.u32(0);
    match rpc::parse_call(record) {
        Parsed::Nonsense => return None,
        Parsed::Refused(xid, why) => rpc::refuse(&mut out, xid, why),
        Parsed::Call(mut call) => {
            let start = out.len();
            rpc::accept(&mut out, call.xid);
            let done = match (call.program, call.version) {
                (PROGRAM, 2) => run(call.procedure, &mut call.args, &mut out, ports),
                (PROGRAM, _) => Err(Refused::ProgramMismatch(2, 2)),
                _ => Err(Refused::ProgramUnavailable),
            };
            if let Err(why) = done {
                out.truncate(start);
                rpc::refuse(&mut out, call.xid, why);
            }
        }
    }
    Some(out.into_bytes())
}

fn run(procedure: u32, args: &mut Reader<'_>, out: &mut Writer, ports: &Ports) -> Result<(), Refused> {
    let done = match procedure {
        0 => Ok(()),
        1 | 2 => {
            out.bool(false);
            Ok(())
        }
        3 => get_port(args, out, ports),
        4 => {
            for line in ports.table() {
                out.bool(true);
                line.iter().for_each(|word| out.u32(*word));
            }
            out.bool(false);
            Ok(())
        }
        _ => return Err(Refused::ProcedureUnavailable),
    };
    done.map_err(|_| Refused::GarbageArguments)
}

fn get_port(args: &mut Reader<'_>, out: &mut Writer, ports: &Ports) -> Result<(), XdrError> {
    let (program, version, protocol) = (args.u32()?, args.u32()?, args.u32()?);
    let table = ports.table();
    // A wrong version is answered with the port too: the program there says which versions it has.
    let fits = |line: &&[u32; 4]| line.starts_with(&[program]) && line.get(2) == Some(&protocol);
    let exact = table.iter().find(|line| line.starts_with(&[program, version, protocol]));
    let line = exact.or_else(|| table.iter().find(fits));
    out.u32(line.and_then(|line| line.last()).copied().unwrap_or(0));
    Ok(())
}
