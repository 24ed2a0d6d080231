//! The change log: every change with who, when, by which command, and what it did to each row.
//!
//! The log serves three readers: people (`dawn log`), `undo`, and the other daemons on the same database,
//! which take over each other's changes from it. Rows are kept as JSON, one object a row:
//! `{"t":"nodehm","k":["n1"],"o":"u","c":{"mgt":[null,"ipmi"]}}` with `o` one of `i`, `u`, `d`.

use crate::change::Draft;
use crate::edit::Edit;
use crate::effect::{Effect, RowChange, RowChangeKind, key_of};
use crate::row::{Row, Text};
use crate::schema::{Col, schema};
use crate::snapshot::Snapshot;
use serde::{Serialize, Serializer};
use serde_json::Value;
use std::collections::BTreeMap;

/// Changes of administrators kept at most. When there are more, each user who made changes has the same share
/// of the log, and unused shares go to the others: the changes of one user never push out those of another
/// who made fewer.
pub const CHANGES_KEPT_MAX: u64 = 100_000;
/// Bytes of administrators' changes kept at most, shared in the same way; the newest is always kept.
pub const CHANGES_BYTES_MAX: u64 = 512 << 20;
/// Changes of machines kept at most: enough for the other daemons, which read each other's changes several
/// times a second. They have separate limits, so that no machine can push an administrator's change out
/// of the log.
pub const QUIET_CHANGES_KEPT_MAX: u64 = 10_000;
/// Bytes of machines' changes kept at most.
pub const QUIET_CHANGES_BYTES_MAX: u64 = 32 << 20;
/// Old changes are dropped after so many changes.
pub(crate) const PRUNE_EVERY: u64 = 1000;
/// And after so many bytes of changes.
const PRUNE_EVERY_BYTES: u64 = 32 << 20;
/// Bytes of one stored piece of a change's rows; a larger change is stored in several pieces.
pub(crate) const PART_BYTES: usize = 1 << 20;

/// Bytes of one value that a list of changes shows.
const LISTED_BYTES_MAX: usize = 16 << 10;

/// A change that has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Its number; ascending by one.
    pub seq: u64,
    /// When, milliseconds since 1970-01-01 UTC.
    pub at_ms: i64,
    /// Who asked.
    pub who: String,
    /// The command line, secrets redacted.
    pub command: String,
    /// Made by a machine.
    pub quiet: bool,
    /// What it did, in order.
    pub rows: Vec<RowChange>,
    /// The stored record is not as it was written. Its rows are unknown, and of its other fields any may be
    /// wrong.
    pub is_damaged: bool,
}

impl LogEntry {
    /// Bytes of its rows in memory, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let cell = |text: &Option<Text>| text.as_deref().map_or(0, str::len);
        let cells = self.rows.iter().flat_map(|row| &row.cells);
        self.command.len() + cells.map(|(_, old, new)| cell(old) + cell(new)).sum::<usize>()
    }

    /// For a list of changes: the beginning of long values, so that one change does not keep others out.
    #[must_use]
    pub(crate) fn for_list(mut self) -> Self {
        let cells = self.rows.iter_mut().flat_map(|row| &mut row.cells);
        for text in cells.flat_map(|(_, old, new)| [old, new]).flatten() {
            if text.len() > LISTED_BYTES_MAX {
                let end = text.floor_char_boundary(LISTED_BYTES_MAX);
                *text = format!("{}… ({} bytes)", text.get(..end).unwrap_or_default(), text.len()).into();
            }
        }
        self
    }

    /// It touched a row of one of these nodes (or groups).
    pub fn touches(&self, is_wanted: impl Fn(&str) -> bool) -> bool {
        self.rows.iter().filter_map(RowChange::node).any(|node| is_wanted(node))
    }
}

/// Why a change cannot be undone now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UndoError {
    /// A row has been changed since.
    #[error("{table} row {key} has been changed since{}; undo the later change first", by(*.later))]
    ChangedSince {
        /// The table.
        table: &'static str,
        /// The key's values.
        key: String,
        /// The newest change of the row, if the log still has it.
        later: Option<u64>,
    },
}

fn by(later: Option<u64>) -> String {
    later.map(|seq| format!(" by change {seq}")).unwrap_or_default()
}

/// When old changes are dropped.
#[derive(Debug, Default)]
pub(crate) struct Pruning {
    /// Bytes that were written since.
    bytes: u64,
}

impl Pruning {
    /// Counts a change with these stored parts; true if old ones are to be dropped now.
    pub(crate) fn is_due(&mut self, seq: u64, parts: &[String]) -> bool {
        self.bytes = parts.iter().fold(self.bytes, |sum, part| sum.saturating_add(part.len() as u64));
        let due = seq.is_multiple_of(PRUNE_EVERY) || self.bytes >= PRUNE_EVERY_BYTES;
        if due {
            self.bytes = 0;
        }
        due
    }
}

/// The limits of one kind of changes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Share {
    /// Of machines.
    pub(crate) quiet: bool,
    count_max: u64,
    bytes_max: u64,
}

/// The two kinds of changes.
pub(crate) const SHARES: [Share; 2] = [
    Share { quiet: false, count_max: CHANGES_KEPT_MAX, bytes_max: CHANGES_BYTES_MAX },
    Share { quiet: true, count_max: QUIET_CHANGES_KEPT_MAX, bytes_max: QUIET_CHANGES_BYTES_MAX },
];

/// A change, as pruning sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) seq: u64,
    pub(crate) bytes: u64,
    pub(crate) who: String,
}

/// The space that one user's changes take up.
#[derive(Clone, Copy, Debug, Default)]
struct Use {
    count: u64,
    bytes: u64,
}

impl Share {
    /// The numbers of the changes to drop, of this kind's changes, newest first.
    pub(crate) fn surplus(&self, changes: &[Stored]) -> Vec<u64> {
        let mut used: BTreeMap<&str, Use> = BTreeMap::new();
        for change in changes {
            let one = used.entry(self.owner(change)).or_default();
            one.count += 1;
            one.bytes = one.bytes.saturating_add(change.bytes);
        }
        let count_max = fair_share(used.values().map(|one| one.count).collect(), self.count_max);
        let bytes_max = fair_share(used.values().map(|one| one.bytes).collect(), self.bytes_max);
        let mut kept: BTreeMap<&str, Use> = BTreeMap::new();
        let mut gone = Vec::new();
        for (at, change) in changes.iter().enumerate() {
            let one = kept.entry(self.owner(change)).or_default();
            one.count += 1;
            one.bytes = one.bytes.saturating_add(change.bytes);
            if at > 0 && (one.count > count_max || one.bytes > bytes_max) {
                gone.push(change.seq);
            }
        }
        gone
    }

    /// Machines have one share together: theirs is a queue for the other daemons, not a history.
    fn owner<'c>(&self, change: &'c Stored) -> &'c str {
        if self.quiet { "" } else { &change.who }
    }
}

/// The most that each may have so that all together have at most `all`: users who need less leave the rest to
/// the others.
fn fair_share(mut used: Vec<u64>, all: u64) -> u64 {
    used.sort_unstable();
    let mut left = all;
    for (before, one) in used.iter().enumerate() {
        let share = left / (used.len() - before) as u64;
        if *one > share {
            return share;
        }
        left -= *one;
    }
    u64::MAX
}

/// The rows as they are stored, in parts. Of a machine's change the cells before it are left out: it is not
/// undone. Each part begins with the checksum of what follows it and of the change's head.
pub(crate) fn encode(entry: &LogEntry) -> Vec<String> {
    let mut bodies = Vec::new();
    let mut body = String::new();
    for row in &entry.rows {
        if body.len() > PART_BYTES {
            bodies.push(std::mem::take(&mut body) + "]");
        }
        if !body.is_empty() {
            body.push(',');
        }
        // Texts and maps of texts are always JSON.
        body.push_str(&serde_json::to_string(&LoggedRow::new(row, entry.quiet)).unwrap_or_default());
    }
    if !body.is_empty() {
        bodies.push(body + "]");
    }
    let count = bodies.len();
    let seal = |(at, body): (usize, String)| {
        format!("{SEAL_BEGIN}{:08x}{SEAL_END}{body}", checksum(entry, at, count, &body))
    };
    bodies.into_iter().enumerate().map(seal).collect()
}

/// Versions without checksums take it for a row of a table that they do not know, and leave it out.
const SEAL_BEGIN: &str = r#"[{"crc32":""#;
/// The text between the checksum and the rows.
const SEAL_END: &str = r#""},"#;
/// Hexadecimal digits of a checksum.
const SEAL_DIGITS: usize = 8;

/// Of part `at` of `count`, whose rows are `body`.
fn checksum(entry: &LogEntry, at: usize, count: usize, body: &str) -> u32 {
    let LogEntry { seq, at_ms, who, command, quiet, .. } = entry;
    let mut sum = crc32fast::Hasher::new();
    sum.update(format!("{seq} {at_ms} {quiet} {at} {count} {} {who} {command} ", who.len()).as_bytes());
    sum.update(body.as_bytes());
    sum.finalize()
}

/// The checksum of a part and its rows; none if it was written by a version without checksums.
fn open_seal(part: &str) -> Option<(&str, &str)> {
    let (sum, rest) = part.strip_prefix(SEAL_BEGIN)?.split_at_checked(SEAL_DIGITS)?;
    Some((sum, rest.strip_prefix(SEAL_END)?))
}

/// Gives `entry`, of which the head is read, the rows of its parts, or marks it as damaged.
pub(crate) fn read_parts(entry: &mut LogEntry, parts: &[String]) {
    let is_whole = |(at, part): (usize, &String)| {
        open_seal(part).is_none_or(|(sum, body)| {
            u32::from_str_radix(sum, 16) == Ok(checksum(entry, at, parts.len(), body))
        })
    };
    let rows = match parts.iter().enumerate().all(is_whole) {
        true => parts.iter().map(|part| decode(part)).collect::<Option<Vec<_>>>(),
        false => None,
    };
    entry.is_damaged = rows.is_none();
    entry.rows = rows.into_iter().flatten().flatten().collect();
}

/// A row of a change as the log keeps it: cells, key, what happened, table.
#[derive(Serialize)]
struct LoggedRow<'a> {
    c: LoggedCells<'a>,
    k: Vec<&'a str>,
    o: &'static str,
    t: &'static str,
}

impl<'a> LoggedRow<'a> {
    fn new(row: &'a RowChange, quiet: bool) -> Self {
        let o = match row.kind {
            RowChangeKind::Inserted => "i",
            RowChangeKind::Updated => "u",
            RowChangeKind::Deleted => "d",
        };
        Self {
            c: LoggedCells { row, quiet },
            k: row.key.iter().map(|t| &**t).collect(),
            o,
            t: row.table.name(),
        }
    }
}

/// Old and new text by column; of a quiet change the new ones only.
struct LoggedCells<'a> {
    row: &'a RowChange,
    quiet: bool,
}

impl Serialize for LoggedCells<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let is_kept =
            |new: &Option<Text>| !self.quiet || self.row.kind == RowChangeKind::Updated || new.is_some();
        let cells = self.row.cells.iter().filter(|(_, _, new)| is_kept(new));
        serializer.collect_map(cells.map(|(col, before, new)| {
            (col.name(), [before.as_deref().filter(|_| !self.quiet), new.as_deref()])
        }))
    }
}

/// Reads a part; none if it is damaged. Rows of tables and columns that this version does not know are left
/// out.
fn decode(part: &str) -> Option<Vec<RowChange>> {
    let values: Vec<Value> = serde_json::from_str(part).ok()?;
    let rows = values.get(usize::from(open_seal(part).is_some())..)?;
    // What is neither a seal nor a row was one of them.
    let are_rows = rows.iter().all(|row| row.get("t").is_some());
    are_rows.then(|| rows.iter().filter_map(decode_row).collect())
}

fn decode_row(value: &Value) -> Option<RowChange> {
    let table = schema().find(value.get("t")?.as_str()?)?;
    let text = |v: Option<&Value>| v.and_then(Value::as_str).map(Text::from);
    let cell =
        |(name, pair): (&String, &Value)| Some((table.col(name)?, text(pair.get(0)), text(pair.get(1))));
    let mut cells: Vec<_> = value.get("c")?.as_object()?.iter().filter_map(cell).collect();
    cells.sort_by_key(|(c, ..)| *c);
    let kind = match value.get("o")?.as_str()? {
        "i" => RowChangeKind::Inserted,
        "u" => RowChangeKind::Updated,
        "d" => RowChangeKind::Deleted,
        _ => return None,
    };
    let key = value.get("k")?.as_array()?.iter().filter_map(|v| text(Some(v))).collect();
    Some(RowChange { table: table.id, key, cells, kind })
}

/// The snapshot after a change that another daemon made. Rows that are not as the log says are taken as the
/// log says.
pub(crate) fn replay(base: &Snapshot, entry: &LogEntry) -> Snapshot {
    let mut draft = Draft::new(base);
    for change in &entry.rows {
        draft.replay(change);
    }
    draft.finish(entry.seq).1
}

impl Draft<'_> {
    fn replay(&mut self, change: &RowChange) {
        let (id, before) = match self.row_with_key(change) {
            Some((id, row)) => (id, Some(row)),
            None => (self.new_row_id(change.table), None),
        };
        let mut cells =
            before.as_ref().map_or_else(|| vec![None; change.table.info().columns.len()], Row::to_cells);
        for (col, _, new) in &change.cells {
            if let Some(slot) = cells.get_mut(col.index()) {
                slot.clone_from(new);
            }
        }
        let after = (change.kind != RowChangeKind::Deleted).then(|| Row::new(change.table, cells));
        self.record(Effect { table: change.table, row: id, before, after });
    }

    fn row_with_key(&mut self, change: &RowChange) -> Option<(u64, Row)> {
        let info = change.table.info();
        let mut cells = vec![None; info.columns.len()];
        for (place, text) in info.keys.iter().zip(&change.key) {
            if let Some(slot) = cells.get_mut(*place) {
                *slot = Some(text.clone());
            }
        }
        let probe = Row::new(change.table, cells);
        self.data(change.table).row_with_key_of(&probe).map(|(id, row)| (id, row.clone()))
    }
}

/// The edits that take a change back. Refused if any of its cells no longer holds what the change stored.
pub(crate) fn undo_edits(now: &Snapshot, entry: &LogEntry) -> Result<Vec<Edit>, UndoError> {
    let mut draft = Draft::new(now);
    let mut edits = Vec::new();
    for change in entry.rows.iter().rev().map(RowChange::inverse) {
        let table = change.table;
        let since =
            || UndoError::ChangedSince { table: table.name(), key: change.key.join(","), later: None };
        let row = draft.row_with_key(&change).map(|(_, row)| row);
        let holds = |(col, old, _): &(Col, Option<Text>, Option<Text>)| {
            row.as_ref().and_then(|r| r.cell(*col)) == old.as_ref()
        };
        let as_left = match change.kind {
            RowChangeKind::Inserted => row.is_none(),
            RowChangeKind::Updated => row.is_some() && change.cells.iter().all(holds),
            RowChangeKind::Deleted => row.as_ref().is_some_and(|r| is_exactly(r, &change)),
        };
        if !as_left {
            return Err(since());
        }
        edits.push(edit_for(&change));
        draft.replay(&change);
    }
    Ok(edits)
}

fn is_exactly(row: &Row, change: &RowChange) -> bool {
    let logged =
        |col: Col| change.cells.iter().find(|(c, ..)| *c == col).and_then(|(_, old, _)| old.as_ref());
    key_of(change.table, row) == change.key && change.table.info().cols().all(|c| row.cell(c) == logged(c))
}

fn edit_for(change: &RowChange) -> Edit {
    let table = change.table;
    let info = table.info();
    let key_cols = info.keys.iter().filter_map(|k| info.col_at(*k));
    let keys = key_cols.zip(change.key.iter().cloned()).collect();
    let values = change.cells.iter().map(|(c, _, new)| (*c, new.clone())).collect();
    match change.kind {
        RowChangeKind::Inserted => Edit::Insert { table, cells: values },
        RowChangeKind::Updated => Edit::Set { table, keys, values },
        RowChangeKind::Deleted => Edit::Delete { table, keys },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base() -> Snapshot {
        let row = |key, value| Edit::set("site", &[("key", key)], &[("value", value)]).unwrap();
        Snapshot::empty().with(&[row("a", "1"), row("b", "2")]).unwrap()
    }

    fn entry(snapshot: &Snapshot, edits: &[Edit]) -> LogEntry {
        let rows = snapshot.preview(edits).unwrap();
        let (who, command) = ("root".to_owned(), "x".to_owned());
        LogEntry { seq: 9, at_ms: 0, who, command, quiet: false, rows, is_damaged: false }
    }

    /// The content of an entry's parts.
    fn read(head: &LogEntry, parts: &[String]) -> LogEntry {
        let mut entry = LogEntry { rows: Vec::new(), ..head.clone() };
        read_parts(&mut entry, parts);
        entry
    }

    #[test]
    fn a_change_of_any_byte_is_noticed() {
        for edits in cases() {
            let made = entry(&base(), &edits);
            let parts = encode(&made);
            let [part] = parts.as_slice() else { panic!("one part") };
            assert_eq!(read(&made, &parts), made);
            for at in 0..part.len() {
                let mut bytes = part.clone().into_bytes();
                bytes[at] ^= 1;
                let Ok(text) = String::from_utf8(bytes) else { continue };
                let found = read(&made, &[text]);
                assert!(found.is_damaged && found.rows.is_empty(), "{at} of {part}");
            }
            for head in [
                LogEntry { at_ms: 1, ..made.clone() },
                LogEntry { who: "x".into(), ..made.clone() },
                LogEntry { command: "rm".into(), ..made.clone() },
                LogEntry { seq: 8, ..made.clone() },
            ] {
                assert!(read(&head, &parts).is_damaged, "{head:?}");
            }
        }
    }

    #[test]
    fn records_without_checksums_are_read() {
        let text = r#"[{"t":"site","k":["a"],"o":"u","c":{"value":["1","9"]}}]"#.to_owned();
        let set = Edit::set("site", &[("key", "a")], &[("value", "9")]).unwrap();
        let made = entry(&base(), &[set]);
        assert_eq!(read(&made, &[text]), made);
        assert!(read(&made, &["[{".to_owned()]).is_damaged);
        assert!(!read(&made, &[]).is_damaged);
    }

    fn dump(snapshot: &Snapshot) -> Vec<Vec<Option<Text>>> {
        snapshot.rows("site").map(|r| r.cells().to_vec()).collect()
    }

    fn cases() -> Vec<Vec<Edit>> {
        let set = |key, value| Edit::set("site", &[("key", key)], &[("value", value)]).unwrap();
        vec![
            vec![set("a", "9")],
            vec![set("c", "3"), set("c", "4")],
            vec![Edit::delete("site", &[("key", "a")]).unwrap(), set("b", "NULL")],
            vec![Edit::set("site", &[("key", "a")], &[("key", "z")]).unwrap(), set("a", "new")],
            vec![Edit::delete("site", &[]).unwrap()],
        ]
    }

    #[test]
    fn what_is_written_is_read_and_replayed() {
        for edits in cases() {
            let base = base();
            let made = entry(&base, &edits);
            assert_eq!(read(&made, &encode(&made)), made);
            let replayed = replay(&base, &made);
            assert_eq!(dump(&replayed), dump(&base.with(&edits).unwrap()), "{edits:?}");
            assert_eq!(replayed.seq(), 9);
        }
    }

    #[test]
    fn undone() {
        for edits in cases() {
            let base = base();
            let after = base.with(&edits).unwrap();
            let back = after.with(&undo_edits(&after, &entry(&base, &edits)).unwrap()).unwrap();
            let mut rows = (dump(&back), dump(&base));
            rows.0.sort();
            rows.1.sort();
            assert_eq!(rows.0, rows.1, "{edits:?}");
        }
    }

    #[test]
    fn who_changes_much_leaves_the_others_their_history() {
        let share = Share { quiet: false, count_max: 10, bytes_max: 1_000 };
        let stored = |seq: u64, bytes: u64, who: &str| Stored { seq, bytes, who: who.to_owned() };
        let of = |bytes: u64| -> Vec<Stored> {
            // Newest first: twenty of bob's after three of root's.
            let bobs = (4..24).rev().map(|seq| stored(seq, bytes, "bob"));
            bobs.chain((1..4).rev().map(|seq| stored(seq, 10, "root"))).collect()
        };
        assert_eq!(share.surplus(&of(1)), (4..17).rev().collect::<Vec<_>>());
        assert_eq!(share.surplus(&of(400)), (4..22).rev().collect::<Vec<_>>());
        // The newest is kept even if it is larger than everything.
        assert_eq!(share.surplus(&of(5_000)), (4..23).rev().collect::<Vec<_>>());
        let machines = Share { quiet: true, ..share };
        assert_eq!(machines.surplus(&of(1)), (1..14).rev().collect::<Vec<_>>());
        assert!(share.surplus(&[]).is_empty());
        assert_eq!(fair_share(vec![5, 100, 100], 65), 30);
    }

    #[test]
    fn large_changes_are_pruned_sooner() {
        let mut pruning = Pruning::default();
        let parts = ["x".repeat(1 << 20)];
        let due = (1..100).filter(|seq| pruning.is_due(*seq, &parts)).collect::<Vec<_>>();
        assert_eq!(due, [32, 64, 96]);
        assert!(pruning.is_due(PRUNE_EVERY, &[]));
    }

    #[test]
    fn a_later_change_is_not_lost() {
        let base = base();
        let set = |value| Edit::set("site", &[("key", "a")], &[("value", value)]).unwrap();
        let first = entry(&base, &[set("9")]);
        let later = base.with(&[set("9"), set("10")]).unwrap();
        assert!(undo_edits(&later, &first).is_err());
    }

    #[test]
    fn of_several_rows_none_is_undone_when_one_has_changed_since() {
        let base = base();
        let set = |key, value| Edit::set("site", &[("key", key)], &[("value", value)]).unwrap();
        let made = [set("a", "9"), set("b", "8")];
        let first = entry(&base, &made);
        for (since, named) in [
            (set("b", "7"), "site row b"),
            (Edit::delete("site", &[("key", "a")]).unwrap(), "site row a"),
            (Edit::set("site", &[("key", "b")], &[("key", "z")]).unwrap(), "site row b"),
        ] {
            let later = base.with(&made).unwrap().with(std::slice::from_ref(&since)).unwrap();
            let error = undo_edits(&later, &first).expect_err(&format!("{since:?}")).to_string();
            assert!(error.contains(named), "{error}");
        }
        // An untouched row of the same table is not an obstacle.
        let later = base.with(&made).unwrap().with(&[set("c", "1")]).unwrap();
        assert_eq!(undo_edits(&later, &first).map(|edits| edits.len()), Ok(2));
    }

    #[test]
    fn old_changes_go() {
        let many = |n: u64, bytes: u64| -> Vec<Stored> {
            (1..=n).rev().map(|seq| Stored { seq, bytes, who: "root".to_owned() }).collect()
        };
        for share in SHARES {
            for (count, size, keep) in [
                (0, 0, 0),
                (1000, 10, 0),
                (share.count_max + 1000, 0, 1001),
                (1000, share.bytes_max / 10, 991),
                (1000, share.bytes_max + 1, 1000),
            ] {
                let gone: Vec<u64> = (1..keep).rev().collect();
                assert_eq!(share.surplus(&many(count, size)), gone, "{share:?} {count} {size}");
            }
        }
    }

    #[test]
    fn large_changes_come_in_parts() {
        let cell = "x".repeat(PART_BYTES / 2);
        let edits: Vec<_> = (0..5)
            .map(|n| Edit::set("site", &[("key", &n.to_string())], &[("value", &cell)]).unwrap())
            .collect();
        let made = entry(&base(), &edits);
        let parts = encode(&made);
        assert!(parts.len() >= 2);
        assert_eq!(read(&made, &parts), made);
        for lacking in 0..parts.len() {
            let mut parts = parts.clone();
            parts.remove(lacking);
            assert!(read(&made, &parts).is_damaged, "{lacking}");
        }
    }

    #[test]
    fn a_machine_s_change_is_replayed_and_holds_nothing_of_before() {
        for edits in cases() {
            let base = base();
            let made = entry(&base, &edits);
            let made = LogEntry { quiet: true, ..made };
            let found = read(&made, &encode(&made));
            assert!(found.rows.iter().flat_map(|row| &row.cells).all(|(_, old, _)| old.is_none()));
            let replayed = replay(&base, &found);
            assert_eq!(dump(&replayed), dump(&base.with(&edits).unwrap()), "{edits:?}");
        }
    }
}
