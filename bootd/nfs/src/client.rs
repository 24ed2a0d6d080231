//! A small NFSv3 client for tests, the bench and the simulator: it blocks and trusts the server.
//!
//! Calls take and give the types of this crate; results hold what tests look at, not everything the
//! protocol carries.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use thiserror::Error;

use crate::handle::FileHandle;
use crate::nfs3::{self, SetAttributes, Time};
use crate::rpc::SysCredential;
use crate::xdr::{Reader, Writer, XdrError};
use crate::{mount, portmap};

/// Longest wait for a reply.
const REPLY_TIMEOUT: Duration = Duration::from_secs(30);

/// Why a call gave no result.
#[derive(Debug, Error)]
pub enum CallError {
    /// The connection failed.
    #[error("connection: {0}")]
    Io(#[from] io::Error),
    /// The reply is not what the protocol says.
    #[error("reply: {0}")]
    Xdr(#[from] XdrError),
    /// Refused at the RPC level; the words are reply, accept or reject state and detail.
    #[error("refused by RPC: {0:?}")]
    Rpc(Vec<u32>),
    /// The procedure failed with this status.
    #[error("status {0}")]
    Status(u32),
}

/// Result of a call.
pub type Called<T> = Result<T, CallError>;

/// Attributes as a client sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub struct Fattr {
    pub kind: u32,
    pub mode: u32,
    pub nlink: u32,
    pub uid: u32,
    pub gid: u32,
    pub size: u64,
    pub used: u64,
    pub rdev: (u32, u32),
    pub fsid: u64,
    pub fileid: u64,
    pub atime: Time,
    pub mtime: Time,
    pub ctime: Time,
}

/// One entry of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Entry {
    pub fileid: u64,
    pub name: Vec<u8>,
    pub cookie: u64,
    pub attributes: Option<Fattr>,
    pub handle: Option<FileHandle>,
}

fn read_fattr(r: &mut Reader<'_>) -> Result<Fattr, XdrError> {
    Ok(Fattr {
        kind: r.u32()?,
        mode: r.u32()?,
        nlink: r.u32()?,
        uid: r.u32()?,
        gid: r.u32()?,
        size: r.u64()?,
        used: r.u64()?,
        rdev: (r.u32()?, r.u32()?),
        fsid: r.u64()?,
        fileid: r.u64()?,
        atime: nfs3::read_time(r)?,
        mtime: nfs3::read_time(r)?,
        ctime: nfs3::read_time(r)?,
    })
}

fn read_post_op(r: &mut Reader<'_>) -> Result<Option<Fattr>, XdrError> {
    if r.bool()? { read_fattr(r).map(Some) } else { Ok(None) }
}

/// One connection, calling as one user.
pub struct Client {
    stream: TcpStream,
    /// Who calls; `None` is AUTH_NONE.
    pub credential: Option<SysCredential>,
    /// Transaction id of the next call.
    pub next_xid: u32,
}

impl Client {
    /// Connects, calling as root.
    pub fn connect(server: SocketAddr) -> io::Result<Self> {
        Self::over(TcpStream::connect(server)?)
    }

    /// Calls over a connection that exists.
    pub fn over(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(REPLY_TIMEOUT))?;
        // Two clients at one address must not use the same ids for different calls.
        let [_, _, _, _, xid @ ..] = RandomState::new().build_hasher().finish().to_be_bytes();
        let credential = Some(SysCredential::new(0, 0, &[]));
        Ok(Self { stream, credential, next_xid: u32::from_be_bytes(xid) })
    }

    /// The same connection's settings with other credentials.
    pub fn acting_as(mut self, uid: u32, gid: u32, groups: &[u32]) -> Self {
        self.credential = Some(SysCredential::new(uid, gid, groups));
        self
    }

    /// The bytes of a call, with record mark, and its xid.
    pub fn encode(&mut self, program: u32, version: u32, procedure: u32, args: &[u8]) -> (u32, Vec<u8>) {
        let xid = self.next_xid;
        self.next_xid = xid.wrapping_add(1);
        let mut w = Writer::default();
        for word in [0, xid, 0, 2, program, version, procedure] {
            w.u32(word);
        }
        match &self.credential {
            None => w.fixed(&[0; 8]),
            Some(c) => {
                w.u32(1);
                w.opaque(&credential_body(c));
            }
        }
        w.fixed(&[0; 8]);
        w.fixed(args);
        let len = u32::try_from(w.len() - 4).unwrap_or(0);
        w.patch_u32(0, len | 0x8000_0000);
        (xid, w.into_bytes())
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Receives one reply record.
    pub fn receive(&mut self) -> io::Result<Vec<u8>> {
        let mut header = [0; 4];
        self.stream.read_exact(&mut header)?;
        let mut record = vec![0; usize::try_from(u32::from_be_bytes(header) & 0x7fff_ffff).unwrap_or(0)];
        self.stream.read_exact(&mut record)?;
        Ok(record)
    }

    /// Calls and gives the results' bytes.
    pub fn call(&mut self, program: u32, version: u32, procedure: u32, args: &[u8]) -> Called<Vec<u8>> {
        let (xid, bytes) = self.encode(program, version, procedure, args);
        self.send(&bytes)?;
        let record = self.receive()?;
        let mut r = Reader::new(&record);
        let head = [r.u32()?, r.u32()?, r.u32()?];
        let state = [r.u32()?, r.u32()?, r.u32().unwrap_or(0)];
        if head != [xid, 1, 0] || state != [0, 0, 0] {
            return Err(CallError::Rpc([&head[1..], &state[..]].concat()));
        }
        Ok(r.rest().to_vec())
    }

    fn nfs<T>(
        &mut self,
        procedure: u32,
        args: impl FnOnce(&mut Writer),
        results: impl FnOnce(&mut Reader<'_>) -> Result<T, XdrError>,
    ) -> Called<T> {
        let mut w = Writer::default();
        args(&mut w);
        let bytes = self.call(nfs3::PROGRAM, 3, procedure, w.bytes())?;
        let mut r = Reader::new(&bytes);
        match r.u32()? {
            0 => Ok(results(&mut r)?),
            status => Err(CallError::Status(status)),
        }
    }

    /// MOUNT version 3 of `path`.
    pub fn mount(&mut self, path: &str) -> Called<FileHandle> {
        let mut w = Writer::default();
        w.opaque(path.as_bytes());
        let bytes = self.call(mount::PROGRAM, 3, 1, w.bytes())?;
        let mut r = Reader::new(&bytes);
        match r.u32()? {
            0 => Ok(nfs3::read_handle(&mut r)?),
            status => Err(CallError::Status(status)),
        }
    }

    /// GETPORT of the port mapper, protocol 6 is TCP.
    pub fn get_port(&mut self, program: u32, version: u32, protocol: u32) -> Called<u32> {
        let mut w = Writer::default();
        [program, version, protocol, 0].iter().for_each(|word| w.u32(*word));
        let bytes = self.call(portmap::PROGRAM, 2, 3, w.bytes())?;
        Ok(Reader::new(&bytes).u32()?)
    }

    /// GETATTR.
    pub fn getattr(&mut self, of: &FileHandle) -> Called<Fattr> {
        self.nfs(1, |w| w.opaque(of.as_bytes()), read_fattr)
    }

    /// SETATTR, with a guard on the change time if given.
    pub fn setattr(&mut self, of: &FileHandle, set: &SetAttributes, guard: Option<Time>) -> Called<()> {
        let args = |w: &mut Writer| {
            w.opaque(of.as_bytes());
            set.write(w);
            w.bool(guard.is_some());
            guard.iter().for_each(|t| {
                w.u32(t.sec);
                w.u32(t.nsec);
            });
        };
        self.nfs(2, args, |_| Ok(()))
    }

    /// LOOKUP.
    pub fn lookup(&mut self, dir: &FileHandle, name: &str) -> Called<(FileHandle, Fattr)> {
        let results = |r: &mut Reader<'_>| {
            let handle = nfs3::read_handle(r)?;
            Ok((handle, read_post_op(r)?.unwrap_or_default()))
        };
        self.nfs(3, |w| place(w, dir, name), results)
    }

    /// LOOKUP of each component of a relative path.
    pub fn walk(&mut self, root: &FileHandle, path: &str) -> Called<FileHandle> {
        path.split('/').filter(|p| !p.is_empty()).try_fold(*root, |dir, name| {
            let (handle, _) = self.lookup(&dir, name)?;
            Ok(handle)
        })
    }

    /// ACCESS: which of the `wanted` bits are granted.
    pub fn access(&mut self, of: &FileHandle, wanted: u32) -> Called<u32> {
        let args = |w: &mut Writer| {
            w.opaque(of.as_bytes());
            w.u32(wanted);
        };
        self.nfs(4, args, |r| {
            read_post_op(r)?;
            r.u32()
        })
    }

    /// READLINK.
    pub fn readlink(&mut self, of: &FileHandle) -> Called<Vec<u8>> {
        self.nfs(
            5,
            |w| w.opaque(of.as_bytes()),
            |r| {
                read_post_op(r)?;
                Ok(r.opaque(nfs3::SYMLINK_BYTES_MAX)?.to_vec())
            },
        )
    }

    /// READ: the data and whether the file ends with them.
    pub fn read(&mut self, of: &FileHandle, offset: u64, count: u32) -> Called<(Vec<u8>, bool)> {
        let args = |w: &mut Writer| {
            w.opaque(of.as_bytes());
            w.u64(offset);
            w.u32(count);
        };
        self.nfs(6, args, |r| {
            read_post_op(r)?;
            r.u32()?;
            let eof = r.bool()?;
            Ok((r.opaque(usize::MAX)?.to_vec(), eof))
        })
    }

    /// WRITE with `stable` 0, 1 or 2: bytes written and the write verifier.
    pub fn write(&mut self, to: &FileHandle, offset: u64, data: &[u8], stable: u32) -> Called<(u32, u64)> {
        let args = |w: &mut Writer| {
            w.opaque(to.as_bytes());
            w.u64(offset);
            w.u32(u32::try_from(data.len()).unwrap_or(0));
            w.u32(stable);
            w.opaque(data);
        };
        self.nfs(7, args, |r| {
            read_wcc(r)?;
            let count = r.u32()?;
            r.u32()?;
            Ok((count, r.u64()?))
        })
    }

    /// CREATE, unchecked or guarded.
    pub fn create(
        &mut self,
        dir: &FileHandle,
        name: &str,
        set: &SetAttributes,
        guarded: bool,
    ) -> Called<FileHandle> {
        self.nfs(
            8,
            |w| {
                place(w, dir, name);
                w.bool(guarded);
                set.write(w);
            },
            read_made,
        )
    }

    /// CREATE, exclusive.
    pub fn create_exclusive(&mut self, dir: &FileHandle, name: &str, verifier: u64) -> Called<FileHandle> {
        self.nfs(
            8,
            |w| {
                place(w, dir, name);
                w.u32(2);
                w.u64(verifier);
            },
            read_made,
        )
    }

    /// MKDIR.
    pub fn mkdir(&mut self, dir: &FileHandle, name: &str, set: &SetAttributes) -> Called<FileHandle> {
        self.nfs(
            9,
            |w| {
                place(w, dir, name);
                set.write(w);
            },
            read_made,
        )
    }

    /// SYMLINK.
    pub fn symlink(&mut self, dir: &FileHandle, name: &str, text: &str) -> Called<FileHandle> {
        self.nfs(
            10,
            |w| {
                place(w, dir, name);
                SetAttributes::default().write(w);
                w.opaque(text.as_bytes());
            },
            read_made,
        )
    }

    /// MKNOD; `kind` as in `ftype3`, `device` for character and block devices.
    pub fn mknod(
        &mut self,
        dir: &FileHandle,
        name: &str,
        kind: u32,
        set: &SetAttributes,
        device: (u32, u32),
    ) -> Called<FileHandle> {
        self.nfs(
            11,
            |w| {
                place(w, dir, name);
                w.u32(kind);
                set.write(w);
                if matches!(kind, 3 | 4) {
                    w.u32(device.0);
                    w.u32(device.1);
                }
            },
            read_made,
        )
    }

    /// REMOVE.
    pub fn remove(&mut self, dir: &FileHandle, name: &str) -> Called<()> {
        self.nfs(12, |w| place(w, dir, name), |_| Ok(()))
    }

    /// RMDIR.
    pub fn rmdir(&mut self, dir: &FileHandle, name: &str) -> Called<()> {
        self.nfs(13, |w| place(w, dir, name), |_| Ok(()))
    }

    /// RENAME.
    pub fn rename(&mut self, from: (&FileHandle, &str), to: (&FileHandle, &str)) -> Called<()> {
        self.nfs(
            14,
            |w| {
                place(w, from.0, from.1);
                place(w, to.0, to.1);
            },
            |_| Ok(()),
        )
    }

    /// LINK.
    pub fn link(&mut self, file: &FileHandle, dir: &FileHandle, name: &str) -> Called<()> {
        self.nfs(
            15,
            |w| {
                w.opaque(file.as_bytes());
                place(w, dir, name);
            },
            |_| Ok(()),
        )
    }

    /// One READDIR or READDIRPLUS: entries, and whether the directory ends with them.
    pub fn readdir_page(
        &mut self,
        dir: &FileHandle,
        cookie: u64,
        bytes: u32,
        plus: bool,
    ) -> Called<(Vec<Entry>, bool)> {
        let args = |w: &mut Writer| {
            w.opaque(dir.as_bytes());
            w.u64(cookie);
            w.u64(0);
            w.u32(bytes);
            if plus {
                w.u32(bytes);
            }
        };
        self.nfs(if plus { 17 } else { 16 }, args, |r| read_entries(r, plus))
    }

    /// A whole directory, in pages of `bytes`.
    pub fn readdir(&mut self, dir: &FileHandle, bytes: u32, plus: bool) -> Called<Vec<Entry>> {
        let mut all: Vec<Entry> = Vec::new();
        loop {
            let cookie = all.last().map_or(0, |e| e.cookie);
            let (mut entries, at_end) = self.readdir_page(dir, cookie, bytes, plus)?;
            all.append(&mut entries);
            if at_end {
                return Ok(all);
            }
        }
    }

    /// FSINFO: most bytes of a read and of a write.
    pub fn fsinfo(&mut self, of: &FileHandle) -> Called<(u32, u32)> {
        self.nfs(
            19,
            |w| w.opaque(of.as_bytes()),
            |r| {
                read_post_op(r)?;
                let words = [r.u32()?, r.u32()?, r.u32()?, r.u32()?];
                let [rtmax, _, _, wtmax] = words;
                Ok((rtmax, wtmax))
            },
        )
    }

    /// FSSTAT: total, free and available bytes.
    pub fn fsstat(&mut self, of: &FileHandle) -> Called<(u64, u64, u64)> {
        self.nfs(
            18,
            |w| w.opaque(of.as_bytes()),
            |r| {
                read_post_op(r)?;
                Ok((r.u64()?, r.u64()?, r.u64()?))
            },
        )
    }

    /// PATHCONF: most links and most bytes of a name.
    pub fn pathconf(&mut self, of: &FileHandle) -> Called<(u32, u32)> {
        self.nfs(
            20,
            |w| w.opaque(of.as_bytes()),
            |r| {
                read_post_op(r)?;
                Ok((r.u32()?, r.u32()?))
            },
        )
    }

    /// COMMIT of the whole file: the write verifier.
    pub fn commit(&mut self, of: &FileHandle) -> Called<u64> {
        self.nfs(
            21,
            |w| {
                w.opaque(of.as_bytes());
                w.u64(0);
                w.u32(0);
            },
            |r| {
                read_wcc(r)?;
                r.u64()
            },
        )
    }
}

/// The handle in the results of a MOUNT.
pub(crate) fn mounted_handle(results: &[u8]) -> Option<FileHandle> {
    let mut r = Reader::new(results);
    (r.u32().ok()? == 0).then(|| nfs3::read_handle(&mut r).ok())?
}

fn credential_body(c: &SysCredential) -> Vec<u8> {
    let mut w = Writer::default();
    w.u32(0);
    w.opaque(b"node");
    w.u32(c.uid);
    w.u32(c.gid);
    w.u32(u32::try_from(c.groups().len()).unwrap_or(0));
    c.groups().iter().for_each(|g| w.u32(*g));
    w.into_bytes()
}

fn place(w: &mut Writer, dir: &FileHandle, name: &str) {
    w.opaque(dir.as_bytes());
    w.opaque(name.as_bytes());
}

fn read_wcc(r: &mut Reader<'_>) -> Result<(), XdrError> {
    if r.bool()? {
        r.fixed(24)?;
    }
    read_post_op(r).map(drop)
}

fn read_made(r: &mut Reader<'_>) -> Result<FileHandle, XdrError> {
    if r.bool()? { nfs3::read_handle(r) } else { Err(XdrError::BadEnum(0)) }
}

fn read_entries(r: &mut Reader<'_>, plus: bool) -> Result<(Vec<Entry>, bool), XdrError> {
    read_post_op(r)?;
    r.u64()?;
    let mut entries = Vec::new();
    while r.bool()? {
        let (fileid, name, cookie) = (r.u64()?, r.opaque(nfs3::NAME_BYTES_MAX)?.to_vec(), r.u64()?);
        let attributes = if plus { read_post_op(r)? } else { None };
        let handle = if plus && r.bool()? { Some(nfs3::read_handle(r)?) } else { None };
        entries.push(Entry { fileid, name, cookie, attributes, handle });
    }
    Ok((entries, r.bool()?))
}
