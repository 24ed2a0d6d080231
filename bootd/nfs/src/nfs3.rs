//! Numbers and small types of NFS version 3 (RFC 1813): status codes, file types, attributes.

use rustix::io::Errno;

use crate::handle::{FileHandle, HANDLE_BYTES_MAX};
use crate::types::Stat;
pub use crate::types::Time;
use crate::xdr::{Reader, Writer, XdrError};

/// Program number of NFS.
pub const PROGRAM: u32 = 100_003;
/// Most bytes in one READ or WRITE over TCP.
pub const IO_BYTES_MAX: u32 = 1 << 20;
/// Most bytes in one READ or WRITE over UDP: what fits into one datagram with room for headers.
pub const IO_BYTES_MAX_UDP: u32 = 32 << 10;
/// Most bytes of a name on the wire that we look at; longer ones are GARBAGE_ARGS.
pub const NAME_BYTES_MAX_WIRE: usize = 4096;
/// Most bytes of a file name on Linux file systems (NAME_MAX).
pub const NAME_BYTES_MAX: usize = 255;
/// Most bytes of a symbolic link's text (PATH_MAX minus the terminator).
pub const SYMLINK_BYTES_MAX: usize = 4095;
/// Most bytes of such a text on the wire that we look at; longer ones are GARBAGE_ARGS.
pub const SYMLINK_BYTES_MAX_WIRE: usize = 64 << 10;

/// Failure codes of RFC 1813 §2.6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
#[allow(missing_docs)]
pub enum Status {
    Perm = 1,
    NoEnt = 2,
    Io = 5,
    Nxio = 6,
    Access = 13,
    Exist = 17,
    Xdev = 18,
    NoDev = 19,
    NotDir = 20,
    IsDir = 21,
    Inval = 22,
    FBig = 27,
    NoSpc = 28,
    RoFs = 30,
    MLink = 31,
    NameTooLong = 63,
    NotEmpty = 66,
    DQuot = 69,
    Stale = 70,
    BadHandle = 10001,
    NotSync = 10002,
    BadCookie = 10003,
    NotSupp = 10004,
    TooSmall = 10005,
    ServerFault = 10006,
    BadType = 10007,
    Jukebox = 10008,
}

impl Status {
    /// The code on the wire.
    pub fn code(self) -> u32 {
        self as u32
    }
}

impl From<Errno> for Status {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::PERM => Self::Perm,
            Errno::NOENT => Self::NoEnt,
            Errno::NXIO => Self::Nxio,
            Errno::ACCESS => Self::Access,
            Errno::EXIST => Self::Exist,
            // Something is mounted there; the client may not look behind it.
            Errno::BUSY => Self::Access,
            Errno::XDEV => Self::Xdev,
            Errno::NODEV => Self::NoDev,
            Errno::NOTDIR => Self::NotDir,
            Errno::ISDIR => Self::IsDir,
            Errno::INVAL => Self::Inval,
            Errno::FBIG => Self::FBig,
            Errno::NOSPC => Self::NoSpc,
            Errno::ROFS => Self::RoFs,
            Errno::MLINK => Self::MLink,
            Errno::NAMETOOLONG => Self::NameTooLong,
            Errno::NOTEMPTY => Self::NotEmpty,
            Errno::DQUOT => Self::DQuot,
            Errno::STALE => Self::Stale,
            Errno::OPNOTSUPP | Errno::NOSYS => Self::NotSupp,
            // The client tries again later: the shortage is ours and will pass.
            Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::AGAIN => {
                tracing::debug!(%errno, "the client is asked to repeat its call");
                Self::Jukebox
            }
            Errno::LOOP => Self::Inval,
            _ => Self::Io,
        }
    }
}

/// File types of RFC 1813 (`ftype3`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum FileType {
    Regular = 1,
    Directory = 2,
    Block = 3,
    Character = 4,
    Symlink = 5,
    Socket = 6,
    Fifo = 7,
}

impl FileType {
    /// From the type bits of a Linux mode.
    pub fn of_mode(mode: u32) -> Self {
        match mode & libc::S_IFMT {
            libc::S_IFDIR => Self::Directory,
            libc::S_IFBLK => Self::Block,
            libc::S_IFCHR => Self::Character,
            libc::S_IFLNK => Self::Symlink,
            libc::S_IFSOCK => Self::Socket,
            libc::S_IFIFO => Self::Fifo,
            _ => Self::Regular,
        }
    }
}

/// How SETATTR wants a time to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SetTime {
    /// Leave it.
    #[default]
    Keep,
    /// The server's clock.
    Server,
    /// This time.
    Client(Time),
}

/// Attributes to set (`sattr3`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub struct SetAttributes {
    pub mode: Option<u32>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub size: Option<u64>,
    pub atime: SetTime,
    pub mtime: SetTime,
}

fn optional<'a, T>(
    r: &mut Reader<'a>,
    read: impl FnOnce(&mut Reader<'a>) -> Result<T, XdrError>,
) -> Result<Option<T>, XdrError> {
    if r.bool()? { read(r).map(Some) } else { Ok(None) }
}

pub(crate) fn read_time(r: &mut Reader<'_>) -> Result<Time, XdrError> {
    Ok(Time { sec: r.u32()?, nsec: r.u32()? })
}

fn read_set_time(r: &mut Reader<'_>) -> Result<SetTime, XdrError> {
    match r.u32()? {
        0 => Ok(SetTime::Keep),
        1 => Ok(SetTime::Server),
        2 => Ok(SetTime::Client(read_time(r)?)),
        other => Err(XdrError::BadEnum(other)),
    }
}

impl SetAttributes {
    /// Reads a `sattr3`.
    pub fn read(r: &mut Reader<'_>) -> Result<Self, XdrError> {
        Ok(Self {
            mode: optional(r, Reader::u32)?,
            uid: optional(r, Reader::u32)?,
            gid: optional(r, Reader::u32)?,
            size: optional(r, Reader::u64)?,
            atime: read_set_time(r)?,
            mtime: read_set_time(r)?,
        })
    }

    /// Writes a `sattr3` (for clients).
    pub fn write(&self, w: &mut Writer) {
        for word in [self.mode, self.uid, self.gid] {
            w.bool(word.is_some());
            word.into_iter().for_each(|v| w.u32(v));
        }
        w.bool(self.size.is_some());
        self.size.into_iter().for_each(|v| w.u64(v));
        for time in [self.atime, self.mtime] {
            match time {
                SetTime::Keep => w.u32(0),
                SetTime::Server => w.u32(1),
                SetTime::Client(t) => {
                    w.u32(2);
                    w.u32(t.sec);
                    w.u32(t.nsec);
                }
            }
        }
    }
}

/// Reads a file handle argument. Handles longer than 64 bytes are not XDR of this protocol.
pub fn read_handle(r: &mut Reader<'_>) -> Result<FileHandle, XdrError> {
    let bytes = r.opaque(HANDLE_BYTES_MAX)?;
    FileHandle::from_wire(bytes).ok_or(XdrError::TooLong { len: bytes.len(), max: HANDLE_BYTES_MAX })
}

/// Attributes as sent: the kernel's, with the ids that the export shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes {
    /// The kernel's attributes.
    pub stat: Stat,
    /// File system id shown to the client.
    pub fsid: u64,
    /// File id shown to the client (the inode number, except in overlays).
    pub fileid: u64,
}

impl Attributes {
    /// Writes a `fattr3`.
    pub fn write(&self, w: &mut Writer) {
        let s = &self.stat;
        for word in [FileType::of_mode(s.mode) as u32, s.mode & 0o7777, s.nlink, s.uid, s.gid] {
            w.u32(word);
        }
        w.u64(s.size);
        w.u64(s.blocks.saturating_mul(512));
        w.u32(s.rdev_major);
        w.u32(s.rdev_minor);
        w.u64(self.fsid);
        w.u64(self.fileid);
        for t in [s.atime, s.mtime, s.ctime] {
            w.u32(t.sec);
            w.u32(t.nsec);
        }
    }
}

/// Writes a `post_op_attr`.
pub fn write_post_op(w: &mut Writer, attributes: Option<&Attributes>) {
    w.bool(attributes.is_some());
    if let Some(a) = attributes {
        a.write(w);
    }
}

/// Writes a `wcc_data`: what the object was before and is after.
pub fn write_wcc(w: &mut Writer, before: Option<&Attributes>, after: Option<&Attributes>) {
    w.bool(before.is_some());
    if let Some(a) = before {
        w.u64(a.stat.size);
        for t in [a.stat.mtime, a.stat.ctime] {
            w.u32(t.sec);
            w.u32(t.nsec);
        }
    }
    write_post_op(w, after);
}
