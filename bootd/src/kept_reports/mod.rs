//! What nodes have reported and the database does not have yet.
//!
//! A node gets the confirmation of its report when the report is in a file of the data directory, even if the
//! database is away. From there it is written to the tables: at once if the database answers, otherwise as
//! soon as it is back, also by a daemon that was started again in between ([`file`]).
//!
//! Of each node and kind of report only the newest is kept, so the number of nodes bounds all of it. A report
//! that had to wait changes nothing if the tables have a newer one by then, which another daemon may have
//! taken.
//!
//! What fails and what then: a disk that takes no report (full, read-only) is logged, and reports are kept in
//! memory. A report that the tables do not take for its own sake (its node is gone) is logged and dropped.

mod app_status;
mod file;

use crate::clock::status_time;
use crate::node_edits;
use crate::output::Stop;
use dawn_cluster::{Change, Col, Edit, Model, Snapshot, col};
use dawn_plan::destiny::{self, Asked, StatusTime};
use dawn_xcatd::node_status::{NodeReport, STATUS_WORDS, UPDATE_STATUS_WORDS};
use file::ReportFile;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

pub(crate) use app_status::left_out;
pub use file::fuzz;

/// Reports that wait at most: one of each kind of 200,000 nodes, more than a cluster has.
const REPORTS_MAX: usize = 800_000;
/// Reports written to the tables as one change.
const REPORTS_OF_CHANGE_MAX: usize = 500;

/// What a report is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    /// `nodelist.status`.
    Status,
    /// `nodelist.updatestatus`.
    UpdateStatus,
    /// `nodelist.appstatus`.
    AppStatus,
    /// The node is done with its present state and takes the next step of its chain.
    Next,
}

/// A report as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Report {
    node: String,
    kind: Kind,
    /// The word; of programs `app=state,app=state`; of [`Kind::Next`] the state that the node is done with.
    value: String,
    /// When it came, as the tables have it.
    time: String,
}

impl Report {
    /// It can have come from a node.
    fn is_good(&self) -> bool {
        let is_name = !self.node.is_empty() && self.node.len() <= dawn_cluster::NAME_BYTES_MAX;
        let value = self.value.as_str();
        is_name
            && match self.kind {
                Kind::Status => STATUS_WORDS.contains(&value),
                Kind::UpdateStatus => is_update(value),
                Kind::AppStatus => value.len() <= app_status::CELL_BYTES_MAX,
                Kind::Next => value.len() <= dawn_cluster::CELL_BYTES_MAX,
            }
    }
}

/// A report that waits.
#[derive(Clone, Debug)]
struct Waiting {
    report: Report,
    /// Its number: reports are written in the order in which they came.
    number: u64,
    /// It could not be written when it came.
    is_late: bool,
}

/// The reports that are in the file and not yet in the tables.
#[derive(Debug, Default)]
pub struct KeptReports {
    waiting: Mutex<All>,
    /// Number of the last report that is on disk; held while the disk works, so that all who wait meanwhile
    /// share the next sync.
    synced: Mutex<u64>,
    /// Held by the thread that writes to the tables.
    turn: Mutex<()>,
    /// Reports have arrived since the writing thread last looked.
    asked: AtomicBool,
}

#[derive(Debug, Default)]
struct All {
    reports: BTreeMap<(String, Kind), Waiting>,
    last_number: u64,
    file: Option<ReportFile>,
    /// The file could not be written, and that was logged.
    is_in_memory_only: bool,
}

impl KeptReports {
    /// Those that an earlier daemon left in the data directory, and the file for new ones.
    #[must_use]
    pub fn open(data: &Path) -> Self {
        let (file, found) = ReportFile::open(&data.join("reports.journal"));
        let mut all = All { file, ..All::default() };
        for report in found {
            all.insert(report, true);
        }
        if !all.reports.is_empty() {
            tracing::info!(reports = all.reports.len(), "reports of nodes wait for the database");
        }
        Self { waiting: Mutex::new(all), ..Self::default() }
    }

    /// Keeps what a node reports; when this returns it is on disk.
    pub(crate) fn keep(&self, snapshot: &Snapshot, node: &str, report: &NodeReport) {
        let mut all = lock(&self.waiting);
        let reports = all.reports_of(snapshot, node, report);
        if reports.is_empty() {
            return;
        }
        for report in &reports {
            all.insert(report.clone(), false);
        }
        let written = all.file.as_mut().map_or(Ok(()), |file| file.append(&reports));
        all.noted(written);
        let number = all.last_number;
        drop(all);
        self.sync(number);
    }

    /// Waits until the disk has the report of this number.
    fn sync(&self, number: u64) {
        let mut synced = lock(&self.synced);
        if *synced >= number {
            return;
        }
        let (disk, last) = {
            let all = lock(&self.waiting);
            (all.file.as_ref().map(ReportFile::disk), all.last_number)
        };
        let done = disk.map_or(Ok(()), |disk| disk.sync_data());
        *synced = last;
        lock(&self.waiting).noted(done);
    }

    /// How many reports wait for the database.
    pub(crate) fn count(&self) -> usize {
        lock(&self.waiting).reports.len()
    }

    /// Whether there are reports that could not be written when they came.
    pub(crate) fn are_late(&self) -> bool {
        lock(&self.waiting).reports.values().any(|waiting| waiting.is_late)
    }

    /// Writes all reports to the tables, unless the database is away. A thread that is already writing writes
    /// these reports, too: a database that does not answer keeps one thread waiting, not one for each node.
    /// `trouble` is given the nodes whose chains cannot go on, and why.
    pub(crate) fn write(&self, model: &Model, trouble: &dyn Fn(&str, &str)) {
        self.asked.store(true, Ordering::SeqCst);
        while self.asked.load(Ordering::SeqCst) {
            let _turn = match self.turn.try_lock() {
                Ok(turn) => turn,
                Err(TryLockError::Poisoned(turn)) => turn.into_inner(),
                Err(TryLockError::WouldBlock) => return,
            };
            while self.asked.swap(false, Ordering::SeqCst) {
                self.write_all(model, trouble);
            }
        }
    }

    fn write_all(&self, model: &Model, trouble: &dyn Fn(&str, &str)) {
        loop {
            let batch = lock(&self.waiting).batch();
            if batch.is_empty() {
                return;
            }
            match write_batch(model, &batch) {
                Ok(stopped) => stopped.iter().for_each(|(node, reason)| trouble(node, reason)),
                Err(error) => {
                    lock(&self.waiting).wait_on(&batch, &error);
                    return;
                }
            }
            lock(&self.waiting).forget(&batch);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl All {
    /// What is kept of a report; nothing of one that changes no table.
    fn reports_of(&self, snapshot: &Snapshot, node: &str, report: &NodeReport) -> Vec<Report> {
        let time = status_time().0;
        let of = |kind, value: &str| Report {
            node: node.to_owned(),
            kind,
            value: value.to_owned(),
            time: time.clone(),
        };
        match report {
            // Of many words in one line the last of each kind counts.
            NodeReport::Status(words) => {
                let status = status_word(words).map(|word| of(Kind::Status, word));
                status
                    .into_iter()
                    .chain(update_word(words).map(|word| of(Kind::UpdateStatus, word)))
                    .collect()
            }
            NodeReport::AppStatus(pairs) => {
                let before = self.reports.get(&(node.to_owned(), Kind::AppStatus));
                let before = before.map_or("", |waiting| &waiting.report.value);
                vec![of(Kind::AppStatus, &app_status::merged(before, pairs))]
            }
            NodeReport::Next => {
                let state = snapshot.attr(node, col::chain::CURRSTATE);
                vec![of(Kind::Next, state.as_deref().unwrap_or_default())]
            }
            _ => Vec::new(),
        }
    }

    fn insert(&mut self, report: Report, is_late: bool) {
        let key = (report.node.clone(), report.kind);
        if self.reports.len() >= REPORTS_MAX && !self.reports.contains_key(&key) {
            tracing::error!(node = report.node, "too many reports of nodes wait; this one is lost");
            return;
        }
        self.last_number += 1;
        self.reports.insert(key, Waiting { report, number: self.last_number, is_late });
    }

    /// The oldest reports, in their order.
    fn batch(&self) -> Vec<Waiting> {
        let mut batch: Vec<Waiting> = self.reports.values().cloned().collect();
        batch.sort_by_key(|waiting| waiting.number);
        batch.truncate(REPORTS_OF_CHANGE_MAX);
        batch
    }

    /// These could not be written.
    fn wait_on(&mut self, batch: &[Waiting], error: &Stop) {
        let mut fresh = 0;
        for written in batch {
            if let Some(waiting) = self.same(written) {
                fresh += usize::from(!waiting.is_late);
                waiting.is_late = true;
            }
        }
        if fresh > 0 {
            tracing::warn!(reports = fresh, %error, "reports of nodes wait for the database");
        }
    }

    /// These are in the tables.
    fn forget(&mut self, batch: &[Waiting]) {
        for written in batch {
            if self.same(written).is_some() {
                self.reports.remove(&(written.report.node.clone(), written.report.kind));
            }
        }
        let reports = self.reports.values().map(|waiting| &waiting.report);
        let shortened = self.file.as_mut().map_or(Ok(()), |file| file.shorten(reports));
        self.noted(shortened);
    }

    /// The report, if no newer one has taken its place.
    fn same(&mut self, report: &Waiting) -> Option<&mut Waiting> {
        let found = self.reports.get_mut(&(report.report.node.clone(), report.report.kind))?;
        Some(found).filter(|waiting| waiting.number == report.number)
    }

    fn noted(&mut self, written: std::io::Result<()>) {
        match written {
            Err(error) if !self.is_in_memory_only => {
                tracing::error!(%error, "reports of nodes are kept in memory only");
                self.is_in_memory_only = true;
            }
            Err(_) => {}
            Ok(()) => self.is_in_memory_only = false,
        }
    }
}

/// The word of a line that becomes the node's status.
pub(crate) fn status_word(words: &[String]) -> Option<&str> {
    words.iter().map(String::as_str).rfind(|word| !is_update(word))
}

/// The word of a line that becomes the node's update status.
pub(crate) fn update_word(words: &[String]) -> Option<&str> {
    words.iter().map(String::as_str).rfind(|word| is_update(word))
}

/// `failed` is a word of both columns; a node's own means `status`.
fn is_update(word: &str) -> bool {
    UPDATE_STATUS_WORDS.contains(&word) && word != dawn_wire::status::FAILED
}

/// Writes reports as one change. Nodes whose chains cannot go on, and why.
fn write_batch(model: &Model, batch: &[Waiting]) -> Result<Vec<(String, String)>, Stop> {
    let nodes: Vec<&str> = batch.iter().map(|waiting| waiting.report.node.as_str()).collect();
    let who = match nodes.as_slice() {
        [node] => node,
        [first, rest @ ..] if rest.iter().all(|node| node == first) => first,
        _ => "nodes",
    };
    let what = match batch {
        [Waiting { report: Report { kind: Kind::Next, .. }, .. }] => "next",
        [Waiting { report: Report { kind: Kind::AppStatus, .. }, .. }] => "hpcbootstatus",
        _ => "installstatus",
    };
    let compute = |now: &Snapshot| {
        let (mut edits, mut stopped) = (Vec::new(), Vec::new());
        for waiting in batch {
            let node = &waiting.report.node;
            match checked(now, waiting) {
                Ok(asked) => {
                    edits.extend(asked.edits);
                    stopped.extend(asked.stopped.map(|why| (node.clone(), destiny::stopped(node, &why))));
                }
                Err(error) => {
                    tracing::error!(%error, node, what, "a node's report could not be stored");
                }
            }
        }
        Ok::<_, Stop>((edits, stopped))
    };
    model.transact(Change::quiet(who, what, Vec::new()), compute).map(|(_, stopped)| stopped)
}

/// The edits of a report, which touch only the node's own rows.
fn checked(now: &Snapshot, waiting: &Waiting) -> Result<Asked, Stop> {
    let node = waiting.report.node.as_str();
    let asked = edits_of(now, waiting)?;
    let (rows, next) = now.outcome(&asked.edits)?;
    node_edits::keep_to(now, &next, &rows, false, |name| name == node)?;
    Ok(asked)
}

fn edits_of(now: &Snapshot, waiting: &Waiting) -> Result<Asked, Stop> {
    let Report { node, kind, value, time } = &waiting.report;
    let time = StatusTime(time.clone());
    let is_outdated = |column: Col| {
        let known = now.attr(node, column).unwrap_or_default();
        waiting.is_late && sortable(&known) > sortable(&time.0)
    };
    if !now.has_node(node) {
        return Ok(Asked::default());
    }
    let edits = match kind {
        Kind::Status if is_outdated(col::nodelist::STATUSTIME) => Vec::new(),
        Kind::Status => destiny::status_edits(now, node, value, &time)?,
        Kind::UpdateStatus if is_outdated(col::nodelist::UPDATESTATUSTIME) => Vec::new(),
        Kind::UpdateStatus => destiny::update_status_edits(now, node, value, &time)?,
        Kind::AppStatus if is_outdated(col::nodelist::APPSTATUSTIME) => Vec::new(),
        Kind::AppStatus => {
            let old = now.attr(node, col::nodelist::APPSTATUS).unwrap_or_default();
            let text = app_status::merged(&old, &app_status::pairs(value));
            let values = [("appstatus", text.as_str()), ("appstatustime", &time.0)];
            vec![Edit::set("nodelist", &[("node", node)], &values)?]
        }
        // The state may be another by now: an administrator's `nodeset` counts more than what was before it.
        Kind::Next if now.attr(node, col::chain::CURRSTATE).as_deref().unwrap_or_default() != value => {
            Vec::new()
        }
        Kind::Next => return Ok(destiny::asked(now, node, true, &time)?),
    };
    Ok(Asked { edits, ..Asked::default() })
}

/// A time of the tables, `MM-DD-YYYY HH:MM:SS`, in an order that texts can be compared in.
fn sortable(time: &str) -> (&str, &str, &str) {
    let part = |from, to| time.get(from..to).unwrap_or_default();
    (part(6, 10), part(0, 5), part(11, 19))
}

#[cfg(test)]
mod tests;
