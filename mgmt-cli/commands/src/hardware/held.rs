//! What `makeconservercf` and `makegocons` have in common: who holds the consoles, and which nodes have one.

use crate::edits::keep_old;
use dawn_bootd::command::Ctx;
use dawn_bootd::output::{CommandError, Done, Out, Stop};
use dawn_cluster::{Snapshot, excerpt};
use dawn_hardware::console::place::{Place, is_on_demand, place};
use dawn_serving::bounded_read::{self, Refused};
use dawn_serving::whole;
use std::path::{Path, PathBuf};

/// Bytes of a configuration file of an outside console server.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// Mode of such a file; there is no secret in it.
const MODE: u32 = 0o644;

/// Who holds the consoles (`site.consoleservice`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    /// The daemon alone.
    Ours,
    Conserver,
    Goconserver,
    Confluent,
}

pub(super) fn service(snapshot: &Snapshot) -> Service {
    match snapshot.site("consoleservice").unwrap_or_default().trim() {
        "conserver" => Service::Conserver,
        "goconserver" => Service::Goconserver,
        "confluent" => Service::Confluent,
        _ => Service::Ours,
    }
}

/// Confluent has its own commands.
pub(super) fn confluent() -> Stop {
    let text = "site.consoleservice is confluent, which reads its consoles from its own configuration";
    CommandError::conflict(text)
        .hint("`chtab -d key=consoleservice site` leaves the consoles to the daemon.")
        .into()
}

/// Nothing is deleted, as nothing was made.
pub(super) fn nothing_to_delete(out: &mut Out<'_>) -> Done {
    out.warning(
        "Nothing is deleted: the daemon holds the consoles that the tables have. A console goes when nodehm.cons and \
         nodehm.serialport are cleared or the node is removed.",
    )
}

/// A node of the caller's, and the place of its console.
pub(super) struct Found {
    pub node: String,
    pub place: Option<Place>,
    pub on_demand: bool,
}

/// The nodes of a noderange; without one all that have a console.
pub(super) fn found(ctx: &Ctx<'_>, is_named: bool) -> Vec<Found> {
    let of = |node: &str| Found {
        node: node.to_owned(),
        place: place(&ctx.snapshot, node),
        on_demand: is_on_demand(&ctx.snapshot, node),
    };
    match is_named {
        true => ctx.nodes().iter().map(|node| of(node)).collect(),
        false => {
            let names = ctx.snapshot.node_names().filter(|name| ctx.view.covers(name));
            names.map(|name| of(name)).filter(|found| found.place.is_some()).collect()
        }
    }
}

impl Found {
    /// What the tables lack for a console, if they do.
    pub(super) fn lacks(&self) -> Option<String> {
        match &self.place {
            None => Some("neither cons nor serialport is set".to_owned()),
            Some(Place::Nowhere(why)) => Some(why.clone()),
            Some(_) => None,
        }
    }
}

/// A file of an outside console server, empty if it is not there.
pub(super) fn text_of(path: &Path) -> Result<String, Stop> {
    match bounded_read::read_text(path, FILE_BYTES_MAX) {
        Ok(text) => Ok(text),
        Err(Refused::Missing) => Ok(String::new()),
        Err(why) => Err(Stop::unavailable(format!("{}: {why}", path.display()))),
    }
}

/// Replaces such a file; the old one stays as `.xcatbak`.
pub(super) fn write(path: &Path, new: &str) -> Done {
    let written = keep_old(path, MODE).and_then(|()| whole::write(path, new.as_bytes(), MODE));
    written.map_err(|error| Stop::unavailable(format!("{}: {error}", path.display())))
}

/// The path that a key of `site` names.
pub(super) fn path_of(snapshot: &Snapshot, key: &str, default: &str) -> Result<PathBuf, Stop> {
    let text = snapshot.site(key).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    let path = PathBuf::from(text.as_deref().unwrap_or(default));
    match path.is_absolute() && path.components().all(|part| part != std::path::Component::ParentDir) {
        true => Ok(path),
        false => Err(Stop::conflict(format!(
            "site.{key} is not an absolute path: {}",
            excerpt(&path.to_string_lossy())
        ))),
    }
}

/// Whether a node's name may be written to a file of an outside console server.
pub(super) fn is_plain(node: &str) -> bool {
    !node.starts_with('-') && node.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
}
