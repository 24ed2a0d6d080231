//! Synclists of this machine: read, with the files that they name looked up.

use dawn_bootd::output::Stop;
use dawn_remote::synclist::{self, FileKind, Files, LIST_BYTES_MAX, Plan, Synclist, SynclistError, Wanted};
use dawn_serving::bounded_read::{self, Refused};
use dawn_serving::disks::within;
use std::io;
use std::path::Path;

/// Parts and originals on nodes, without `site.nodesyncfiledir`.
pub const NODE_DIRECTORY: &str = "/var/xcat/node/syncfiles";

/// Reads a list of this machine.
///
/// # Errors
/// It cannot be read, or a line cannot be carried out.
pub fn read(list: &Path) -> Result<Synclist, Stop> {
    read_list(list).map_err(|error| refused(&error))
}

/// Why a list cannot be used, as far as it is for all nodes.
pub fn problem(list: &Path) -> Option<String> {
    read_list(list).and_then(image_plan).err().map(|error| error.to_string())
}

fn read_list(list: &Path) -> Result<Synclist, SynclistError> {
    let text_of = |path: &Path| {
        bounded_read::read_text(path, LIST_BYTES_MAX).map_err(|why| match why {
            Refused::Missing => SynclistError::Missing(path.to_owned()),
            Refused::Long(_) => SynclistError::Long(path.to_owned()),
            why => SynclistError::Unread { path: path.to_owned(), why: io::Error::other(why) },
        })
    };
    synclist::read(list, &text_of)
}

/// What a list means for an image.
///
/// # Errors
/// A file is missing, or cannot be what the list wants it to be.
pub fn plan_for_image(list: Synclist) -> Result<Plan, Stop> {
    image_plan(list).map_err(|error| refused(&error))
}

fn image_plan(list: Synclist) -> Result<Plan, SynclistError> {
    let wanted = Wanted { is_in: &|_| false, value: &|_| None, directory: NODE_DIRECTORY };
    list.for_image().plan(&wanted, &OnDisk)
}

/// What a command says of a list that cannot be used.
pub fn refused(error: &SynclistError) -> Stop {
    match error {
        SynclistError::Missing(_) => Stop::not_found(error.to_string()),
        error => Stop::usage(error.to_string()),
    }
}

/// The files of this machine.
pub struct OnDisk;

impl Files for OnDisk {
    fn kind(&self, path: &str) -> io::Result<Option<FileKind>> {
        match within(Path::new(path), |path| std::fs::metadata(path)).map_err(io::Error::other)? {
            Ok(meta) if meta.is_file() => Ok(Some(FileKind::File)),
            Ok(meta) if meta.is_dir() => Ok(Some(FileKind::Directory)),
            Ok(_) => Ok(Some(FileKind::Other)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn names(&self, directory: &str) -> io::Result<Vec<String>> {
        let read = |directory: &Path| -> io::Result<Vec<String>> {
            let not_text = |_| io::Error::other("a name in it is not UTF-8");
            std::fs::read_dir(directory)?
                .map(|entry| entry?.file_name().into_string().map_err(not_text))
                .collect()
        };
        within(Path::new(directory), read).map_err(io::Error::other)?
    }
}
