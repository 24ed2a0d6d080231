//! Acting as the caller: the kernel, not this crate, decides what a user may do.
//!
//! The daemon runs as root. Before a file operation the worker thread takes the caller's ids as its
//! file-system ids (setfsuid, setfsgid, setgroups: per thread, and drops the file capabilities when the uid
//! is not 0), so modes, ACLs, sticky and set-group-id directories, quotas and the loss of setuid on write
//! follow the kernel's rules without a second set of rules here. The ids stay in force until a call needs
//! others: a worker that serves root (nearly all of a booting node's calls) never switches. A switch costs
//! about 4 µs.

use std::cell::RefCell;
use std::sync::OnceLock;

use crate::export::Squash;
use crate::nfs3::Status;
use crate::rpc::{Credential, SysCredential};
use crate::sys;

/// The anonymous user and group for calls without credentials.
pub const ANONYMOUS_ID: u32 = 65534;

/// File-system ids of a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity(SysCredential);

impl Identity {
    /// The server itself.
    pub fn root() -> Self {
        Self(SysCredential::new(0, 0, &[]))
    }

    /// The caller as the export wants it seen.
    pub fn of(credential: &Credential, squash: Squash) -> Self {
        let Credential::Sys(sys) = credential else {
            let (uid, gid) = match squash {
                Squash::All { uid, gid } | Squash::Root { uid, gid } => (uid, gid),
                Squash::None => (ANONYMOUS_ID, ANONYMOUS_ID),
            };
            return Self(SysCredential::new(uid, gid, &[]));
        };
        match squash {
            // Root needs no groups: it passes every check by capability.
            Squash::None if sys.uid == 0 => Self(SysCredential::new(0, sys.gid, &[])),
            Squash::None => Self(*sys),
            Squash::All { uid, gid } => Self(SysCredential::new(uid, gid, &[])),
            Squash::Root { uid, gid } => Self(squash_root(sys, uid, gid)),
        }
    }

    /// User id.
    pub fn uid(&self) -> u32 {
        self.0.uid
    }

    /// Whether no permission check applies.
    pub fn is_root(&self) -> bool {
        self.0.uid == 0
    }

    /// Makes this the identity of the calling thread's file operations.
    pub fn assume(&self) -> Result<(), Status> {
        if !switching() {
            return Ok(());
        }
        CURRENT.with_borrow_mut(|current| {
            if current.as_ref() != Some(self) {
                // Unknown until the switch has worked.
                *current = None;
                sys::set_thread_fs_ids(self.0.uid, self.0.gid, self.0.groups())?;
                *current = Some(*self);
            }
            Ok(())
        })
    }
}

fn squash_root(sys: &SysCredential, uid: u32, gid: u32) -> SysCredential {
    let swap = |id: u32, anonymous: u32| if id == 0 { anonymous } else { id };
    let mut groups = [0; crate::rpc::AUTH_SYS_GROUPS_MAX];
    for (slot, group) in groups.iter_mut().zip(sys.groups()) {
        *slot = swap(*group, gid);
    }
    let groups = groups.get(..sys.groups().len()).unwrap_or_default();
    SysCredential::new(swap(sys.uid, uid), swap(sys.gid, gid), groups)
}

thread_local! {
    static CURRENT: RefCell<Option<Identity>> = const { RefCell::new(None) };
}

/// Whether ids can be switched at all. Without root everybody acts as the user the daemon runs as, which
/// serves for trying things out and is said in the log by the shell.
pub fn switching() -> bool {
    static ROOT: OnceLock<bool> = OnceLock::new();
    *ROOT.get_or_init(|| rustix::process::geteuid().is_root())
}

/// Acts as the server itself.
pub fn as_server() -> Result<(), Status> {
    Identity::root().assume()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn squashing() {
        let caller = |uid, gid, groups: &[u32]| Credential::Sys(SysCredential::new(uid, gid, groups));
        let root = Squash::Root { uid: 7, gid: 8 };
        let all = Squash::All { uid: 7, gid: 8 };
        let cases = [
            (caller(0, 0, &[4]), Squash::None, (0, 0, vec![])),
            (caller(5, 6, &[4, 0]), Squash::None, (5, 6, vec![4, 0])),
            (caller(0, 0, &[0, 4]), root, (7, 8, vec![8, 4])),
            (caller(5, 6, &[0]), root, (5, 6, vec![8])),
            (caller(5, 6, &[4]), all, (7, 8, vec![])),
            (Credential::None, Squash::None, (ANONYMOUS_ID, ANONYMOUS_ID, vec![])),
        ];
        for (credential, squash, (uid, gid, groups)) in cases {
            let got = Identity::of(&credential, squash);
            assert_eq!(got, Identity(SysCredential::new(uid, gid, &groups)), "{credential:?} {squash:?}");
        }
    }
}
