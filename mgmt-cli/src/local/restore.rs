//! `dawn restore`: a data directory from what `dawn backup` wrote.
//!
//! The backup is proved to be whole before anything is touched. Files of the data directory are replaced one
//! by one, each as a whole; the tables are one change. Both can be repeated, so that a restore that was
//! interrupted is finished by another one.

use super::LocalCommand;
use crate::environment::Environment;
use crate::local::LOG;
use crate::terminal::stop_on_signals;
use dawn_bootd::command::Registry;
use dawn_bootd::database;
use dawn_bootd::failures::as_command_error;
use dawn_bootd::output::{CommandError, Deed, Done, ErrorKind, Out, Stop};
use dawn_bootd::owner::Owner;
use dawn_cluster::{Change, Edit, Model, ModelError, Snapshot, StoreAddress, StoreError, schema, utf8};
use dawn_commands::databases::backup::format::Backup;
use dawn_commands::edits::{self, Edits, FileDifference};
use dawn_commands::tables::tabrestore;
use dawn_serving::whole;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Restore a data directory from what dawn backup wrote
///
/// The daemon of the data directory must be stopped. All tables are replaced in one change, which `dawn undo`
/// takes back; files of the data directory that the backup does not hold stay. A damaged backup is refused
/// and nothing is changed.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The backup
    #[arg(value_name = "DIR", required = true)]
    directory: PathBuf,
    /// Data directory; made if it is missing
    #[arg(long, value_name = "DIR", default_value = "/var/lib/dawn")]
    data: PathBuf,
    /// Replace tables that have rows
    #[arg(long)]
    overwrite: bool,
    /// Show what would change without changing anything
    #[arg(long)]
    dry_run: bool,
}

impl LocalCommand for Args {
    const NAME: &'static str = "restore";
    const WRITES: bool = true;

    fn run(self, environment: &Environment, _: &Registry, out: &mut Out<'_>) -> Done {
        let from = environment.directory.join(&self.directory);
        let data = environment.directory.join(&self.data);
        let xcatcfg = environment.variable("XCATCFG");
        let backup = Backup::read(&from)?;
        let edits = edits(&backup)?;
        // If the model refuses the tables, no file is replaced.
        Snapshot::empty().preview(&edits)?;
        let address = address(&backup, &data, xcatcfg)?;
        let now = present(&data, &address)?;
        if self.dry_run {
            return show(&backup, &edits, &data, &now, out);
        }
        if !self.overwrite && schema().tables().iter().any(|table| now.row_count(table.id) > 0) {
            let place = match address.server() {
                None => data.display().to_string(),
                Some(server) => format!("the database {} on {}", server.dbname, server.host_names()),
            };
            let error = CommandError::conflict(format!("{place} has tables with rows"));
            let hint = "--dry-run shows what a restore would change; --overwrite replaces the tables.";
            return Err(error.hint(hint).into());
        }
        let rows = restore(&backup, edits, &from, &data, xcatcfg)?;
        let (files, change, data) = (backup.data.len(), backup.change, data.display().to_string());
        let line = format!("Restored {files} files and {rows} rows as of change {change} into {data}.");
        let restored = Deed::new("restored", "data directory", data);
        out.report(&restored.with("files", files).with("rows", rows).with("change", change).line(line))
    }
}

/// Replaces files and tables; the number of rows that were added, changed or removed.
fn restore(
    backup: &Backup,
    edits: Vec<Edit>,
    from: &Path,
    data: &Path,
    xcatcfg: Option<&str>,
) -> Result<usize, CommandError> {
    let failed = |path: &Path| {
        let text = format!("cannot write {}", path.display());
        |error: std::io::Error| CommandError::unavailable(text).cause(error)
    };
    // What init makes; nodes fetch files below it.
    DirBuilder::new().recursive(true).mode(0o755).create(data).map_err(failed(data))?;
    let _owner = Owner::take(data, "dawn restore")
        .map_err(|error| CommandError::conflict(error.to_string()).hint_of(&error))?;
    DirBuilder::new().recursive(true).mode(LOG.1).create(data.join(LOG.0)).map_err(failed(data))?;
    // From here on, Ctrl-C would leave the keys of one state with the tables of another.
    stop_on_signals();
    for (path, mode, bytes) in &backup.data {
        let path = data.join(path);
        if let Some(parent) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(failed(parent))?;
        }
        whole::write(&path, bytes, *mode).map_err(failed(&path))?;
    }
    let model = database::open(data, xcatcfg).map_err(|error| {
        as_command_error(ErrorKind::Unavailable, error).about("the database cannot be opened")
    })?;
    let head = Change::new("root", format!("dawn restore {}", from.display()), edits);
    let applied = model.apply(Change { numbered_after: backup.change, ..head })?;
    Ok(applied.change.rows.len())
}

/// The edits that make all tables what the backup says.
fn edits(backup: &Backup) -> Result<Vec<Edit>, Stop> {
    let mut bundle = String::new();
    for (name, bytes) in &backup.tables {
        let text = utf8::text(bytes.clone(), name).map_err(|error| Stop::conflict(error.to_string()))?;
        bundle.push_str(&tabrestore::bundled(name, &text));
    }
    let refused = |errors: Vec<CommandError>| {
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        Stop::conflict(texts.join("\n"))
    };
    tabrestore::edits_of_bundle(&bundle).map(Edits::into_list).map_err(refused)
}

/// The database that the data directory names after the restore.
fn address(backup: &Backup, data: &Path, xcatcfg: Option<&str>) -> Result<StoreAddress, CommandError> {
    let kept = backup.data.iter().find(|(path, _, _)| data.join(path) == database::cfgloc(data));
    let kept = kept.map(|(_, _, bytes)| String::from_utf8_lossy(bytes));
    match xcatcfg.or(kept.as_deref()) {
        Some(text) => StoreAddress::parse(text).map_err(|error| CommandError::usage(error.to_string())),
        None => database::address(data, None).map_err(|error| CommandError::usage(format!("{error:#}"))),
    }
}

/// The tables that are there now; none where no database is.
fn present(data: &Path, address: &StoreAddress) -> Result<Arc<Snapshot>, CommandError> {
    match Model::open_in(data, address) {
        Ok(model) => Ok(model.snapshot()),
        Err(ModelError::Store(StoreError::Missing { .. })) => Ok(Arc::new(Snapshot::empty())),
        Err(error) => Err(CommandError::from(error)
            .hint("If the database is damaged, move its file away and restore into an empty one.")),
    }
}

/// What would change: files, then rows.
fn show(backup: &Backup, edits: &[Edit], data: &Path, now: &Snapshot, out: &mut Out<'_>) -> Done {
    let mut differs = false;
    for (path, _, bytes) in &backup.data {
        let path = data.join(path);
        let sign = match std::fs::read(&path) {
            Ok(present) if present == *bytes => continue,
            Ok(_) => '~',
            Err(_) => '+',
        };
        differs = true;
        out.report(&FileDifference::of(sign, &path))?;
    }
    let changes = now.preview(edits)?;
    if differs && changes.is_empty() { Ok(()) } else { edits::show(&changes, out) }
}
