//! The model: a store, and the snapshot that everybody reads.
//!
//! Reading is [`Model::snapshot`], which never waits. Writing is [`Model::apply`] (edits known beforehand) or
//! [`Model::transact`] (edits computed from the newest state, the way to read, compute and write without
//! losing another writer's change). Both return when the change is on disk and published, or not done at all.
//!
//! Writers that arrive together are committed together: each runs in turn in one open transaction, the last
//! one commits for all, then all are acknowledged. A disk that takes 10 ms for a sync thus carries thousands
//! of changes a second, and still nothing is acknowledged that is not durable.

use crate::advised::Advised;
use crate::away::{Away, Presence};
use crate::cfgloc::{CfglocError, StoreAddress};
use crate::change::{Change, plan};
use crate::edit::{Edit, EditError};
use crate::effect::{Effect, RowChange};
use crate::log::{LogEntry, UndoError, replay, undo_edits};
use crate::row::Row;
use crate::saved::Saved;
use crate::schema::schema;
use crate::secret_writes;
use crate::snapshot::Snapshot;
use crate::store::{self, Bell, IfMissing, Loaded, Store, StoreError};
use crate::table::TableData;
use arc_swap::{ArcSwap, ArcSwapOption};
use std::collections::HashSet;
use std::iter::repeat_with;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Changes committed together at most.
const GROUP_MAX: usize = 256;
/// Events a subscriber may be behind before it misses some.
const EVENTS_WAITING_MAX: usize = 4096;
/// Bytes of a command line that the log keeps.
const COMMAND_BYTES_MAX: usize = 8 << 10;
/// Log entries read at once while catching up.
const CATCH_UP_ENTRIES: usize = 1000;
/// Log entries a search for a node's changes reads at most.
const LOG_SEARCH_MAX: usize = 20_000;
/// Bytes of changes in one answer of [`Model::log`]; the change that exceeds it is the last one.
pub const LOG_BYTES_MAX: usize = 64 << 20;
/// Changes that a search of the log reads in the first batch; later batches are larger if the changes are
/// small.
const BATCH_ENTRIES_MIN: usize = 16;
/// Bytes of a batch after which the next one is small again.
const BATCH_BYTES: usize = 4 << 20;

/// Rows from which on a separate thread builds a table's indexes.
const ROWS_WORTH_A_THREAD: usize = 10_000;

/// How often a writer that waits for the database is asked whether to keep waiting.
const WAITING_PERIOD: Duration = Duration::from_secs(1);
/// How often a follower looks for changes without a notification.
pub const FOLLOW_INTERVAL: Duration = Duration::from_millis(250);

/// Why nothing was changed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ModelError {
    /// The change itself is wrong.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// Storage failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// `cfgloc` is wrong.
    #[error(transparent)]
    Cfgloc(#[from] CfglocError),
    /// It cannot be undone.
    #[error(transparent)]
    Undo(#[from] UndoError),
    /// No change has that number (any more).
    #[error("there is no change {0} in the log")]
    NoSuchChange(u64),
    /// The log's record of it is damaged.
    #[error("the record of change {0} is damaged in the database, so that it cannot be undone")]
    DamagedChange(u64),
    /// The log is empty.
    #[error("there is no change to undo")]
    NothingToUndo,
    /// The move of the tables into this database is not taken back: it would take everything since with it.
    #[error("change {0} moved the tables into this database; that is not undone")]
    NotUndone(u64),
    /// The change of a machine is logged without what was before it.
    #[error("change {0} was made by a machine (a node's status, a record of the audit), which is not undone")]
    OfMachine(u64),
    /// The database that is to be filled has rows.
    #[error("the database is not empty: table {0} has rows")]
    NotEmpty(&'static str),
}

impl Advised for ModelError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Store(error) => error.hint(),
            Self::DamagedChange(_) => Some("`dawn log` has the changes before it".to_owned()),
            Self::NotUndone(_) => Some("`pgsqlsetup --back` goes back to SQLite".to_owned()),
            _ => None,
        }
    }
}

/// A change that is done.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The change as the log keeps it. Without rows: everything already was as wanted, nothing was written or
    /// logged.
    pub change: Arc<LogEntry>,
    /// The state after it.
    pub snapshot: Arc<Snapshot>,
}

impl Applied {
    /// Nothing had to be done.
    pub fn is_empty(&self) -> bool {
        self.change.rows.is_empty()
    }
}

/// What subscribers get: a change, ours or another daemon's, and the snapshot that holds it.
#[derive(Clone, Debug)]
pub struct Published {
    /// The change. After a reload of everything it is an entry without rows.
    pub change: Arc<LogEntry>,
    /// The state that includes it (and maybe later ones).
    pub snapshot: Arc<Snapshot>,
}

/// The store, the newest snapshot, and the lock that writers queue for.
pub struct Model {
    published: ArcSwap<Snapshot>,
    writer: Mutex<Writer>,
    committed: Condvar,
    /// Writers that still wait for the lock: a writer that sees none commits.
    waiting: AtomicUsize,
    subscribers: Mutex<Vec<SyncSender<Published>>>,
    presence: Presence,
    /// Where the database is; `None` for one that is gone with the process. Not the writer's: checks ask
    /// for it in the middle of a change.
    address: ArcSwapOption<StoreAddress>,
    /// The data directory, if it was opened by one.
    directory: Option<PathBuf>,
    clock: fn() -> i64,
}

struct Writer {
    store: Box<dyn Store>,
    /// The state after the last change of the open transaction.
    tip: Arc<Snapshot>,
    staged: Vec<Arc<LogEntry>>,
    /// The state did not come from the database: all of it is read before anything else is done there.
    is_unseen: bool,
    /// How the open transaction ended, as soon as it did.
    ending: Arc<Ending>,
}

type Ending = OnceLock<Result<(), StoreError>>;

/// The events of one subscriber. One that is more than 4096 behind misses some.
pub struct Subscription {
    events: Receiver<Published>,
}

impl Subscription {
    /// The next event; `None` if none came within the time or the model is gone.
    pub fn next(&self, time: Duration) -> Option<Published> {
        self.events.recv_timeout(time).ok()
    }

    /// Waits for the next event; `None` when the model is gone.
    pub fn wait(&self) -> Option<Published> {
        self.events.recv().ok()
    }

    /// The next event if it is there already.
    pub fn try_next(&self) -> Option<Published> {
        self.events.try_recv().ok()
    }

    /// Like [`next`](Self::next), but tells a model without changes from one that is gone.
    pub fn recv_timeout(&self, time: Duration) -> Result<Published, RecvTimeoutError> {
        self.events.recv_timeout(time)
    }
}

fn system_clock_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The indexes of large tables are built side by side.
fn snapshot_of(loaded: Loaded) -> Snapshot {
    let Loaded { seq, tables } = loaded;
    let tables =
        schema().tables().iter().map(|table| table.id).zip(tables.into_iter().chain(repeat_with(Vec::new)));
    let build = |id, rows| Arc::new(TableData::from_rows(id, rows));
    let tables = thread::scope(|scope| {
        let begun: Vec<_> = tables
            .map(|(id, rows)| match rows.len() {
                0..ROWS_WORTH_A_THREAD => Ok(build(id, rows)),
                _ => Err(scope.spawn(move || build(id, rows))),
            })
            .collect();
        let finished = begun
            .into_iter()
            .map(|table| table.or_else(|thread| thread.join()).unwrap_or_else(|panic| resume_unwind(panic)));
        finished.collect()
    });
    Snapshot::from_tables(seq, tables)
}

impl Model {
    /// Opens (or makes) the database of a data directory and loads it: the one that its `cfgloc` names, or
    /// SQLite in the directory itself.
    pub fn open(directory: &Path) -> Result<Self, ModelError> {
        let named = StoreAddress::read(directory)?;
        let address = named.unwrap_or_else(|| StoreAddress::Sqlite(directory.to_owned()));
        Ok(Self { directory: Some(directory.to_owned()), ..Self::open_at(&address)? })
    }

    /// Opens the database at an address for a data directory, in whose `cfgloc` a later [move](Self::move_to)
    /// is noted. It must be there: see [`StoreError::Missing`]. A database on a read-only file system is
    /// read, and every change of it fails.
    pub fn open_in(directory: &Path, address: &StoreAddress) -> Result<Self, ModelError> {
        let opened = Self::open_store(address, IfMissing::Refuse)?;
        Ok(Self { directory: Some(directory.to_owned()), ..opened })
    }

    /// Opens (or makes) the database at an address.
    pub fn open_at(address: &StoreAddress) -> Result<Self, ModelError> {
        Self::open_store(address, IfMissing::Make)
    }

    fn open_store(address: &StoreAddress, if_missing: IfMissing) -> Result<Self, ModelError> {
        let model = Self::with_store(store::open(address, if_missing)?, system_clock_ms)?;
        model.address.store(Some(Arc::new(address.clone())));
        Ok(model)
    }

    /// A model that is gone with the process; for tests.
    pub fn in_memory() -> Result<Self, ModelError> {
        Self::with_store(Box::new(store::sqlite::Sqlite::in_memory()?), system_clock_ms)
    }

    pub(crate) fn with_store(mut store: Box<dyn Store>, clock: fn() -> i64) -> Result<Self, ModelError> {
        let tip = Arc::new(snapshot_of(store.load()?));
        let writer = Writer {
            store,
            tip: Arc::clone(&tip),
            staged: Vec::new(),
            is_unseen: false,
            ending: Arc::default(),
        };
        Ok(Self::of_writer(writer, clock))
    }

    fn of_writer(writer: Writer, clock: fn() -> i64) -> Self {
        Self {
            published: ArcSwap::new(Arc::clone(&writer.tip)),
            writer: Mutex::new(writer),
            committed: Condvar::new(),
            waiting: AtomicUsize::new(0),
            subscribers: Mutex::default(),
            presence: Presence::default(),
            address: ArcSwapOption::empty(),
            directory: None,
            clock,
        }
    }

    /// Serves stored tables for a data directory whose database is away for the reason of `error`. A follower
    /// takes the database over as soon as it is there.
    pub fn open_saved(directory: &Path, address: &StoreAddress, saved: Saved, error: StoreError) -> Self {
        let Saved { at_ms, snapshot } = saved;
        let writer = Writer {
            store: Box::new(store::later::Later::new(address)),
            tip: Arc::new(snapshot),
            staged: Vec::new(),
            is_unseen: true,
            ending: Arc::default(),
        };
        let model =
            Self { directory: Some(directory.to_owned()), ..Self::of_writer(writer, system_clock_ms) };
        model.address.store(Some(Arc::new(address.clone())));
        model.presence.begin_away(error, at_ms);
        model
    }

    /// The state now. Keep it as long as a question lasts, not longer.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.published.load_full()
    }

    /// The kind of database: `SQLite`, `Pg` or `mysql`.
    pub fn engine(&self) -> &'static str {
        lock(&self.writer).store.engine()
    }

    /// Where the database is; `None` for one that is gone with the process.
    pub fn address(&self) -> Option<StoreAddress> {
        self.address.load().as_deref().cloned()
    }

    /// The database, if it cannot be reached or does not answer: nothing can be written then.
    pub fn away(&self) -> Option<Arc<Away>> {
        self.presence.away()
    }

    /// The data directory that the model was opened for.
    pub fn directory(&self) -> Option<&Path> {
        self.directory.as_deref()
    }

    /// Makes a change. Blocks until it is durable and published, or refused as a whole.
    pub fn apply(&self, mut change: Change) -> Result<Applied, ModelError> {
        let edits = std::mem::take(&mut change.edits);
        self.transact(change, |_| Ok((edits, ()))).map(|(applied, ())| applied)
    }

    /// Makes a change whose edits are computed from the newest state. No other change comes between that
    /// state and this change. `edits` of `head` are ignored. The function should only compute: everybody
    /// else's writes wait for it.
    pub fn transact<T, E: From<ModelError>>(
        &self,
        head: Change,
        compute: impl FnOnce(&Snapshot) -> Result<(Vec<Edit>, T), E>,
    ) -> Result<(Applied, T), E> {
        self.transact_patiently(head, |_| false, compute)
    }

    /// [`transact`](Self::transact) for a caller who can wait: as long as the database is away and nothing
    /// has been computed, `waits` is asked about once a second whether to keep waiting.
    pub fn transact_patiently<T, E: From<ModelError>>(
        &self,
        head: Change,
        waits: impl FnMut(&Away) -> bool,
        compute: impl FnOnce(&Snapshot) -> Result<(Vec<Edit>, T), E>,
    ) -> Result<(Applied, T), E> {
        let mut writer = self.begin(waits).map_err(|e| E::from(e.into()))?;
        let ending = Arc::clone(&writer.ending);
        // A panic in the caller's function must not leave the others' transaction open.
        let staged = catch_unwind(AssertUnwindSafe(|| self.stage(&mut writer, head, compute)));
        if self.waiting.load(Ordering::SeqCst) == 0 || writer.staged.len() >= GROUP_MAX {
            self.end_group(&mut writer);
        }
        let staged = match staged {
            Ok(staged) => staged?,
            Err(panic) => {
                drop(writer);
                resume_unwind(panic)
            }
        };
        loop {
            if let Some(end) = ending.get() {
                end.clone().map_err(|e| E::from(e.into()))?;
                return Ok(staged);
            }
            writer = self.committed.wait(writer).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// What a change would do, without doing it: the same function as for [`transact`](Self::transact).
    pub fn dry_run<T, E: From<ModelError>>(
        &self,
        compute: impl FnOnce(&Snapshot) -> Result<(Vec<Edit>, T), E>,
    ) -> Result<(Vec<RowChange>, T), E> {
        let snapshot = self.snapshot();
        let (edits, value) = compute(&snapshot)?;
        let rows = snapshot.preview(&edits).map_err(|e| E::from(e.into()))?;
        Ok((rows, value))
    }

    /// Everything that is published from now on.
    pub fn subscribe(&self) -> Subscription {
        let (sender, events) = sync_channel(EVENTS_WAITING_MAX);
        lock(&self.subscribers).push(sender);
        Subscription { events }
    }

    /// The writer with an open transaction, on top of the newest change.
    fn begin(&self, mut waits: impl FnMut(&Away) -> bool) -> Result<MutexGuard<'_, Writer>, StoreError> {
        loop {
            let error = match self.presence.silent() {
                Some(away) => away.error.clone(),
                None => match self.try_begin() {
                    Ok(writer) => return Ok(writer),
                    Err(error) => error,
                },
            };
            match self.presence.away() {
                Some(away) if waits(&away) => self.presence.wait(WAITING_PERIOD),
                _ => return Err(error),
            }
        }
    }

    fn try_begin(&self) -> Result<MutexGuard<'_, Writer>, StoreError> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let mut writer = lock(&self.writer);
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        if writer.store.is_open() {
            return Ok(writer);
        }
        let begun = match writer.store.begin() {
            Ok(last) => self.catch_up(&mut writer, last),
            Err(error) => Err(error),
        };
        match self.presence.note(begun) {
            Ok(()) => Ok(writer),
            Err(error) => {
                self.end_group(&mut writer);
                Err(error)
            }
        }
    }

    fn stage<T, E: From<ModelError>>(
        &self,
        writer: &mut Writer,
        head: Change,
        compute: impl FnOnce(&Snapshot) -> Result<(Vec<Edit>, T), E>,
    ) -> Result<(Applied, T), E> {
        let (edits, value) = compute(&writer.tip)?;
        let (effects, mut next) = plan(&writer.tip, &edits).map_err(|e| E::from(e.into()))?;
        let mut rows: Vec<RowChange> = effects.iter().map(Effect::to_row_change).collect();
        let Change { who, mut command, quiet, numbered_after, .. } = head;
        if !quiet && who != "root" {
            secret_writes::add(&mut rows, &edits, &next);
        }
        next.seq = next.seq.max(numbered_after.saturating_add(1));
        truncate(&mut command, COMMAND_BYTES_MAX);
        let change = Arc::new(LogEntry {
            seq: next.seq,
            at_ms: (self.clock)(),
            who,
            command,
            quiet,
            rows,
            is_damaged: false,
        });
        if change.rows.is_empty() {
            return Ok((Applied { change, snapshot: Arc::clone(&writer.tip) }, value));
        }
        if let Err(error) = self.presence.note(writer.store.write(&change, &effects)) {
            if !writer.store.is_open() {
                self.fail_group(writer, &error);
            }
            return Err(E::from(error.into()));
        }
        writer.tip = Arc::new(next);
        writer.staged.push(Arc::clone(&change));
        Ok((Applied { change, snapshot: Arc::clone(&writer.tip) }, value))
    }

    fn end_group(&self, writer: &mut Writer) {
        if writer.staged.is_empty() {
            writer.store.rollback();
            finish(writer, Ok(()));
        } else {
            match self.presence.note(writer.store.commit()) {
                Ok(()) => {
                    let staged = std::mem::take(&mut writer.staged);
                    finish(writer, Ok(()));
                    self.publish(&writer.tip, staged);
                }
                Err(error) => self.fail_group(writer, &error),
            }
        }
        self.committed.notify_all();
    }

    /// The transaction is lost: we return to the published snapshot; every change in it fails.
    fn fail_group(&self, writer: &mut Writer, error: &StoreError) {
        writer.store.rollback();
        writer.staged.clear();
        writer.tip = self.snapshot();
        finish(writer, Err(error.clone()));
        self.committed.notify_all();
    }

    fn publish(&self, snapshot: &Arc<Snapshot>, changes: Vec<Arc<LogEntry>>) {
        self.published.store(Arc::clone(snapshot));
        let mut subscribers = lock(&self.subscribers);
        for change in changes {
            let event = Published { change, snapshot: Arc::clone(snapshot) };
            subscribers.retain(|sender| {
                !matches!(sender.try_send(event.clone()), Err(TrySendError::Disconnected(_)))
            });
        }
    }

    /// Takes over what other processes have committed. Nothing of ours may be staged.
    fn catch_up(&self, writer: &mut Writer, last: u64) -> Result<(), StoreError> {
        if writer.is_unseen {
            return self.reload(writer);
        }
        while writer.tip.seq != last {
            let entries = writer.store.changes_after(writer.tip.seq, CATCH_UP_ENTRIES)?;
            if entries.is_empty() {
                return self.reload(writer);
            }
            for entry in entries {
                // Machines' changes leave the log earlier than others; of a damaged one the rows are unknown.
                if entry.seq != writer.tip.seq + 1 || entry.is_damaged {
                    return self.reload(writer);
                }
                let next = replay(&writer.tip, &entry);
                writer.tip = Arc::new(next);
                self.publish(&writer.tip, vec![Arc::new(entry)]);
            }
        }
        Ok(())
    }

    /// Reads everything again: the log does not reach back to what we know, or the database was replaced.
    fn reload(&self, writer: &mut Writer) -> Result<(), StoreError> {
        let fresh = snapshot_of(writer.store.load()?).after(&writer.tip);
        match fresh.seq < writer.tip.seq {
            true => tracing::error!(
                change = fresh.seq,
                served = writer.tip.seq,
                "the database has lost changes that were served before; its tables are served from now on"
            ),
            false => tracing::info!(seq = fresh.seq, "database loaded again"),
        }
        writer.is_unseen = false;
        writer.tip = Arc::new(fresh);
        self.announce_reload(&writer.tip);
        Ok(())
    }

    fn announce_reload(&self, snapshot: &Arc<Snapshot>) {
        let change = LogEntry {
            seq: snapshot.seq,
            at_ms: (self.clock)(),
            who: "dawn".into(),
            command: "reload".into(),
            quiet: true,
            rows: Vec::new(),
            is_damaged: false,
        };
        self.publish(snapshot, vec![Arc::new(change)]);
    }

    /// The writer while no transaction is open.
    fn idle(&self) -> MutexGuard<'_, Writer> {
        let mut writer = lock(&self.writer);
        while writer.store.is_open() {
            writer = self.committed.wait(writer).unwrap_or_else(PoisonError::into_inner);
        }
        writer
    }

    /// Copies everything into another database and switches to it, without losing a change made meanwhile; a
    /// model that was opened for a data directory notes the place in `cfgloc`. The old database stays as it
    /// is. The change log does not move. A database that has rows is refused unless `replace`.
    pub fn move_to(&self, address: &StoreAddress, who: &str, replace: bool) -> Result<(), ModelError> {
        let there = Self::open_at(address)?;
        let mut writer = self.idle();
        let last = writer.store.last_seq()?;
        self.catch_up(&mut writer, last)?;
        migrate(&writer.tip, &there, who, replace)?;
        let mut there = there.writer.into_inner().unwrap_or_else(PoisonError::into_inner);
        // Loaded again, so that the tables are of this model and not shared with one that is gone.
        let fresh = snapshot_of(there.store.load()?).after(&writer.tip);
        // From here on a restart finds the new place; nothing was acknowledged there yet that the old one
        // does not have.
        if let Some(directory) = &self.directory {
            address.write(directory)?;
        }
        writer.store = there.store;
        self.address.store(Some(Arc::new(address.clone())));
        writer.tip = Arc::new(fresh);
        self.announce_reload(&writer.tip);
        Ok(())
    }

    /// Looks once whether another process has changed the database, and takes it over.
    pub fn poll(&self) -> Result<(), ModelError> {
        let mut writer = self.idle();
        let last = self.presence.note(writer.store.last_seq())?;
        Ok(self.catch_up(&mut writer, last)?)
    }

    /// Follows what other processes change until the follower is dropped. They are noticed within
    /// [`FOLLOW_INTERVAL`], on PostgreSQL at once.
    pub fn follow(self: &Arc<Self>) -> Result<Follower, ModelError> {
        let (stop, stopped) = sync_channel::<()>(0);
        let model = Arc::downgrade(self);
        let work = move || {
            if let Some(model) = model.upgrade() {
                model.presence.followed(true);
            }
            let (mut bell, mut trouble) = (None, String::new());
            while stopped.try_recv() == Err(TryRecvError::Empty) {
                let Some(model) = model.upgrade() else { break };
                bell = model.wait_for_change(bell, &stopped);
                // A database that is away is logged where that is decided.
                let failed = model.poll().err().filter(|_| model.away().is_none());
                let now = failed.map(|error| error.to_string()).unwrap_or_default();
                match (now.as_str(), trouble.as_str()) {
                    ("", "") => {}
                    ("", _) => tracing::info!("changes of other daemons are seen again"),
                    (now, before) if now == before => {}
                    (error, _) => {
                        tracing::warn!(error, "cannot look into the database for changes of other daemons")
                    }
                }
                trouble = now;
            }
            if let Some(model) = model.upgrade() {
                model.presence.followed(false);
            }
        };
        let spawned = thread::Builder::new().name("dawn-follow".into()).spawn(work);
        let thread = spawned
            .map_err(|e| ModelError::Store(StoreError::Other(format!("cannot start a thread: {e}"))))?;
        Ok(Follower { stop: Some(stop), thread: Some(thread) })
    }

    /// Waits until the bell rings or the interval is over; without a bell gets one if the database has bells.
    fn wait_for_change(&self, bell: Option<Box<dyn Bell>>, stopped: &Receiver<()>) -> Option<Box<dyn Bell>> {
        let mut bell = bell.or_else(|| lock(&self.writer).store.bell().unwrap_or_default());
        match &mut bell {
            Some(ringing) => match ringing.wait(FOLLOW_INTERVAL) {
                Ok(_) => bell,
                Err(_) => None,
            },
            None => {
                let _ = stopped.recv_timeout(FOLLOW_INTERVAL);
                None
            }
        }
    }

    /// The newest entries of the change log, newest first, at most `limit`: those before `before` (if given)
    /// that `wanted`. Of values beyond 16 KiB they have the beginning.
    pub fn log(
        &self,
        limit: usize,
        before: Option<u64>,
        wanted: impl Fn(&LogEntry) -> bool,
    ) -> Result<Vec<LogEntry>, ModelError> {
        let (mut found, mut bytes) = (Vec::new(), 0);
        self.newest_first(before, |entry| {
            if wanted(&entry) {
                let entry = entry.for_list();
                bytes += entry.bytes();
                found.push(entry);
            }
            match found.len() < limit && bytes < LOG_BYTES_MAX {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        })?;
        found.truncate(limit);
        Ok(found)
    }

    /// Shows changes to `look`, the newest first, until it has seen enough; at most [`LOG_SEARCH_MAX`]. Only
    /// a few are in memory at once, because each may be large.
    fn newest_first(
        &self,
        before: Option<u64>,
        mut look: impl FnMut(LogEntry) -> ControlFlow<()>,
    ) -> Result<(), ModelError> {
        let (mut next, mut read, mut count) = (before.unwrap_or(u64::MAX), 0, BATCH_ENTRIES_MIN);
        while read < LOG_SEARCH_MAX {
            let batch = self.idle().store.changes_before(next, count)?;
            let Some(last) = batch.last() else { return Ok(()) };
            next = last.seq;
            read += batch.len();
            let bytes: usize = batch.iter().map(LogEntry::bytes).sum();
            count = if bytes > BATCH_BYTES { BATCH_ENTRIES_MIN } else { (count * 2).min(CATCH_UP_ENTRIES) };
            for entry in batch {
                if look(entry).is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// One entry of the change log.
    pub fn change(&self, seq: u64) -> Result<LogEntry, ModelError> {
        let found = self.idle().store.changes_before(seq.saturating_add(1), 1)?;
        found.into_iter().find(|e| e.seq == seq).ok_or(ModelError::NoSuchChange(seq))
    }

    /// The change that `undo` without a number means: the newest an administrator made that is neither an
    /// undo nor undone.
    pub fn newest_undoable(&self) -> Result<LogEntry, ModelError> {
        let (mut undone, mut found) = (HashSet::new(), None);
        self.newest_first(None, |entry| {
            match undone_by(&entry.command) {
                _ if entry.quiet => {}
                Some(seq) => _ = undone.insert(seq),
                None if undone.contains(&entry.seq) || entry.command == MIGRATE_COMMAND => {}
                None => {
                    found = Some(entry);
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        })?;
        found.ok_or(ModelError::NothingToUndo)
    }

    /// Takes a change back, if `check` lets the edits pass. Refused if a row it touched has been changed
    /// since.
    pub fn undo<E: From<ModelError>>(
        &self,
        entry: &LogEntry,
        who: &str,
        check: impl FnOnce(&Snapshot, &[Edit]) -> Result<(), E>,
    ) -> Result<Applied, E> {
        has_inverse(entry)?;
        let head = Change::new(who, format!("{UNDO_COMMAND}{}", entry.seq), Vec::new());
        let undone = self.transact(head, |now| checked_undo(now, entry, check));
        undone.map(|(applied, ())| applied).map_err(|failed| self.why_not_undone(failed, entry))
    }

    fn why_not_undone<E: From<ModelError>>(&self, failed: NotUndone<E>, entry: &LogEntry) -> E {
        match failed {
            NotUndone::Model(error) => self.with_later_change(error, entry).into(),
            NotUndone::Refused(error) => error,
        }
    }

    /// Adds to a refused undo which change is in its way.
    fn with_later_change(&self, error: ModelError, entry: &LogEntry) -> ModelError {
        let ModelError::Undo(UndoError::ChangedSince { table, key, .. }) = error else { return error };
        let touches = |later: &LogEntry| {
            let is_row = |row: &RowChange| row.table.name() == table && row.key.join(",") == key;
            later.seq > entry.seq && later.rows.iter().any(is_row)
        };
        let later = self.log(1, None, touches).ok().and_then(|list| list.first().map(|later| later.seq));
        ModelError::Undo(UndoError::ChangedSince { table, key, later })
    }

    /// What [`undo`](Self::undo) would do.
    pub fn undo_dry_run<E: From<ModelError>>(
        &self,
        entry: &LogEntry,
        check: impl FnOnce(&Snapshot, &[Edit]) -> Result<(), E>,
    ) -> Result<Vec<RowChange>, E> {
        has_inverse(entry)?;
        self.dry_run(|now| checked_undo(now, entry, check))
            .map(|(rows, ())| rows)
            .map_err(|failed| self.why_not_undone(failed, entry))
    }

    /// The command whose work a change is: of an undo, that of the change which it took back.
    ///
    /// # Errors
    /// The log has it no longer.
    pub fn origin_of(&self, entry: &LogEntry) -> Result<String, ModelError> {
        let (mut seq, mut command) = (entry.seq, entry.command.clone());
        while let Some(earlier) = undone_by(&command) {
            if earlier >= seq {
                return Err(ModelError::NoSuchChange(earlier));
            }
            (seq, command) = (earlier, self.change(earlier)?.command);
        }
        Ok(command)
    }
}

/// Why [`Model::undo`] did nothing.
enum NotUndone<E> {
    Model(ModelError),
    Refused(E),
}

impl<E> From<ModelError> for NotUndone<E> {
    fn from(error: ModelError) -> Self {
        Self::Model(error)
    }
}

fn checked_undo<E>(
    now: &Snapshot,
    entry: &LogEntry,
    check: impl FnOnce(&Snapshot, &[Edit]) -> Result<(), E>,
) -> Result<(Vec<Edit>, ()), NotUndone<E>> {
    let edits = undo_edits(now, entry).map_err(ModelError::from)?;
    check(now, &edits).map_err(NotUndone::Refused)?;
    Ok((edits, ()))
}

/// Keeps [`Model::follow`] going; stops it when dropped.
pub struct Follower {
    stop: Option<SyncSender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Drop for Follower {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // The thread cannot wait for itself when it holds the model's last reference.
            if thread.thread().id() != thread::current().id() {
                let _ = thread.join();
            }
        }
    }
}

/// Copies every row of a snapshot into another database, in one change. With `replace` existing rows are
/// replaced; without it a database that has rows is refused.
pub fn migrate(from: &Snapshot, to: &Model, who: &str, replace: bool) -> Result<Applied, ModelError> {
    let head = Change::new(who, MIGRATE_COMMAND, Vec::new());
    let copy = |now: &Snapshot| {
        let mut edits = Vec::new();
        for table in schema().tables() {
            if now.row_count(table.id) > 0 {
                if !replace {
                    return Err(ModelError::NotEmpty(table.name));
                }
                edits.push(Edit::Delete { table: table.id, keys: Vec::new() });
            }
            let cells = |row: &Row| table.cols().map(|c| (c, row.cell(c).cloned())).collect();
            edits.extend(from.rows(table.id).map(|row| Edit::Insert { table: table.id, cells: cells(row) }));
        }
        Ok((edits, ()))
    };
    to.transact(head, copy).map(|(applied, ())| applied)
}

/// How the log names an undo; the number of the change follows.
const UNDO_COMMAND: &str = "undo ";

/// How the log names the arrival of all rows from another database.
const MIGRATE_COMMAND: &str = "migrate";

fn has_inverse(entry: &LogEntry) -> Result<(), ModelError> {
    match entry.command.as_str() {
        _ if entry.is_damaged => Err(ModelError::DamagedChange(entry.seq)),
        _ if entry.quiet => Err(ModelError::OfMachine(entry.seq)),
        MIGRATE_COMMAND => Err(ModelError::NotUndone(entry.seq)),
        _ => Ok(()),
    }
}

/// Cuts a text at a character's border.
pub fn truncate(text: &mut String, bytes_max: usize) {
    text.truncate(text.floor_char_boundary(bytes_max));
}

fn undone_by(command: &str) -> Option<u64> {
    command.strip_prefix(UNDO_COMMAND)?.parse().ok()
}

fn finish(writer: &mut Writer, end: Result<(), StoreError>) {
    let ending = std::mem::take(&mut writer.ending);
    let _ = ending.set(end);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(key: &str, value: &str) -> Vec<Edit> {
        vec![Edit::set_site(key, value).unwrap()]
    }

    fn unchecked(_: &Snapshot, _: &[Edit]) -> Result<(), ModelError> {
        Ok(())
    }

    fn change(edits: Vec<Edit>) -> Change {
        Change::new("root", "test", edits)
    }

    #[test]
    fn what_is_acknowledged_is_there_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let model = Model::open(dir.path()).unwrap();
        let events = model.subscribe();
        let applied = model.apply(change(site("domain", "x"))).unwrap();
        assert_eq!(applied.snapshot.site("domain").as_deref(), Some("x"));
        assert_eq!(events.try_next().unwrap().change.command, "test");
        model
            .apply(change(vec![Edit::set("nodelist", &[("node", "n1")], &[("groups", "all")]).unwrap()]))
            .unwrap();
        drop(model);
        let again = Model::open(dir.path()).unwrap();
        assert_eq!(again.snapshot().site("domain").as_deref(), Some("x"));
        assert!(again.snapshot().has_node("n1"));
        assert_eq!(again.snapshot().seq(), 2);
    }

    #[test]
    fn numbers_go_on_after_those_of_a_backup() {
        let dir = tempfile::tempdir().unwrap();
        let model = Model::open(dir.path()).unwrap();
        let other = Model::open(dir.path()).unwrap();
        let restored = Change { numbered_after: 40, ..change(site("a", "1")) };
        assert_eq!(model.apply(restored).unwrap().change.seq, 41);
        // Another process on the same database follows over the gap.
        assert_eq!(other.apply(change(site("a", "2"))).unwrap().change.seq, 42);
        let earlier = Change { numbered_after: 7, ..change(site("a", "3")) };
        assert_eq!(model.apply(earlier).unwrap().change.seq, 43);
        model.undo(&model.change(41).unwrap(), "root", unchecked).unwrap_err();
        model.undo(&model.newest_undoable().unwrap(), "root", unchecked).unwrap();
        assert_eq!(Model::open(dir.path()).unwrap().snapshot().site("a").as_deref(), Some("2"));
    }

    #[test]
    fn nothing_to_do_is_not_logged() {
        let model = Model::in_memory().unwrap();
        assert!(!model.apply(change(site("a", "1"))).unwrap().is_empty());
        assert!(model.apply(change(site("a", "1"))).unwrap().is_empty());
        assert_eq!(model.snapshot().seq(), 1);
    }

    #[test]
    fn a_refused_change_changes_nothing() {
        let model = Model::in_memory().unwrap();
        let mut edits = site("a", "1");
        edits.push(Edit::set("site", &[], &[]).unwrap());
        assert!(matches!(model.apply(change(edits)), Err(ModelError::Edit(_))));
        assert_eq!(model.snapshot().site("a"), None);
        model.apply(change(site("b", "2"))).unwrap();
    }

    #[test]
    fn many_writers_lose_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let model = Model::open(dir.path()).unwrap();
        let add_one = |now: &Snapshot| {
            let n: u32 = now.site("counter").map_or(0, |t| t.parse().unwrap());
            Ok::<_, ModelError>((site("counter", &(n + 1).to_string()), ()))
        };
        thread::scope(|scope| {
            for _ in 0..50 {
                scope.spawn(|| (0..4).for_each(|_| drop(model.transact(change(vec![]), add_one).unwrap())));
            }
        });
        assert_eq!(model.snapshot().site("counter").as_deref(), Some("200"));
        assert_eq!(Model::open(dir.path()).unwrap().snapshot().site("counter").as_deref(), Some("200"));
    }

    #[test]
    fn a_panicking_writer_hurts_nobody_else() {
        let model = Model::in_memory().unwrap();
        let explode = |_: &Snapshot| -> Result<(Vec<Edit>, ()), ModelError> { panic!("on purpose") };
        let caught = catch_unwind(AssertUnwindSafe(|| model.transact(change(vec![]), explode)));
        assert!(caught.is_err());
        model.apply(change(site("a", "1"))).unwrap();
    }

    #[test]
    fn two_processes_on_one_file() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (Model::open(dir.path()).unwrap(), Model::open(dir.path()).unwrap());
        a.apply(change(site("x", "a"))).unwrap();
        b.apply(change(site("y", "b"))).unwrap();
        assert_eq!(b.snapshot().site("x").as_deref(), Some("a"));
        a.poll().unwrap();
        assert_eq!(a.snapshot().site("y").as_deref(), Some("b"));
        assert_eq!(a.snapshot().seq(), 2);
    }

    #[test]
    fn long_commands_are_cut() {
        let mut text = "ä".repeat(100);
        truncate(&mut text, 11);
        assert_eq!(text, "äääää");
        let model = Model::in_memory().unwrap();
        model.apply(Change::new("root", "x".repeat(1 << 20), site("a", "1"))).unwrap();
        assert_eq!(model.change(1).unwrap().command.len(), COMMAND_BYTES_MAX);
    }

    #[test]
    fn log_and_undo() {
        let model = Model::in_memory().unwrap();
        for (key, value) in [("a", "1"), ("a", "2"), ("b", "3")] {
            model.apply(change(site(key, value))).unwrap();
        }
        model.apply(Change::quiet("n1", "status", site("c", "4"))).unwrap();
        let log = model.log(10, None, |e| !e.quiet).unwrap();
        assert_eq!(log.iter().map(|e| e.seq).collect::<Vec<_>>(), [3, 2, 1]);
        assert!(matches!(model.undo(&model.change(1).unwrap(), "root", unchecked), Err(ModelError::Undo(_))));
        for (undone, a, b) in [(3, Some("2"), None), (2, Some("1"), None), (1, None, None)] {
            let entry = model.newest_undoable().unwrap();
            assert_eq!(entry.seq, undone);
            model.undo(&entry, "root", unchecked).unwrap();
            assert_eq!(model.snapshot().site("a").as_deref(), a);
            assert_eq!(model.snapshot().site("b").as_deref(), b);
        }
        assert!(matches!(model.newest_undoable(), Err(ModelError::NothingToUndo)));
        assert!(matches!(model.change(99), Err(ModelError::NoSuchChange(99))));
    }

    #[test]
    fn long_values_keep_no_change_out_of_the_list() {
        let model = Model::in_memory().unwrap();
        model.apply(change(site("a", "1"))).unwrap();
        let long = "é".repeat(500_000);
        for number in 0..70 {
            model.apply(change(site("b", &format!("{number}{long}")))).unwrap();
        }
        let log = model.log(100, None, |_| true).unwrap();
        assert_eq!(log.len(), 71);
        let value = log[0].rows[0].cells.iter().find_map(|(_, _, new)| new.clone()).unwrap();
        assert!(value.len() < 20_000 && value.ends_with("(1000002 bytes)"), "{} bytes", value.len());
        model.undo(&model.change(71).unwrap(), "root", unchecked).unwrap();
        assert!(model.snapshot().site("b").unwrap().starts_with("68"), "the change itself is whole");
    }

    #[test]
    fn a_move_is_not_undone() {
        let (from, to) = (Model::in_memory().unwrap(), Model::in_memory().unwrap());
        from.apply(change(site("a", "1"))).unwrap();
        migrate(&from.snapshot(), &to, "root", false).unwrap();
        let entry = to.change(1).unwrap();
        assert!(matches!(to.newest_undoable(), Err(ModelError::NothingToUndo)));
        assert!(matches!(to.undo(&entry, "root", unchecked), Err(ModelError::NotUndone(1))));
        assert!(matches!(to.undo_dry_run(&entry, unchecked), Err(ModelError::NotUndone(1))));
        assert_eq!(to.snapshot().site("a").as_deref(), Some("1"));
    }
}
