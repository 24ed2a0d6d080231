//! Small types that all parts of the server share.

/// Names an export inside file handles. It must mean the same export after a restart: derive it from
/// what is exported (see [`ExportId::of`]), never from a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExportId(pub u64);

impl ExportId {
    /// An id from words that identify the export, such as `["image", "/srv/install/netboot/…/rootimg"]`
    /// or `["live", "cn1"]`. Stable over restarts, upgrades and machines.
    pub fn of(words: &[&str]) -> Self {
        use std::hash::Hasher;
        let mut hasher = siphasher::sip::SipHasher24::new_with_keys(0x6461_776e, 0x6e66_7333);
        for word in words {
            hasher.write(word.as_bytes());
            hasher.write_u8(0xff);
        }
        Self(hasher.finish())
    }
}

/// Whether an export may be changed through NFS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// Every change is answered with NFS3ERR_ROFS.
    ReadOnly,
    /// Changes are made as far as the caller's credentials reach.
    ReadWrite,
}

/// A point in time as NFSv3 has it: seconds since 1970 in 32 bits, and nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, PartialOrd, Ord)]
pub struct Time {
    /// Seconds; times outside of 1970–2106 wrap, as in every NFSv3 server.
    pub sec: u32,
    /// Nanoseconds.
    pub nsec: u32,
}

/// What `statx` says about an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub struct Stat {
    pub mode: u32,
    pub nlink: u32,
    pub uid: u32,
    pub gid: u32,
    pub size: u64,
    pub blocks: u64,
    pub rdev_major: u32,
    pub rdev_minor: u32,
    pub dev: u64,
    pub ino: u64,
    pub mount: u64,
    pub atime: Time,
    pub mtime: Time,
    pub ctime: Time,
    /// Time of birth; zero where the file system does not know it.
    pub birth: Time,
}

impl Stat {
    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.mode & libc::S_IFMT == libc::S_IFDIR
    }

    /// Whether it is a regular file.
    pub fn is_file(&self) -> bool {
        self.mode & libc::S_IFMT == libc::S_IFREG
    }

    /// Whether it is a symbolic link.
    pub fn is_symlink(&self) -> bool {
        self.mode & libc::S_IFMT == libc::S_IFLNK
    }
}
