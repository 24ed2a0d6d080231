//! The engine: one record in, at most one reply out.
//!
//! [`Engine::call`] is a plain function of a client's session and the bytes of one RPC record. It reads no
//! clock and no randomness (the write verifier and the handle key are given at the start) and uses no
//! sockets; READ replies may name a piece of an open file for the shell to send. Any number of threads may
//! call it at once; each becomes the caller, as [`crate::cred`] explains, while it works. Calls for exports
//! on a disk of this machine are carried out by the thread that has them ([`Seat::Worker`]); for others it
//! gets [`Answer::Disk`] and hands the call to a thread that may hang.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

pub use crate::cx::{EngineConfig, FileTail, Seat, Session};

use crate::cx::{Cx, State};
use crate::drc::{Key, Seen};
use crate::export::Question;
use crate::nfs3;
use crate::observe::{Event, client_ip};
use crate::rpc::{self, Call, Credential, Parsed, Refused};
use crate::xdr::Writer;
use crate::{mount, ops};

/// One reply.
#[derive(Debug, Clone, Default)]
pub struct Reply {
    /// The bytes, without record mark.
    pub head: Vec<u8>,
    /// What follows them, and is followed by XDR padding.
    pub tail: Option<FileTail>,
}

/// Bytes kept free at the start of [`Reply::head`] for the record mark of stream transports.
pub const RECORD_MARK_BYTES: usize = 4;

/// What became of a record.
#[derive(Debug)]
pub enum Answer {
    /// Send this.
    Reply(Reply),
    /// Send nothing: it was not a call, or the same call is being worked on.
    Silence,
    /// Nothing was done yet: carry it out where it may wait for the disk of this directory.
    Disk(PathBuf),
}

/// A directory whose disk may hang and must be asked to answer `call`, if there is one.
fn far(cx: &Cx<'_>, call: &Call<'_>) -> Option<PathBuf> {
    match call.program {
        nfs3::PROGRAM => ops::handles(call.procedure, call.args.clone()).find_map(|handle| cx.far(&handle)),
        mount::PROGRAM => {
            let asked = mount::path(call.procedure, call.args.clone());
            let question = match (&asked, call.procedure) {
                (Some(path), _) => Question::Mount(path),
                (None, mount::EXPORT) => Question::List,
                (None, _) => return None,
            };
            cx.state.exports.disk(client_ip(cx.session.client), question)
        }
        _ => None,
    }
}

/// The NFS and MOUNT programs.
pub struct Engine {
    state: State,
}

impl Engine {
    /// An engine that has served no client yet.
    pub fn new(config: EngineConfig) -> Self {
        Self { state: State::new(config) }
    }

    /// Whether the client may have anything at all, see [`crate::Exports::is_known`].
    pub fn is_known(&self, client: IpAddr) -> bool {
        self.state.exports.is_known(client)
    }

    /// Reports to the observer what a client did.
    pub fn event(&self, client: SocketAddr, event: Event) {
        self.state.observer.event(client, event);
    }

    /// Answers one record at `seat`. `buffer` is recycled memory for the reply.
    pub fn call(&self, session: &Session, record: &[u8], buffer: Vec<u8>, seat: Seat) -> Answer {
        let mut out = Writer::onto(buffer);
        out.truncate(0);
        out.u32(0); // room for the record mark
        let call = match rpc::parse_call(record) {
            Parsed::Call(call) => call,
            Parsed::Nonsense => return Answer::Silence,
            Parsed::Refused(xid, why) => {
                rpc::refuse(&mut out, xid, why);
                return Answer::Reply(Reply { head: out.into_bytes(), tail: None });
            }
        };
        let cx = self.cx(session, &call, seat);
        if seat == Seat::Worker
            && let Some(place) = far(&cx, &call)
        {
            return Answer::Disk(place);
        }
        if seat == Seat::Late && call.program != nfs3::PROGRAM {
            // MOUNT has no word for it, and a refusal would be final.
            return Answer::Silence;
        }
        if seat == Seat::Late || !(call.program == nfs3::PROGRAM && ops::is_once_only(call.procedure)) {
            return Answer::Reply(self.dispatch(&cx, call, out));
        }
        let key = Key::of(client_ip(session.client), &call, record);
        let interrupted = match self.state.replies.begin(key) {
            Seen::Never => false,
            Seen::Interrupted => true,
            Seen::Answered(head) => return Answer::Reply(Reply { head, tail: None }),
            Seen::Working => return Answer::Silence,
        };
        let reply = self.dispatch(&Cx { interrupted, ..cx }, call, out);
        self.state.replies.finish(&key, &reply.head);
        Answer::Reply(reply)
    }

    fn cx<'a>(&'a self, session: &'a Session, call: &Call<'_>, seat: Seat) -> Cx<'a> {
        let (refused, tail, first) = Default::default();
        let credential = call.credential.clone();
        Cx { state: &self.state, session, credential, interrupted: false, refused, tail, seat, first }
    }

    fn dispatch(&self, cx: &Cx<'_>, call: Call<'_>, mut out: Writer) -> Reply {
        let xid = call.xid;
        rpc::accept(&mut out, xid);
        let mut args = call.args;
        let done = match (call.program, call.version) {
            _ if matches!(cx.credential, Credential::Other(_)) => Err(Refused::RejectedCredential),
            (nfs3::PROGRAM, 3) => ops::run(cx, call.procedure, &mut args, &mut out),
            (nfs3::PROGRAM, _) => Err(Refused::ProgramMismatch(3, 3)),
            (mount::PROGRAM, 1 | 3) => mount::run(cx, call.version, call.procedure, &mut args, &mut out),
            (mount::PROGRAM, _) => Err(Refused::ProgramMismatch(1, 3)),
            _ => Err(Refused::ProgramUnavailable),
        };
        let refused = done.err().or(cx.refused.get());
        if let Some(why) = refused {
            if matches!(why, Refused::TooWeak | Refused::RejectedCredential) {
                self.event(cx.session.client, Event::CredentialRefused);
            }
            out.truncate(RECORD_MARK_BYTES);
            rpc::refuse(&mut out, xid, why);
        }
        let tail = if refused.is_none() { cx.tail.take() } else { None };
        Reply { head: out.into_bytes(), tail }
    }

    /// To be called every few seconds: closes files that no client has asked for since the last call.
    pub fn tidy(&self) {
        self.state.objects.rotate();
    }

    /// Sets the time, in seconds since 1970. Until it is set, less is remembered.
    pub fn set_time(&self, now: u32) {
        self.state.known.set_time(now);
    }
}
