//! The one way of commands to write: collect edits, then show or apply them as one change.

use crate::{addresses, conflicts, next_boot, typos, unusable};
use dawn_bootd::command::Ctx;
use dawn_bootd::command::disk::look;
use dawn_bootd::command::redact;
use dawn_bootd::discovery::{Options, SITE_KEY};
use dawn_bootd::output::{CommandError, Deed, Done, Lines, Out, Report, Stop};
use dawn_bootd::write_rights;
use dawn_cluster::secrets::{self, MASK, Sensitivity};
use dawn_cluster::{
    Away, Col, Edit, EditError, NodeName, Purpose, RowChange, RowChangeKind, Snapshot, Table, Text, col,
    own_directory,
};
use dawn_plan::local_path;
use dawn_serving::disks::within;
use dawn_serving::whole;
use dawn_statelite::site_keys_of;
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// Edits of one command.
#[derive(Debug, Default)]
pub struct Edits(Vec<Edit>);

impl Edits {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Nothing was asked for.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds any edit.
    pub fn push(&mut self, edit: Edit) {
        self.0.push(edit);
    }

    /// Adds edits of another list.
    pub fn extend(&mut self, edits: impl IntoIterator<Item = Edit>) {
        self.0.extend(edits);
    }

    /// The edits alone.
    pub fn into_list(self) -> Vec<Edit> {
        self.0
    }

    /// Updates the rows in which all keys hold, or makes one.
    pub fn set(&mut self, table: &Table, keys: Vec<(Col, String)>, values: Vec<(Col, String)>) {
        let values = values.into_iter().map(|(col, text)| (col, Some(Text::from(text)))).collect();
        self.0.push(Edit::Set { table: table.id, keys: texts(keys), values });
    }

    /// A new row.
    pub fn insert(&mut self, table: &Table, values: Vec<(Col, String)>) {
        let cells = values.into_iter().map(|(col, text)| (col, Some(Text::from(text)))).collect();
        self.0.push(Edit::Insert { table: table.id, cells });
    }

    /// Removes the rows in which all keys hold.
    pub fn delete(&mut self, keys: &[(Col, String)], table: &Table) {
        self.0.push(Edit::Delete { table: table.id, keys: texts(keys.to_vec()) });
    }
}

/// Computes edits from the newest state and makes them one change, or shows what they would do; warns of what
/// does not work afterwards.
///
/// No other change comes between that state and this one. `compute` only computes: its messages to the caller
/// are held back until the model is free again. A refused change has changed nothing. A database that is away
/// is waited for.
pub fn transact(
    ctx: &Ctx<'_>,
    out: &mut Out<'_>,
    dry_run: bool,
    compute: impl FnOnce(&Snapshot, &mut Out<'_>) -> Result<Edits, Stop>,
) -> Done {
    carry_out(ctx, out, dry_run, compute, |rows, out| if dry_run { show(rows, out) } else { Ok(()) })
}

/// The same for a command that prints nothing about what it did: with `--json` it lists the rows.
pub fn transact_rows(
    ctx: &Ctx<'_>,
    out: &mut Out<'_>,
    dry_run: bool,
    compute: impl FnOnce(&Snapshot, &mut Out<'_>) -> Result<Edits, Stop>,
) -> Done {
    carry_out(ctx, out, dry_run, compute, |rows, out| match dry_run {
        true => show(rows, out),
        false => rows.iter().try_for_each(|row| out.report(&deed(row))),
    })
}

/// The same for rows that are a part of what a command does: a dry run without a row that differs says
/// nothing of them.
pub fn transact_part(
    ctx: &Ctx<'_>,
    out: &mut Out<'_>,
    dry_run: bool,
    compute: impl FnOnce(&Snapshot, &mut Out<'_>) -> Result<Edits, Stop>,
) -> Done {
    carry_out(ctx, out, dry_run, compute, |rows, out| match dry_run {
        true => differences(rows, out),
        false => Ok(()),
    })
}

/// What was done to a row.
fn deed(change: &RowChange) -> Deed {
    let action = match change.kind {
        RowChangeKind::Inserted => "created",
        RowChangeKind::Updated => "modified",
        RowChangeKind::Deleted => "removed",
    };
    Deed::new(action, "row", keys_of(change).join(",")).with("table", change.table.name())
}

fn carry_out(
    ctx: &Ctx<'_>,
    out: &mut Out<'_>,
    dry_run: bool,
    compute: impl FnOnce(&Snapshot, &mut Out<'_>) -> Result<Edits, Stop>,
    report: impl FnOnce(&[RowChange], &mut Out<'_>) -> Done,
) -> Done {
    let out = RefCell::new(out);
    let may_know = std::cell::Cell::new(true);
    let before = &ctx.snapshot;
    let compute = |snapshot: &Snapshot, out: &mut Out<'_>| {
        let edits = compute(snapshot, out)?;
        keep_settings(ctx, &edits)?;
        keep_own_directory(ctx, snapshot, &edits)?;
        keep_run(ctx, snapshot, &edits)?;
        write_rights::check(ctx, snapshot, &edits.0)?;
        let compared = keep_secrets(ctx, &edits);
        if dry_run {
            compared?;
        } else {
            may_know.set(compared.is_ok());
        }
        Ok::<_, Stop>(edits)
    };
    let result = if dry_run {
        let would = |edits: Edits| Ok(before.outcome(&edits.0)?);
        compute(before, &mut out.borrow_mut()).and_then(would).map(|(rows, after)| (rows, Arc::new(after)))
    } else {
        let write = |snapshot: &Snapshot| {
            let out = &mut out.borrow_mut();
            out.hold();
            compute(snapshot, out).map(|edits| (edits.0, ()))
        };
        let mut wait = ctx.patience.of_command();
        let waits = |away: &Away| wait.goes_on(away, &mut out.borrow_mut());
        let written = ctx.model.transact_patiently(ctx.change_head(), waits, write);
        written.map(|(applied, ())| (applied.change.rows.clone(), applied.snapshot))
    };
    let out = out.into_inner();
    out.release()?;
    let (rows, after) = result?;
    report(if may_know.get() { &rows } else { &[] }, out)?;
    if ctx.view.limits().is_some() {
        // The warnings compare with nodes that this caller may not see.
        return Ok(());
    }
    addresses::warn_dhcp(&rows, before, &after, ctx.boot, out)?;
    addresses::warn(&rows, before, &after, ctx.boot, out)?;
    conflicts::warn(&rows, before, &after, out)?;
    next_boot::warn(&rows, before, &after, out)?;
    typos::warn(&rows, &after, out)?;
    unusable::warn(&rows, &after, ctx.registry, out)
}

/// A dry run, and the list of changed rows, say whether a value was there already: what could be a secret
/// is compared for root alone.
fn keep_secrets(ctx: &Ctx<'_>, edits: &Edits) -> Done {
    if ctx.view.is_root() {
        return Ok(());
    }
    let (key, value) = (col::site::KEY, col::site::VALUE);
    for edit in &edits.0 {
        let (keys, cells) = match edit {
            Edit::Set { keys, values, .. } => (keys.as_slice(), values.as_slice()),
            Edit::Insert { cells, .. } => (&[][..], cells.as_slice()),
            Edit::Delete { .. } => continue,
        };
        let filled = cells.iter().filter_map(|(col, text)| Some((col, text.as_ref()?)));
        let mut all = keys.iter().map(|(col, text)| (col, text)).chain(filled);
        let open = all.any(|(col, text)| *col == key && secrets::of_site_key(text) == Sensitivity::Open);
        let compared = cells.iter().map(|(col, _)| *col).filter(|col| !(open && *col == value));
        compared.into_iter().try_for_each(|col| ctx.view.may_compare(col))?;
    }
    Ok(())
}

/// Columns whose cells have variables that are resolved for a node.
const LOCATIONS: [Col; 2] = [col::litetree::DIRECTORY, col::statelite::STATEMNT];

/// The cells of [`LOCATIONS`] that edits write.
fn locations(edits: &Edits) -> impl Iterator<Item = (Col, &str)> {
    cells_of(edits, &LOCATIONS)
}

/// The cells of some columns that edits fill; emptied ones name nothing.
fn cells_of<'e>(edits: &'e Edits, wanted: &'e [Col]) -> impl Iterator<Item = (Col, &'e str)> {
    let cells = edits.0.iter().flat_map(|edit| match edit {
        Edit::Set { values: cells, .. } | Edit::Insert { cells, .. } => cells.as_slice(),
        Edit::Delete { .. } => &[],
    });
    let filled = cells.filter_map(|(col, text)| Some((*col, text.as_deref()?)));
    filled.filter(|(col, text)| wanted.contains(col) && !text.is_empty())
}

/// A variable reveals its value: only root may let it name a setting that is not declared open.
fn keep_settings(ctx: &Ctx<'_>, edits: &Edits) -> Done {
    let mut keys = locations(edits).flat_map(|(_, cell)| site_keys_of(cell));
    keys.try_for_each(|key| ctx.view.may_use_setting(key))
}

/// Refuses to give nodes the directory in which the daemon keeps its keys and tables.
fn keep_own_directory(ctx: &Ctx<'_>, snapshot: &Snapshot, edits: &Edits) -> Done {
    let data = ctx.model.directory();
    // `site.installdir` decides where images are kept, and has its own check.
    let images: Vec<PathBuf> = std::iter::once(local_path(snapshot, "/install"))
        .chain(settings(edits, "installdir").map(PathBuf::from))
        .collect();
    for (col, dir) in cells_of(edits, &[col::linuximage::ROOTIMGDIR]) {
        let path = Path::new(dir);
        let goes_up = path.components().any(|part| part == Component::ParentDir);
        let is_kept = !goes_up && images.iter().any(|images| path.starts_with(images));
        let of_system = || own_directory(dir, Purpose::Image).filter(|_| !is_kept);
        let own = || dawn_roots::reserved::reason(snapshot, data?, path).map(Cow::from);
        if let Some(reason) = of_system().or_else(own) {
            return Err(EditError::BadValue { col, value: dir.to_owned(), reason }.into());
        }
    }
    let Some(data) = data else { return Ok(()) };
    for (col, value) in locations(edits) {
        if let Some(reason) = dawn_roots::reserved::reason_of_cell(snapshot, data, value) {
            return Err(EditError::BadValue { col, value: value.to_owned(), reason: reason.into() }.into());
        }
    }
    SERVED.iter().try_for_each(|key| settings(edits, key).try_for_each(|dir| check_served(data, key, dir)))
}

/// Keys of `site` that name directories whose files are handed out.
const SERVED: [&str; 2] = ["installdir", "tftpdir"];
/// Directories of the data directory that are the daemon's own.
const OWN: [&str; 8] = ["ca", "cert", "clients", "generations", "hostkeys", "live", "log", "roots"];

/// The values, not empty ones, that edits give to a key of `site`.
fn settings<'e>(edits: &'e Edits, wanted: &'e str) -> impl Iterator<Item = &'e str> {
    edits.0.iter().filter_map(move |edit| {
        let (keys, cells) = match edit {
            Edit::Set { keys, values, .. } => (keys.as_slice(), values.as_slice()),
            Edit::Insert { cells, .. } => (&[][..], cells.as_slice()),
            Edit::Delete { .. } => return None,
        };
        let cell = |col: Col| {
            let key = keys.iter().find(|(known, _)| *known == col).map(|(_, text)| text);
            key.or_else(|| cells.iter().find(|(known, _)| *known == col)?.1.as_ref())
        };
        cell(col::site::KEY).filter(|key| ***key == *wanted)?;
        cell(col::site::VALUE).map(|value| &**value).filter(|value| !value.is_empty())
    })
}

/// The data directory itself, and what the daemon keeps in it, are not handed out.
fn check_served(data: &Path, key: &'static str, value: &str) -> Done {
    let path = Path::new(value);
    let own = path.strip_prefix(data).ok().and_then(|rest| rest.components().next());
    let is_own = own.is_some_and(|first| OWN.iter().any(|name| first.as_os_str() == *name));
    if data.starts_with(path) || is_own {
        let reason = format!("it holds what the daemon keeps in {}", data.display()).into();
        let (key, value) = (Text::from(key), value.to_owned());
        return Err(EditError::BadSiteValue { key, value, reason }.into());
    }
    Ok(())
}

/// A sequential discovery writes rows of its nodes later, in the daemon's name: a caller other than root
/// names the nodes one by one, and only those that the caller may change.
fn keep_run(ctx: &Ctx<'_>, snapshot: &Snapshot, edits: &Edits) -> Done {
    if ctx.view.is_root() {
        return Ok(());
    }
    let is_own =
        |name: &str| name.parse::<NodeName>().is_ok() && !snapshot.is_group(name) && ctx.view.covers(name);
    for value in settings(edits, SITE_KEY) {
        let Ok(options) = Options::of_site(value) else { continue };
        if let Some(other) = options.noderange.split(',').find(|name| !is_own(name)) {
            let text = format!("Permission denied: site.{SITE_KEY} may not name {other}");
            let error = CommandError::refused(text);
            return Err(error
                .hint("`nodediscoverstart noderange=NODERANGE` takes the nodes that are yours.")
                .into());
        }
    }
    Ok(())
}

fn texts(keys: Vec<(Col, String)>) -> Vec<(Col, Text)> {
    keys.into_iter().map(|(col, text)| (col, Text::from(text))).collect()
}

/// Prints row changes: `+`, `-` or `~`, table and key, then the cells that differ.
pub fn show(changes: &[RowChange], out: &mut Out<'_>) -> Done {
    if changes.is_empty() {
        return out.heading(NOTHING);
    }
    differences(changes, out)
}

fn differences(changes: &[RowChange], out: &mut Out<'_>) -> Done {
    changes.iter().try_for_each(|change| out.report(&Difference::of(change, true)))
}

/// The keys of a row; secrets are masked.
fn keys_of(change: &RowChange) -> Vec<String> {
    let keys = change.table.info().cols().filter(|col| col.info().is_key).zip(&change.key);
    keys.map(|(col, text)| if secrets::is_secret(col) { MASK.to_owned() } else { text.to_string() }).collect()
}

/// The message of a dry run without a difference.
pub const NOTHING: &str = "Nothing would change.";

/// A row that differs.
#[derive(serde::Serialize)]
pub struct Difference {
    change: char,
    table: &'static str,
    key: Vec<String>,
    cells: Vec<Cell>,
}

/// A cell that differs; secrets are masked.
#[derive(serde::Serialize)]
struct Cell {
    column: &'static str,
    /// `None`: what was there before is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    old: Option<Option<String>>,
    new: Option<String>,
    #[serde(skip)]
    hidden: bool,
}

impl Difference {
    /// The difference that a row change makes; `with_old`: what was in its cells before is known.
    pub fn of(change: &RowChange, with_old: bool) -> Self {
        let sign = match change.kind {
            RowChangeKind::Inserted => '+',
            RowChangeKind::Updated => '~',
            RowChangeKind::Deleted => '-',
        };
        let cell = |(col, old, new): &(Col, Option<Text>, Option<Text>)| {
            let hidden = secrets::is_secret(*col) || is_hidden_setting(change, *col);
            let text = |text: &Option<Text>| {
                text.as_deref().map(|text| match hidden {
                    true => MASK.to_owned(),
                    false if redact::has_server_commands(*col) => redact::server_commands(*col, text),
                    false => text.to_owned(),
                })
            };
            Cell { column: col.name(), old: with_old.then(|| text(old)), new: text(new), hidden }
        };
        Self {
            change: sign,
            table: change.table.name(),
            key: keys_of(change),
            cells: change.cells.iter().map(cell).collect(),
        }
    }

    /// Its lines.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("{} {} {}", self.change, self.table, self.key.join(","))];
        for Cell { column, old, new, hidden } in &self.cells {
            let word = |text: &Option<String>| match text {
                None => "(not set)".to_owned(),
                Some(mask) if *hidden => mask.clone(),
                Some(text) => format!("{text:?}"),
            };
            let old = old.as_ref().map(|old| word(old) + " -> ").unwrap_or_default();
            lines.push(format!("    {column}: {old}{}", word(new)));
        }
        lines
    }
}

impl Report for Difference {
    fn print(&self, lines: &mut Lines<'_, '_>) -> Done {
        self.lines().into_iter().try_for_each(|line| lines.line(line))
    }
}

/// A file or directory that would be written or removed.
#[derive(serde::Serialize)]
pub struct FileDifference {
    change: char,
    kind: &'static str,
    path: String,
    /// Why it stays for now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl FileDifference {
    /// The sign, and whether the path is a directory.
    pub fn of(change: char, path: &Path) -> Self {
        let is_directory = within(path, |path| path.is_dir() && !path.is_symlink()).unwrap_or(false);
        let kind = if is_directory { "directory" } else { "file" };
        Self { change, kind, path: path.display().to_string(), note: None }
    }

    /// A directory that would be made.
    pub fn directory(path: &Path) -> Self {
        Self { change: '+', kind: "directory", path: path.display().to_string(), note: None }
    }
}

impl Report for FileDifference {
    fn print(&self, lines: &mut Lines<'_, '_>) -> Done {
        let note = self.note.as_ref().map(|note| format!(": {note}")).unwrap_or_default();
        lines.line(format!("{} {} {}{note}", self.change, self.kind, self.path))
    }
}

/// A line that differs, after its sign.
#[derive(serde::Serialize)]
struct LineDifference<'t> {
    change: char,
    line: &'t str,
    /// What the line says, for programs.
    #[serde(flatten)]
    fields: Fields,
}

/// What a line of a file says, by name.
pub type Fields = BTreeMap<&'static str, serde_json::Value>;

impl Report for LineDifference<'_> {
    fn print(&self, lines: &mut Lines<'_, '_>) -> Done {
        lines.line(format!("    {} {}", self.change, self.line))
    }
}

/// Shows the lines of a file that would differ, regardless of their order.
pub fn show_lines(path: &Path, old: &str, new: &str, out: &mut Out<'_>) -> Done {
    show_lines_with(path, old, new, out, |_| Fields::new())
}

/// The same for a file whose lines have fields.
pub fn show_lines_with(
    path: &Path,
    old: &str,
    new: &str,
    out: &mut Out<'_>,
    fields: impl Fn(&str) -> Fields,
) -> Done {
    let gone = old.lines().filter(|line| !new.lines().any(|other| other == *line));
    let come = new.lines().filter(|line| !old.lines().any(|other| other == *line));
    let gone = gone.map(|line| LineDifference { change: '-', line, fields: fields(line) });
    let come = come.map(|line| LineDifference { change: '+', line, fields: fields(line) });
    let lines: Vec<LineDifference<'_>> = gone.chain(come).collect();
    if lines.is_empty() {
        return out.heading(NOTHING);
    }
    out.report(&FileDifference::of(written(path), path))?;
    lines.iter().try_for_each(|line| out.report(line))
}

/// Keeps a file of the system that is about to be replaced as `…xcatbak`; one that is not there yet has
/// nothing to keep.
///
/// # Errors
/// It cannot be read, or the copy not be written.
pub fn keep_old(path: &Path, mode: u32) -> std::io::Result<()> {
    if !path.exists() {
        return Ok(());
    }
    whole::write(Path::new(&format!("{}.xcatbak", path.display())), &std::fs::read(path)?, mode)
}

/// Whether there is a directory at `path`; and that its disk answers, before a command goes to work there.
pub fn answers(path: &Path) -> Result<bool, Stop> {
    Ok(look(path, Path::is_dir)?)
}

/// The sign of a file that would be written.
pub fn written(path: &Path) -> char {
    if within(path, Path::exists).unwrap_or(false) { '~' } else { '+' }
}

/// `site.value` of a row whose key is not declared to be open.
fn is_hidden_setting(change: &RowChange, col: Col) -> bool {
    let open = |key: &Text| secrets::of_site_key(key) == Sensitivity::Open;
    col == col::site::VALUE && !change.key.first().is_some_and(open)
}
