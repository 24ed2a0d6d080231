//! The tables on the daemon's own disk: `snapshot` of the data directory, from which a daemon serves that
//! starts while its database server is away.
//!
//! The file is written whole, with mode 0600, soon after a change and then at most once a minute, and at the
//! end of the daemon. SQLite is on this disk anyway and has none. A file that cannot be written is logged;
//! one that is damaged, or of another data directory or database, is refused with the reason, and the daemon
//! waits for its database as if there were none.

use dawn_cluster::saved::{self, Origin, SAVED_BYTES_MAX, Saved};
use dawn_cluster::{Model, StoreAddress};
use dawn_events::now_ms;
use dawn_serving::whole;
use dawn_xcatd::certificates::Authority;
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The file in a data directory.
const FILE: &str = "snapshot";
/// The tables have secrets.
const MODE: u32 = 0o600;
/// Time between two writings.
const PERIOD_MIN: Duration = Duration::from_secs(60);

/// Why there is no snapshot to serve from.
#[derive(Debug, thiserror::Error)]
#[error("{}: {reason}", path.display())]
pub(crate) struct Unusable {
    path: PathBuf,
    reason: Box<dyn std::error::Error + Send + Sync>,
}

/// The tables that were stored in a data directory; `None` if none were.
///
/// # Errors
/// The file is there and is not used.
pub(crate) fn read(data: &Path, address: &StoreAddress) -> Result<Option<Saved>, Unusable> {
    let path = data.join(FILE);
    let unusable = |reason| Unusable { path: path.clone(), reason };
    let Some(origin) = origin(data, address).map_err(|error| unusable(error.into()))? else {
        return Ok(None);
    };
    let bytes = match content(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unusable(error.into())),
    };
    saved::decode(&bytes, &origin).map(Some).map_err(|error| unusable(error.into()))
}

/// The bytes of a file that only this user can have written.
fn content(path: &Path) -> io::Result<Vec<u8>> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)?;
    let metadata = file.metadata()?;
    let own = rustix::process::geteuid().as_raw();
    if !metadata.is_file() || metadata.uid() != own || metadata.mode() & 0o022 != 0 {
        return Err(io::Error::other("it is not a file of this user, or other users can write it"));
    }
    if metadata.len() > SAVED_BYTES_MAX {
        return Err(io::Error::other("it is larger than any snapshot"));
    }
    let mut bytes = Vec::new();
    file.take(SAVED_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The identity of the tables of this data directory; `None` for those that are not on a server.
fn origin(data: &Path, address: &StoreAddress) -> io::Result<Option<Origin>> {
    let Some(server) = address.server() else { return Ok(None) };
    // Each data directory has its own authority; all data directories of a cluster share one.
    let authority = std::fs::read_to_string(Authority::new(data).ca_certificate())?;
    Ok(Some(Origin::new(&authority, address.engine(), server)))
}

/// Stores the tables again after changes.
#[derive(Debug)]
pub(crate) struct SavedTables {
    data: PathBuf,
    last: Mutex<Last>,
}

/// What is in the file.
#[derive(Debug, Default)]
struct Last {
    seq: Option<u64>,
    at: Option<Instant>,
}

impl SavedTables {
    /// Nothing was stored by this daemon yet.
    pub(crate) fn new(data: &Path) -> Self {
        Self { data: data.to_owned(), last: Mutex::default() }
    }

    /// Stores the tables if they have changed and the last time is long enough ago; `at_end` does not wait.
    pub(crate) fn keep_up(&self, model: &Model, at_end: bool) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let snapshot = model.snapshot();
        let is_early = !at_end && last.at.is_some_and(|at| at.elapsed() < PERIOD_MIN);
        // The tables that are served from the file itself have not changed.
        if is_early || last.seq == Some(snapshot.seq()) || model.away().is_some() {
            return;
        }
        let written = model.address().map_or(Ok(()), |address| self.write(&snapshot, &address));
        *last = Last { seq: Some(snapshot.seq()), at: Some(Instant::now()) };
        if let Err(error) = written {
            tracing::error!(%error, "the tables are not kept in {}", self.data.join(FILE).display());
        }
    }

    fn write(&self, snapshot: &dawn_cluster::Snapshot, address: &StoreAddress) -> io::Result<()> {
        let path = self.data.join(FILE);
        match origin(&self.data, address)? {
            Some(origin) => {
                let bytes = saved::encode(snapshot, &origin, i64::try_from(now_ms()).unwrap_or(i64::MAX));
                if bytes.len() as u64 > SAVED_BYTES_MAX {
                    return Err(io::Error::other("the tables are too large"));
                }
                whole::write(&path, &bytes, MODE)
            }
            // The tables have moved to this disk: secrets need no second place.
            None if path.exists() => std::fs::remove_file(&path),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dawn_cluster::Snapshot;
    use std::os::unix::fs::{PermissionsExt, symlink};

    struct Place {
        directory: tempfile::TempDir,
        address: StoreAddress,
    }

    impl Place {
        /// A data directory in which tables with a node are stored.
        fn new(authority: &str) -> Self {
            let directory = tempfile::tempdir().unwrap();
            let certificate = Authority::new(directory.path()).ca_certificate();
            std::fs::create_dir_all(certificate.parent().unwrap()).unwrap();
            std::fs::write(certificate, authority).unwrap();
            let address = StoreAddress::parse("Pg:dbname=x;host=a|u|hush hush").unwrap();
            let node: [(&str, &[(&str, &str)]); 1] = [("nodelist", &[("node", "n1")])];
            let place = Self { directory, address };
            let tables = SavedTables::new(place.directory.path());
            tables.write(&Snapshot::from_rows(node), &place.address).unwrap();
            place
        }

        fn file(&self) -> PathBuf {
            self.directory.path().join(FILE)
        }

        fn read(&self) -> String {
            match read(self.directory.path(), &self.address) {
                Ok(Some(saved)) => format!("{} node", saved.snapshot().node_count()),
                Ok(None) => "nothing".to_owned(),
                Err(error) => error.to_string().replace(&*self.file().to_string_lossy(), "FILE"),
            }
        }
    }

    #[test]
    fn tables_come_back_without_the_password_of_the_database() {
        let place = Place::new("me");
        assert_eq!(place.read(), "1 node");
        assert_eq!(place.file().metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!std::fs::read_to_string(place.file()).unwrap().contains("hush"));
        // On this disk there is no second place for them.
        let tables = SavedTables::new(place.directory.path());
        let here = StoreAddress::Sqlite(place.directory.path().to_owned());
        tables.write(&Snapshot::empty(), &here).unwrap();
        assert_eq!(place.read(), "nothing");
        tables.write(&Snapshot::empty(), &here).unwrap();
    }

    type Harm = fn(&Place);

    #[test]
    fn hostile_files() {
        let not_ours = "FILE: it is not a file of this user, or other users can write it";
        let cases: [(Harm, &str); 8] = [
            (|place| std::fs::remove_file(place.file()).unwrap(), "nothing"),
            (|place| std::fs::write(place.file(), "").unwrap(), "FILE: it is not a snapshot"),
            (
                |place| std::fs::write(place.file(), "dawn-snapshot 9 x").unwrap(),
                "FILE: it is not a snapshot",
            ),
            (
                |place| {
                    std::fs::write(Authority::new(place.directory.path()).ca_certificate(), "you").unwrap()
                },
                "FILE: it belongs to another data directory",
            ),
            (
                |place| std::fs::set_permissions(place.file(), PermissionsExt::from_mode(0o620)).unwrap(),
                not_ours,
            ),
            (
                |place| {
                    std::fs::rename(place.file(), place.directory.path().join("there")).unwrap();
                    symlink("there", place.file()).unwrap();
                },
                "FILE: Too many levels of symbolic links (os error 40)",
            ),
            (
                |place| {
                    std::fs::remove_file(place.file()).unwrap();
                    std::fs::create_dir(place.file()).unwrap();
                },
                not_ours,
            ),
            (
                |place| {
                    let file = OpenOptions::new().write(true).open(place.file()).unwrap();
                    file.set_len(SAVED_BYTES_MAX + 1).unwrap();
                },
                "FILE: it is larger than any snapshot",
            ),
        ];
        for (harm, expected) in cases {
            let place = Place::new("me");
            harm(&place);
            assert_eq!(place.read(), expected);
        }
    }

    #[test]
    fn what_is_served_from_the_file_is_not_stored_again() {
        let place = Place::new("me");
        std::fs::remove_file(place.file()).unwrap();
        let saved = dawn_cluster::saved::encode(
            &Snapshot::empty(),
            &origin(place.directory.path(), &place.address).unwrap().unwrap(),
            1,
        );
        std::fs::write(place.file(), saved).unwrap();
        std::fs::set_permissions(place.file(), PermissionsExt::from_mode(0o600)).unwrap();
        let found = read(place.directory.path(), &place.address).unwrap().unwrap();
        let error = dawn_cluster::StoreError::Silent;
        let model = Model::open_saved(place.directory.path(), &place.address, found, error);
        let before = std::fs::read(place.file()).unwrap();
        SavedTables::new(place.directory.path()).keep_up(&model, true);
        assert_eq!(std::fs::read(place.file()).unwrap(), before);
        assert!(model.away().is_some_and(|away| away.saved_at_ms == Some(1)));
    }
}
