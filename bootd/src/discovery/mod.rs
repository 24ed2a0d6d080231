//! Unknown machines become nodes: packets in, decisions, changes of the tables, and the word that a machine
//! waits for.
//!
//! What decides is `dawn-discovery`, which knows no socket, clock or table write. Here is what it needs:
//! packets are kept in an [`Inbox`](inbox::Inbox), one thread takes them, reads switches where that may help,
//! asks the desk, and writes an assignment as one change. The node's reservation is live with that change, as
//! DHCP answers from the tables; then the machine is told to ask again.
//!
//! Packets come from strangers. Those from outside of the networks of the tables, or from an unprivileged
//! port, are not kept. Nothing a packet says is believed beyond its place: it cannot name a node.

mod askers;
mod follow_ups;
mod inbox;
mod post;
mod push;
mod switches;
mod tables;
#[cfg(test)]
mod tests;
mod text;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use dawn_cluster::{Change, Edit, Model, Row, Snapshot, Text, col};
use dawn_discovery::assign::{self, NotNow};
use dawn_discovery::fabric::Answer;
use dawn_discovery::findme::{self, Packet};
use dawn_discovery::inventory::{Difference, differences};
use dawn_discovery::limits::{HIT_TIME, MISS_TIME};
use dawn_discovery::rule::Rule;
use dawn_discovery::{
    Arrival, Assignment, Decision, Desk, Directory, Doubt, Evidence, Fabric, Machine, Method, Miss,
    Surroundings, Verdict,
};
use dawn_plan::destiny;
use dawn_wire::status::DISCOVERED;
use dawn_xcatd::dispatch::Dispatcher;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::clock::status_time;
use crate::output::Stop;
use crate::watch::Watcher;
use askers::Askers;
pub use dawn_discovery::directory::NodeKind;
pub use dawn_discovery::inventory::memory_text;
pub use dawn_discovery::sequential::{Free, Options, Run, SITE_KEY};
use follow_ups::{FollowUp, FollowUps};
use inbox::{Inbox, Taken};
pub(crate) use post::ByPost;
pub use push::Word;
use push::Words;
use tables::Tables;

/// Source ports that only root of a machine can send from: below this number.
const PRIVILEGED_PORTS: u16 = 1024;
/// How long the thread waits for a packet before it looks whether the daemon ends.
const TAKE_TIME: Duration = Duration::from_secs(1);
/// Pause between two looks for nodes that are to be pushed, while no table changes.
const WAKE_PERIOD: Duration = Duration::from_millis(500);
/// Least age of a record of a machine without a node before it is written again.
const RECORD_AGE_MIN: jiff::SignedDuration = jiff::SignedDuration::from_mins(1);
/// Rows of `discoverydata` that machines without a node may fill.
const RECORDS_MAX: usize = 4096;
/// `site` key: methods in the order in which they are asked.
const METHODS_KEY: &str = "discoverymethods";
/// `site` key: rules, separated by blanks.
const RULES_KEY: &str = "discoveryrules";
/// `site` key: networks (`networks.netname`) whose machines wait for an administrator, or `all`.
const APPROVAL_KEY: &str = "discoveryapproval";

/// A machine that waits for an administrator.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Waiting {
    /// UUID, the key of `discoverydata`.
    pub uuid: String,
    /// Its MACs.
    pub macs: Vec<String>,
    /// Machine type and model.
    pub mtm: String,
    /// Serial number.
    pub serial: String,
    /// Why it waits.
    pub reason: String,
    /// What speaks for which node, and what does not.
    pub evidence: Vec<String>,
    /// The nodes that the evidence allows.
    pub nodes: Vec<String>,
}

/// Discovery as the daemon runs it: its inbox, its thread and what it remembers.
pub struct Discovery {
    model: Arc<Model>,
    watcher: Arc<Watcher>,
    inbox: Inbox,
    state: Mutex<State>,
    follow_ups: FollowUps,
    askers: Mutex<Askers>,
    started: Instant,
    /// Words for machines, which are said while the thread works.
    words: Arc<Words>,
}

impl std::fmt::Debug for Discovery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Discovery").finish_non_exhaustive()
    }
}

#[derive(Default)]
struct State {
    desk: Desk,
    fabric: Fabric,
    tables: Tables,
    /// The text of [`SITE_KEY`] that the desk's run was made of.
    run_of: String,
}

/// Why a machine does not become a node.
#[derive(Debug, thiserror::Error)]
enum Undecided {
    /// The desk has not found which one.
    #[error("{}", text::doubt(.0))]
    Doubt(Doubt),
}

impl Discovery {
    /// Discovery of a daemon. Nothing happens before [`Discovery::work`].
    #[must_use]
    pub fn new(model: Arc<Model>, watcher: Arc<Watcher>) -> Self {
        Self {
            model,
            watcher,
            inbox: Inbox::default(),
            state: Mutex::default(),
            follow_ups: FollowUps::default(),
            askers: Mutex::default(),
            started: Instant::now(),
            words: Arc::default(),
        }
    }

    /// A datagram that may be a packet; answers from memory. False for one that is not looked at.
    pub fn offer(&self, from: SocketAddr, datagram: &[u8]) -> bool {
        let ip = from.ip().to_canonical();
        if from.port() >= PRIVILEGED_PORTS {
            self.watcher.asked(ip, "discovery: a packet from an unprivileged port is not looked at");
            return false;
        }
        let snapshot = self.model.snapshot();
        if network_at(&snapshot, ip).is_none() {
            self.watcher.asked(ip, "discovery: a packet from outside of the networks of the tables");
            return false;
        }
        let is_kept = self.inbox.put(ip, datagram);
        if is_kept {
            // At once, or a machine that waits for its turn in a storm sends again and again.
            self.words.put(ip, Word::Processing);
        } else {
            tracing::warn!(peer = %ip, "too many machines wait for discovery; this one has to send again");
        }
        is_kept
    }

    /// Looks at packets until `stop`. For a thread of its own.
    ///
    /// # Errors
    /// No runtime for the questions to switches can be made.
    pub fn work(&self, stop: &CancellationToken) -> std::io::Result<()> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .thread_name("discovery")
            .build()?;
        self.state().tables.follow(self.model.subscribe());
        let words = Arc::clone(&self.words);
        runtime.spawn(async move { words.say().await });
        while !stop.is_cancelled() {
            match self.inbox.take(TAKE_TIME) {
                Some(taken) => self.look(&runtime, taken),
                None => self.state().tables.keep_up(&self.model.snapshot()),
            }
        }
        runtime.shutdown_background();
        Ok(())
    }

    /// Runs commands that the tables name for nodes until `stop`. For a thread of its own, which starts
    /// others.
    pub fn follow_up(&self, dispatcher: &dyn Dispatcher, stop: &CancellationToken) {
        let work = || {
            while !stop.is_cancelled() {
                if let Some(running) = self.follow_ups.take(TAKE_TIME) {
                    follow_ups::carry_out(&running.follow_up, dispatcher, &self.watcher, stop);
                }
            }
        };
        std::thread::scope(|scope| (0..follow_ups::AT_ONCE_MAX).for_each(|_| drop(scope.spawn(work))));
    }

    /// The discovery system of a node asks what to do.
    pub fn asks(&self, node: &str) {
        self.askers().asks(node);
    }

    /// It gets what `told` has for it. From now on it is pushed when that changes.
    pub fn answered(&self, node: &str, told: &Snapshot) {
        self.askers().answered(told, &self.model.snapshot(), node);
    }

    /// Notifies nodes that wait and have the same answer as before: they do the step again.
    pub fn again(&self, nodes: &[&str]) {
        let mut askers = self.askers();
        nodes.iter().for_each(|node| askers.again(node));
    }

    /// Sends the word to nodes whose answer changes, until `stop`. For a thread of its own.
    pub fn wake(&self, stop: &CancellationToken) {
        let changes = self.model.subscribe();
        // What was written before the first announcement.
        self.askers().begin(&self.model.snapshot());
        while !stop.is_cancelled() {
            let first = changes.next(WAKE_PERIOD);
            for published in first.into_iter().chain(std::iter::from_fn(|| changes.try_next())) {
                self.askers().follow(&published.change, &published.snapshot);
            }
            self.push_due();
        }
    }

    /// As many words as there is room for; the others have their turn when those are said.
    fn push_due(&self) {
        let now = self.model.snapshot();
        loop {
            let Some((node, address)) = self.askers().take(&now) else { return };
            if !self.words.put(address, Word::Restart) {
                return self.askers().put_back(node);
            }
            tracing::debug!(node, "a machine that waits is notified: what it is to do has changed");
        }
    }

    /// Commands that are to be run for the node, besides everything else: text of `chain.ondiscover`, or of
    /// a step of its chain.
    pub fn run_later(&self, node: &str, commands: &str) {
        let follow_up = FollowUp { node: node.to_owned(), commands: commands.to_owned() };
        if !self.follow_ups.put(follow_up) {
            self.watcher.trouble(node, "ondiscover: too many nodes wait for their commands; nothing is run");
        }
    }

    fn look(&self, runtime: &Runtime, taken: Taken) {
        let Taken { from, packet: bytes, is_second } = taken;
        let packet = match findme::parse(&bytes) {
            Ok(packet) => packet,
            Err(error) => {
                self.watcher.asked(from, &format!("discovery: the packet is not used: {error}"));
                return;
            }
        };
        // An administrator may have decided meanwhile.
        if is_second && !self.state().desk.queue().has(&packet.machine) {
            return;
        }
        let word = match self.decide(runtime, from, &packet, is_second) {
            Ok(()) => Word::Restart,
            Err(reason) => {
                if let Some(at) = self.second_look(&reason).filter(|_| !is_second) {
                    self.inbox.put_back(from, bytes, at);
                    return;
                }
                self.watcher.asked(from, &format!("discovery: {reason}"));
                Word::Processed
            }
        };
        self.words.put(from, word);
    }

    /// When to look again at a packet that nothing is known for, or whose evidence contradicts itself: as
    /// soon as switches may be read again, which may have learnt its MAC by then, or where it is now.
    fn second_look(&self, reason: &Undecided) -> Option<Instant> {
        let may_change = matches!(reason, Undecided::Doubt(Doubt::NoEvidence | Doubt::Contradiction));
        if !may_change || !methods(&self.model.snapshot()).contains(&Method::Switch) {
            return None;
        }
        Some(self.started + self.state().fabric.readable_at()?)
    }

    /// Makes a node of the machine.
    fn decide(
        &self,
        runtime: &Runtime,
        from: IpAddr,
        packet: &Packet,
        is_second: bool,
    ) -> Result<(), Undecided> {
        let snapshot = self.model.snapshot();
        let machine = &packet.machine;
        let arrival = Arrival { machine, from: push::mac_of(from) };
        let directory = self.refresh(&snapshot);
        self.read_switches(runtime, &snapshot, &directory, &arrival, is_second);
        let decision = self.ask_desk(&snapshot, &directory, &arrival, from);
        match decision.verdict {
            Verdict::Assign(assignment) => {
                self.write(&arrival, &assignment, &decision.evidence).map_err(|reason| {
                    let (node, now) = (&assignment.node, self.now());
                    let reason = reason.to_string();
                    self.state().desk.give_up(now, machine, node, reason.clone(), decision.evidence);
                    self.keep_record(&snapshot, machine, true);
                    Undecided::Doubt(Doubt::NotWritten(node.clone(), reason))
                })
            }
            Verdict::Queue(doubt) => {
                self.keep_record(&snapshot, machine, !matches!(doubt, Doubt::ForeignMac(_)));
                let is_over = decision.evidence.misses.iter().any(|(_, miss)| is_used_up(miss));
                // A node that is held may be free again, because it could not be written.
                if is_over && !self.state().desk.holds_nodes() {
                    self.stop_sequential(&snapshot, from);
                }
                let reason = Undecided::Doubt(doubt);
                if is_second || self.second_look(&reason).is_none() {
                    self.report_contradiction(from, &reason, &decision.evidence);
                }
                Err(reason)
            }
        }
    }

    /// A MAC of a known node that other evidence is against is an event of that node.
    fn report_contradiction(&self, from: IpAddr, reason: &Undecided, evidence: &Evidence) {
        if !matches!(reason, Undecided::Doubt(Doubt::Contradiction)) {
            return;
        }
        let why = evidence.findings.iter().map(text::finding).collect::<Vec<_>>().join("; ");
        let by_mac = evidence.findings.iter().filter(|finding| finding.method == Method::Mac);
        let nodes: BTreeSet<&Text> = by_mac.flat_map(|finding| &finding.nodes).collect();
        nodes.iter().for_each(|node| self.watcher.contradicted(node, from, &why));
    }

    /// Ends the sequential discovery that has nothing left to give, as long as it is still the same. `from`
    /// is the machine that got nothing.
    fn stop_sequential(&self, seen: &Snapshot, from: IpAddr) {
        let text = "discovery: the sequential discovery has no node or address left and is stopped";
        let stopped = self.model.transact(Change::new("discovery", text, Vec::new()), |now| {
            let is_same = now.site(SITE_KEY) == seen.site(SITE_KEY);
            let edit = Edit::delete("site", &[("key", SITE_KEY)]).map_err(Stop::from)?;
            Ok::<_, Stop>((if is_same { vec![edit] } else { Vec::new() }, is_same))
        });
        match stopped {
            Ok((_, true)) => {
                tracing::info!("{text}");
                self.watcher.asked(from, text);
            }
            Ok((_, false)) => {}
            Err(error) => tracing::warn!(?error, "the sequential discovery cannot be stopped"),
        }
    }

    /// What the tables say; and sequential discovery is made of them again where they changed.
    fn refresh(&self, snapshot: &Snapshot) -> Arc<Directory> {
        let mut state = self.state();
        let directory = state.tables.directory(snapshot);
        let run_of = snapshot.site(SITE_KEY).map(|text| text.to_string()).unwrap_or_default();
        if state.run_of != run_of {
            let run = Options::of_site(&run_of).and_then(|options| Run::new(snapshot, options));
            if let (false, Err(error)) = (run_of.is_empty(), &run) {
                tracing::warn!(%error, "site.{SITE_KEY} cannot be read; no sequential discovery is running");
            }
            state.desk.set_run(run.ok());
            state.run_of = run_of;
        }
        directory
    }

    /// A MAC that is a node's, or about which there is doubt, may have moved since the tables were read; a
    /// machine that waits is looked for again as soon as switches may be read.
    fn read_switches(
        &self,
        runtime: &Runtime,
        snapshot: &Snapshot,
        directory: &Directory,
        arrival: &Arrival<'_>,
        is_second: bool,
    ) {
        if !methods(snapshot).contains(&Method::Switch) {
            return;
        }
        let is_known = arrival.macs().any(|mac| snapshot.node_by_mac(mac).is_some());
        let mut state = self.state();
        let is_urgent = is_known || is_second || state.desk.queue().has(arrival.machine);
        let hit_time = if is_urgent { MISS_TIME } else { HIT_TIME };
        let names = state.fabric.due(self.now(), hit_time, arrival.macs(), directory);
        drop(state);
        if names.is_empty() {
            return;
        }
        // Without the lock: commands ask meanwhile.
        let found = runtime.block_on(switches::read(snapshot, &names));
        let mut state = self.state();
        for read in found {
            if let Err(error) = &read.table {
                tracing::warn!(switch = read.switch, %error, "a switch cannot be read");
            }
            let now = self.now();
            let answer = read.table.map_or_else(|error| Answer::Nothing(error.to_string()), Answer::Tables);
            state.fabric.learn(now, &read.switch, answer, directory);
        }
    }

    fn ask_desk(
        &self,
        snapshot: &Snapshot,
        directory: &Directory,
        arrival: &Arrival<'_>,
        from: IpAddr,
    ) -> Decision {
        let (methods, rules) = (methods(snapshot), rules(snapshot));
        let mut state = self.state();
        let State { desk, fabric, .. } = &mut *state;
        let around = Surroundings {
            rules: &rules,
            methods: &methods,
            needs_approval: needs_approval(snapshot, from),
            ..Surroundings::usual(snapshot, directory, fabric)
        };
        desk.arrive(self.now(), &around, arrival)
    }

    /// The assignment as one change; then it need not be held any longer.
    fn write(&self, arrival: &Arrival<'_>, assignment: &Assignment, evidence: &Evidence) -> Result<(), Stop> {
        let node = &assignment.node;
        let why = evidence.findings.iter().find(|finding| finding.nodes.contains(node)).map(text::finding);
        let why = why.unwrap_or_else(|| assignment.method.word().to_owned());
        let head = Change::new("discovery", format!("discovery: {node} by {why}"), Vec::new());
        let run = self.state().desk.run().cloned();
        let deployment = arrival.from;
        let written = self.model.transact(head, |now| {
            let is_settled = assign::is_settled(now, node, arrival.machine);
            let mut edits = if is_settled {
                assign::inventory(now, node, arrival.machine)?
            } else {
                assign::edits(now, arrival.machine, deployment, assignment, run.as_deref())?
            };
            let found_by = now.find_row(&[(col::discoverydata::NODE, node)]).filter(|_| is_settled);
            let found_by = found_by.and_then(|row| row.get(col::discoverydata::METHOD).cloned());
            let method = found_by.as_deref().unwrap_or(assignment.method.word());
            edits.extend(assign::record(now, arrival.machine, node, method, &record_time())?);
            if !is_settled {
                // A range may give a node that is defined by this change.
                edits.extend(found_status(&now.with(&edits)?, node)?);
            }
            Ok::<_, Stop>((edits, (is_settled, differences(now, node, arrival.machine))))
        });
        self.state().desk.release(node);
        let (_, (is_settled, changed)) = written?;
        self.report(node, &changed);
        if !is_settled {
            self.watcher.discovered(node, &why);
            self.on_discover(node);
        }
        Ok(())
    }

    /// The commands of `chain.ondiscover`, for a node that has got its machine.
    fn on_discover(&self, node: &str) {
        if let Some(commands) = self.model.snapshot().attr(node, col::chain::ONDISCOVER) {
            self.run_later(node, &commands);
        }
    }

    /// What of a node's machine is not as it was.
    fn report(&self, node: &str, changed: &[Difference]) {
        changed.iter().for_each(|difference| self.watcher.hardware_changed(node, &difference.to_string()));
    }

    /// The packet of a machine without a node, for `nodediscoverls`: kept, and written again while the
    /// machine waits, at most every [`RECORD_AGE_MIN`]. There are no more of them than [`RECORDS_MAX`], of
    /// which the oldest makes place, though not for one that is not sure to be the sender's own.
    fn keep_record(&self, snapshot: &Snapshot, machine: &Machine, is_own: bool) {
        let (uuid, node) = (col::discoverydata::UUID, col::discoverydata::NODE);
        let present = snapshot.find_row(&[(uuid, &assign::key(snapshot, machine))]);
        if present.as_ref().is_some_and(|row| row.get(node).is_some() || is_fresh(row)) {
            return;
        }
        let mut without_node = snapshot.rows("discoverydata").filter(|row| row.get(node).is_none());
        let oldest =
            without_node.next().filter(|_| present.is_none() && without_node.count() + 1 >= RECORDS_MAX);
        if oldest.is_some() && !is_own {
            return;
        }
        let gone =
            oldest.and_then(|row| row.get(uuid)).map(|key| Edit::delete("discoverydata", &[("uuid", key)]));
        let stored = assign::record(snapshot, machine, "", "undef", &record_time())
            .map_err(|error| error.to_string())
            .and_then(|edits| {
                let gone = gone.transpose().map_err(|error| error.to_string())?;
                let edits = gone.into_iter().chain(edits).collect();
                let change = Change::quiet("discovery", "discovery: a packet", edits);
                self.model.apply(change).map_err(|error| error.to_string())
            });
        if let Err(error) = stored {
            tracing::warn!(error, "the packet of an unknown machine cannot be stored");
        }
    }

    /// Machines that wait, in the order in which they came; then those that an earlier daemon has seen.
    #[must_use]
    pub fn waiting(&self) -> Vec<Waiting> {
        let mut all = self.heard();
        let snapshot = self.model.snapshot();
        let (key, node) = (col::discoverydata::UUID, col::discoverydata::NODE);
        for row in snapshot.rows("discoverydata").filter(|row| row.get(node).is_none()) {
            let uuid = row.get(key).map(ToString::to_string).unwrap_or_default();
            if all.iter().any(|waiting| waiting.uuid == uuid) {
                continue;
            }
            let Some(machine) = assign::of_record(&snapshot, &uuid) else { continue };
            all.push(Waiting {
                macs: machine.macs().map(|mac| mac.to_string()).collect(),
                mtm: machine.mtm,
                serial: machine.serial,
                reason: "known from its record; it is looked at again with its next packet".to_owned(),
                evidence: Vec::new(),
                nodes: Vec::new(),
                uuid,
            });
        }
        all
    }

    fn heard(&self) -> Vec<Waiting> {
        let snapshot = self.model.snapshot();
        let mut state = self.state();
        let list = state.desk.queue().waiting().iter();
        list.map(|waiting| Waiting {
            uuid: assign::key(&snapshot, &waiting.machine),
            macs: waiting.machine.macs().map(|mac| mac.to_string()).collect(),
            mtm: waiting.machine.mtm.clone(),
            serial: waiting.machine.serial.clone(),
            reason: text::reason(&waiting.doubt, &waiting.evidence),
            evidence: text::evidence(&waiting.evidence),
            nodes: suggested(&waiting.doubt, &waiting.evidence),
        })
        .collect()
    }

    /// Takes a machine out of the queue; it comes back with its next packet. False if it does not wait.
    pub fn forget(&self, uuid: &str) -> bool {
        let snapshot = self.model.snapshot();
        let mut state = self.state();
        let queue = state.desk.queue();
        let found = queue.waiting().iter().find(|waiting| assign::key(&snapshot, &waiting.machine) == uuid);
        let machine = found.map(|waiting| waiting.machine.clone());
        machine.is_some_and(|machine| queue.remove(&machine).is_some())
    }

    /// Makes this machine that node, as an administrator says: from its packet that waits, or from its row of
    /// `discoverydata`.
    ///
    /// # Errors
    /// No such machine or node, or a change that the tables refuse.
    pub fn define(&self, who: &str, uuid: &str, node: &str) -> Result<(), Stop> {
        let snapshot = self.model.snapshot();
        let name = node_to_define(&snapshot, node)?;
        let queued = {
            let mut state = self.state();
            let mut waiting = state.desk.queue().waiting().iter();
            waiting
                .find(|waiting| assign::key(&snapshot, &waiting.machine) == uuid)
                .map(|waiting| waiting.machine.clone())
        };
        let machine = queued.or_else(|| assign::of_record(&snapshot, uuid));
        let machine =
            machine.ok_or_else(|| Stop::not_found(format!("No machine with the UUID {uuid} is known.")))?;
        let assignment =
            Assignment { node: name.clone(), method: Method::Mac, stand_ins: Vec::new(), grant: None };
        let head = Change::new(who, format!("nodediscoverdef -u {uuid} -n {name}"), Vec::new());
        let (_, changed) = self.model.transact(head, |now| {
            let mut edits = assign::edits(now, &machine, None, &assignment, None)?;
            edits.extend(assign::record(now, &machine, &name, "manual", &record_time())?);
            edits.extend(found_status(now, &name)?);
            Ok::<_, Stop>((edits, differences(now, &name, &machine)))
        })?;
        self.state().desk.queue().remove(&machine);
        self.watcher.discovered(&name, &format!("{who}, by hand"));
        self.report(&name, &changed);
        self.on_discover(&name);
        let address =
            machine.nics.iter().find_map(|nic| nic.address.split('/').next()?.parse::<IpAddr>().ok());
        if let Some(address) = address {
            push::tell_from_a_thread(address, Word::Restart);
        }
        Ok(())
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn askers(&self) -> MutexGuard<'_, Askers> {
        self.askers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<NotNow> for Stop {
    fn from(error: NotNow) -> Self {
        match error {
            NotNow::Refused(error) => error.into(),
            error => Self::conflict(error.to_string()),
        }
    }
}

/// `nodelist.status` of a node that has got its machine.
fn found_status(now: &Snapshot, node: &str) -> Result<Vec<Edit>, Stop> {
    if !now.site_flag("nodestatus", true) {
        return Ok(Vec::new());
    }
    Ok(destiny::status_edits(now, node, DISCOVERED, &status_time())?)
}

/// The local time, as `discoverydata.discoverytime` has it.
fn record_time() -> String {
    jiff::Zoned::now().strftime(assign::TIME_FORM).to_string()
}

/// The node that a machine is to become.
///
/// # Errors
/// There is none of this name.
pub fn node_to_define(snapshot: &Snapshot, node: &str) -> Result<Text, Stop> {
    snapshot.node_name(node).ok_or_else(|| Stop::not_found(format!("There is no node '{node}'.")))
}

/// A record is younger than [`RECORD_AGE_MIN`]; one whose time cannot be read is not.
fn is_fresh(record: &Row) -> bool {
    let time = record.get(col::discoverydata::DISCOVERYTIME);
    let time = time.and_then(|text| jiff::civil::DateTime::strptime(assign::TIME_FORM, &**text).ok());
    let age = time.map(|time| jiff::Zoned::now().datetime().duration_since(time));
    age.is_some_and(|age| !age.is_negative() && age < RECORD_AGE_MIN)
}

/// The nodes that an administrator will most likely mean.
fn suggested(doubt: &Doubt, evidence: &Evidence) -> Vec<String> {
    match doubt {
        Doubt::Approval(node)
        | Doubt::OtherMac(node, _)
        | Doubt::OtherUuid(node)
        | Doubt::OtherSerial(node)
        | Doubt::NotWritten(node, _)
        | Doubt::NoAddress(node)
        | Doubt::Taken(node) => vec![node.to_string()],
        Doubt::Ambiguous(nodes) => nodes.iter().map(ToString::to_string).collect(),
        _ => {
            let mut nodes: Vec<String> = evidence
                .findings
                .iter()
                .flat_map(|finding| &finding.nodes)
                .map(ToString::to_string)
                .collect();
            nodes.sort();
            nodes.dedup();
            nodes
        }
    }
}

/// The name of the network of an address.
fn network_at(snapshot: &Snapshot, ip: IpAddr) -> Option<String> {
    let IpAddr::V4(address) = ip else { return None };
    let (_, row) = snapshot.network_of(address)?;
    Some(row.get(col::networks::NETNAME).map(ToString::to_string).unwrap_or_default())
}

fn needs_approval(snapshot: &Snapshot, from: IpAddr) -> bool {
    let Some(list) = snapshot.site(APPROVAL_KEY) else { return false };
    let network = network_at(snapshot, from).unwrap_or_default();
    list.split(',').map(str::trim).any(|word| word == "all" || (!word.is_empty() && word == network))
}

/// A sequential discovery has given everything that it had.
fn is_used_up(miss: &Miss) -> bool {
    matches!(miss, Miss::Exhausted | Miss::NoAddress)
}

/// The methods of the cluster in their order; a word that is none is left out.
fn methods(snapshot: &Snapshot) -> Vec<Method> {
    let Some(list) = snapshot.site(METHODS_KEY) else { return Method::ALL.to_vec() };
    let method = |word: &str| Method::ALL.into_iter().find(|method| method.name() == word);
    list.split(',').filter_map(|text| method(text.trim())).collect()
}

fn rules(snapshot: &Snapshot) -> Vec<Rule> {
    let Some(list) = snapshot.site(RULES_KEY) else { return Vec::new() };
    let rules = list.split_whitespace().take(dawn_discovery::limits::RULES_MAX);
    rules.filter_map(|text| text.parse().ok()).collect()
}
