//! Exports of the administrator's own, besides those that follow from the tables: the file `exports` in the
//! data directory, in the form of exports(5).
//!
//! ```text
//! # directory   clients(options) …
//! /srv/scratch  10.1.0.0/16(rw,no_root_squash) 10.2.0.5(ro)
//! "/srv/with space"  *
//! ```
//!
//! A client is an address, a network (`address/bits`) or `*`; the first that fits counts. Options are `ro`
//! (default) and `rw`, `root_squash` (default), `no_root_squash` and `all_squash`, `anonuid=N` and
//! `anongid=N` (65534), `secure` (default: calls from ports below 1024 only) and `insecure`, and `auth_none`
//! (calls without credentials are served, as the anonymous user), and `devices` (clients may make device
//! nodes, which this machine's users can then reach). What concerns the kernel's server only (`sync`,
//! `async`, `no_subtree_check`, …) is accepted and does nothing.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dawn_cluster::Advised;
use dawn_nfs::{Access, Export, ExportId, Exports, Listed, Mounted, Question, Refusal, Squash};

/// File of the data directory.
pub const FILE: &str = "exports";
/// Most bytes of the file.
const FILE_BYTES_MAX: usize = 1 << 20;
/// The anonymous user and group, by custom.
const ANONYMOUS: u32 = 65534;
/// Options of the kernel's server that mean nothing here.
const IGNORED: [&str; 9] = [
    "sync",
    "async",
    "subtree_check",
    "no_subtree_check",
    "wdelay",
    "no_wdelay",
    "hide",
    "nohide",
    "no_all_squash",
];

/// The file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ExtraError {
    /// It cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A line is wrong.
    #[error("{path}, line {line}: {reason}")]
    Line {
        /// The file.
        path: PathBuf,
        /// Number of the line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: LineError,
    },
}

impl Advised for ExtraError {
    fn hint(&self) -> Option<String> {
        let form =
            "a line is a directory and its clients, such as `/srv/data 10.1.0.0/16(rw,no_root_squash)`";
        matches!(self, Self::Line { .. }).then(|| form.to_owned())
    }
}

/// What is wrong with a line.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// A quoted path does not end.
    #[error("a quote is not closed")]
    Quote,
    /// A directory that cannot be exported.
    #[error("'{}' is not an absolute path of a directory below /", .0.display())]
    Path(PathBuf),
    /// No client could mount it.
    #[error("{} cannot be mounted: it has no clients", .0.display())]
    NoClients(PathBuf),
    /// A client that cannot be read.
    #[error("'{0}' is neither an address, nor a network (10.1.0.0/16), nor *")]
    Client(String),
    /// The options of a client do not end.
    #[error("'{0}' lacks its )")]
    Options(String),
    /// An option without its number.
    #[error("'{0}' needs a number")]
    Number(String),
    /// An unknown option.
    #[error("there is no option '{0}'")]
    Option(String),
}

/// One directory for one class of clients.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Extra {
    path: PathBuf,
    client: Client,
    access: Access,
    squash: Squash,
    secure: bool,
    auth_none: bool,
    devices: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Client {
    Everybody,
    /// Address and number of leading bits that count.
    Network(IpAddr, u32),
}

/// What the tables grant, and what the file grants besides.
pub struct WithExtras<E> {
    tables: E,
    extras: Vec<Extra>,
}

impl<E> WithExtras<E> {
    /// Reads the file of the data directory, if there is one.
    pub fn open(tables: E, data: &Path) -> Result<Self, ExtraError> {
        let path = data.join(FILE);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) if text.len() <= FILE_BYTES_MAX => text,
            Ok(_) => {
                let source = std::io::Error::other(format!("it is larger than {FILE_BYTES_MAX} bytes"));
                return Err(ExtraError::Read { path, source });
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(source) => return Err(ExtraError::Read { path, source }),
        };
        Self::of(tables, &text).map_err(|(line, reason)| ExtraError::Line { path, line, reason })
    }

    /// The same from the text of the file; or the number of a line and what is wrong with it.
    pub(crate) fn of(tables: E, text: &str) -> Result<Self, (usize, LineError)> {
        Ok(Self { tables, extras: parse(text)? })
    }

    fn of_client(&self, client: IpAddr) -> impl Iterator<Item = &Extra> {
        let fits = move |(at, extra): &(usize, &Extra)| {
            // The first client of a directory that fits decides, as in exports(5).
            let before = self.extras.iter().take(*at);
            extra.client.covers(client)
                && !before.clone().any(|other| other.path == extra.path && other.client.covers(client))
        };
        self.extras.iter().enumerate().filter(fits).map(|(_, extra)| extra)
    }
}

impl Client {
    fn covers(self, address: IpAddr) -> bool {
        match (self, address) {
            (Self::Everybody, _) => true,
            (Self::Network(IpAddr::V4(net), bits), IpAddr::V4(address)) => {
                let differing = u32::from(net) ^ u32::from(address);
                differing.leading_zeros() >= bits
            }
            (Self::Network(IpAddr::V6(net), bits), IpAddr::V6(address)) => {
                (u128::from(net) ^ u128::from(address)).leading_zeros() >= bits
            }
            (Self::Network(..), _) => false,
        }
    }

    fn parse(text: &str) -> Result<Self, LineError> {
        if text == "*" {
            return Ok(Self::Everybody);
        }
        let wrong = || LineError::Client(text.to_owned());
        let (address, bits) = text.split_once('/').map_or((text, None), |(a, b)| (a, Some(b)));
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(most), str::parse).map_err(|_| wrong())?;
        if bits > most { Err(wrong()) } else { Ok(Self::Network(address, bits)) }
    }
}

impl Extra {
    /// The id names directory and way of access, so that a handle does not outlive a change of either.
    fn export(&self) -> Export {
        let way = format!("{:?} {:?}", self.access, self.squash);
        let id = ExportId::of(&["extra", &self.path.to_string_lossy(), &way]);
        Export {
            access: self.access,
            squash: self.squash,
            allow_auth_none: self.auth_none,
            devices: self.devices,
            require_privileged_port: self.secure,
            ..Export::read_only(id, &self.path)
        }
    }

    fn parse(path: &Path, text: &str) -> Result<Self, LineError> {
        let (client, options) = match text.split_once('(') {
            Some((client, options)) => {
                (client, options.strip_suffix(')').ok_or_else(|| LineError::Options(text.to_owned()))?)
            }
            None => (text, ""),
        };
        let mut extra = Self {
            path: path.to_owned(),
            client: Client::parse(if client.is_empty() { "*" } else { client })?,
            access: Access::ReadOnly,
            squash: Squash::None,
            secure: true,
            auth_none: false,
            devices: false,
        };
        let (mut all, mut root, mut uid, mut gid) = (false, true, ANONYMOUS, ANONYMOUS);
        for option in options.split(',').filter(|option| !option.is_empty()) {
            let number = |text: &str| text.parse().map_err(|_| LineError::Number(option.to_owned()));
            match option.split_once('=').unwrap_or((option, "")) {
                ("ro", "") => extra.access = Access::ReadOnly,
                ("rw", "") => extra.access = Access::ReadWrite,
                ("root_squash", "") => root = true,
                ("no_root_squash", "") => root = false,
                ("all_squash", "") => all = true,
                ("anonuid", text) => uid = number(text)?,
                ("anongid", text) => gid = number(text)?,
                ("secure", "") => extra.secure = true,
                ("insecure", "") => extra.secure = false,
                ("auth_none", "") => extra.auth_none = true,
                ("devices", "") => extra.devices = true,
                (name, "") if IGNORED.contains(&name) => (),
                _ => return Err(LineError::Option(option.to_owned())),
            }
        }
        extra.squash = match (all, root) {
            (true, _) => Squash::All { uid, gid },
            (false, true) => Squash::Root { uid, gid },
            (false, false) => Squash::None,
        };
        Ok(extra)
    }
}

/// The exports of a file, or the number of a line and what is wrong with it.
fn parse(text: &str) -> Result<Vec<Extra>, (usize, LineError)> {
    let mut extras = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (path, clients) = match line.strip_prefix('"') {
            Some(rest) => rest.split_once('"').ok_or((number, LineError::Quote))?,
            None => line.split_once(char::is_whitespace).unwrap_or((line, "")),
        };
        // One spelling of each directory: it is part of the export's id.
        let path = &Path::new(path).components().collect::<PathBuf>();
        let plain = path.components().all(|part| !matches!(part, std::path::Component::ParentDir));
        if !path.is_absolute() || !plain || path == Path::new("/") {
            return Err((number, LineError::Path(path.clone())));
        }
        let clients: Vec<&str> = clients.split_whitespace().collect();
        if clients.is_empty() {
            return Err((number, LineError::NoClients(path.clone())));
        }
        for client in clients {
            extras.push(Extra::parse(path, client).map_err(|reason| (number, reason))?);
        }
    }
    Ok(extras)
}

impl<E: Exports> Exports for WithExtras<E> {
    fn disk(&self, client: IpAddr, question: Question<'_>) -> Option<PathBuf> {
        let mut extras = self.of_client(client);
        let extra = match question {
            Question::Mount(path) => extras.find(|extra| Path::new(path).starts_with(&extra.path)),
            Question::ById(id) => extras.find(|extra| extra.export().id == id),
            Question::List => None,
        };
        let tables = self.tables.disk(client, question);
        // By id one of the two knows it; a path is asked of the tables first.
        match question {
            Question::ById(_) => extra.map(|extra| extra.path.clone()).or(tables),
            _ => tables.or_else(|| extra.map(|extra| extra.path.clone())),
        }
    }

    fn mount(&self, client: IpAddr, path: &str) -> Result<Mounted, Refusal> {
        let refusal = match self.tables.mount(client, path) {
            Ok(mounted) => return Ok(mounted),
            Err(refusal) => refusal,
        };
        let within = |extra: &&Extra| Path::new(path).starts_with(&extra.path);
        let extra = self.of_client(client).filter(within).max_by_key(|extra| extra.path.components().count());
        let Some(extra) = extra else { return Err(refusal) };
        let subdir = Path::new(path).strip_prefix(&extra.path).map(Path::to_path_buf).unwrap_or_default();
        Ok(Mounted { export: Arc::new(extra.export()), subdir })
    }

    fn by_id(&self, client: IpAddr, id: ExportId) -> Result<Arc<Export>, Refusal> {
        let extra = self.of_client(client).map(Extra::export).find(|export| export.id == id);
        extra.map_or_else(|| self.tables.by_id(client, id), |export| Ok(Arc::new(export)))
    }

    fn generation(&self) -> u64 {
        self.tables.generation()
    }

    fn is_known(&self, client: IpAddr) -> bool {
        self.tables.is_known(client) || self.of_client(client).next().is_some()
    }

    fn list(&self, client: IpAddr) -> Vec<Listed> {
        let path = |extra: &Extra| extra.path.display().to_string();
        let own = self
            .of_client(client)
            .map(|extra| Listed { path: path(extra), groups: vec![client.to_string()] });
        self.tables.list(client).into_iter().chain(own).collect()
    }

    fn materialise(&self, export: ExportId, path: &Path) -> std::io::Result<PathBuf> {
        self.tables.materialise(export, path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Root of the export, directory in it, access, squashing, whether the port must be privileged.
    type Want<'a> = (&'a Path, &'a str, Access, Squash, bool);

    const ANON: Squash = Squash::Root { uid: ANONYMOUS, gid: ANONYMOUS };

    fn open(text: &str) -> Result<WithExtras<dawn_nfs::FixedExports>, ExtraError> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), text).unwrap();
        WithExtras::open(dawn_nfs::FixedExports::default(), dir.path())
    }

    #[test]
    fn who_gets_what() {
        let text = "# mine\n/srv/data 10.1.0.5(rw,no_root_squash,sync) 10.1.0.0/24(ro)\n\
             /srv/data/deep\t*(rw,all_squash,anonuid=7,anongid=8,insecure)\n\"/srv/a b\" fd00::/8\n/srv/./twice////////// *\n/srv/twice/deep *\n";
        let extras = open(text).unwrap();
        let data = Path::new("/srv/data");
        let cases: [(&str, &str, Option<Want<'_>>); 10] = [
            ("10.1.0.5", "/srv/data", Some((data, "", Access::ReadWrite, Squash::None, true))),
            ("10.1.0.6", "/srv/data/x/y", Some((data, "x/y", Access::ReadOnly, ANON, true))),
            ("10.1.1.6", "/srv/data", None),
            ("10.1.0.5", "/srv/database", None),
            ("10.1.0.5", "/srv", None),
            ("fd12::1", "/srv/a b", Some((Path::new("/srv/a b"), "", Access::ReadOnly, ANON, true))),
            ("fe12::1", "/srv/a b", None),
            ("10.1.0.5", "/srv/a b", None),
            (
                "10.1.0.5",
                "/srv/twice/deep",
                Some((Path::new("/srv/twice/deep"), "", Access::ReadOnly, ANON, true)),
            ),
            (
                "10.9.9.9",
                "/srv/data/deep",
                Some((
                    Path::new("/srv/data/deep"),
                    "",
                    Access::ReadWrite,
                    Squash::All { uid: 7, gid: 8 },
                    false,
                )),
            ),
        ];
        for (client, path, want) in cases {
            let client: IpAddr = client.parse().unwrap();
            let got = extras.mount(client, path).ok();
            let got = got.as_ref().map(|m| {
                let export = &m.export;
                let subdir = m.subdir.to_str().unwrap();
                (export.root.as_path(), subdir, export.access, export.squash, export.require_privileged_port)
            });
            assert_eq!(got, want, "{client} {path}");
            if let Ok(mounted) = extras.mount(client, path) {
                assert_eq!(extras.by_id(client, mounted.export.id).unwrap().root, mounted.export.root);
                let stranger = "192.0.2.1".parse().unwrap();
                assert_eq!(extras.by_id(stranger, mounted.export.id).is_ok(), path.ends_with("deep"));
            }
        }
    }

    #[test]
    fn lines_that_are_refused() {
        let cases = [
            ("srv/data *", "'srv/data' is not an absolute path"),
            ("/ *", "'/' is not an absolute path of a directory below /"),
            ("/srv/../etc *", "is not an absolute path"),
            ("/srv", "it has no clients"),
            ("\n/srv cn1(rw)", "line 2: 'cn1' is neither an address"),
            ("/srv 10.0.0.0/33", "'10.0.0.0/33' is neither"),
            ("/srv *(rw", "lacks its )"),
            ("/srv *(rw,fsid=0)", "there is no option 'fsid=0'"),
            ("/srv *(anonuid=x)", "'anonuid=x' needs a number"),
            ("\"/srv *", "a quote is not closed"),
        ];
        for (text, want) in cases {
            let error = open(text).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains(want), "{text:?}: {error:?}");
        }
        assert!(open("").is_ok());
    }
}
