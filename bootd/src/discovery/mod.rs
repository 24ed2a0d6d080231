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
mod records;
mod settings;
mod switches;
mod tables;
#[cfg(test)]
mod tests;
mod text;
mod waiting;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use dawn_cluster::{Change, Edit, Model, Snapshot, Text, col};
use dawn_discovery::assign::{self, NotNow};
use dawn_discovery::fabric::Answer;
use dawn_discovery::findme::{self, Packet};
use dawn_discovery::inventory::{Difference, differences};
use dawn_discovery::limits::{HIT_TIME, MISS_TIME};
use dawn_discovery::{
    Arrival, Assignment, Decision, Desk, Directory, Doubt, Evidence, Fabric, Method, Miss, Surroundings,
    Verdict,
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
use records::record_time;
use settings::{methods, needs_approval, network_at, rules};
use tables::Tables;
pub use waiting::{Waiting, node_to_define};

/// Source ports that only root of a machine can send from: below this number.
const PRIVILEGED_PORTS: u16 = 1024;
/// How long the thread waits for a packet before it looks whether the daemon ends.
const TAKE_TIME: Duration = Duration::from_secs(1);
/// Pause between two looks for nodes that are to be pushed, while no table changes.
const WAKE_PERIOD: Duration = Duration::from_millis(500);
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
                self.watcher.asked(from, &format!("discovery: {}", text::doubt(&reason)));
                Word::Processed
            }
        };
        self.words.put(from, word);
    }

    /// When to look again at a packet that nothing is known for, or whose evidence contradicts itself: as
    /// soon as switches may be read again, which may have learnt its MAC by then, or where it is now.
    fn second_look(&self, reason: &Doubt) -> Option<Instant> {
        let may_change = matches!(reason, Doubt::NoEvidence | Doubt::Contradiction);
        if !may_change || !methods(&self.model.snapshot()).contains(&Method::Switch) {
            return None;
        }
        Some(self.started + self.state().fabric.readable_at()?)
    }

    /// Makes a node of the machine.
    fn decide(&self, runtime: &Runtime, from: IpAddr, packet: &Packet, is_second: bool) -> Result<(), Doubt> {
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
                    Doubt::NotWritten(node.clone(), reason)
                })
            }
            Verdict::Queue(doubt) => {
                self.keep_record(&snapshot, machine, !matches!(doubt, Doubt::ForeignMac(_)));
                let is_over = decision.evidence.misses.iter().any(|(_, miss)| is_used_up(miss));
                // A node that is held may be free again, because it could not be written.
                if is_over && !self.state().desk.holds_nodes() {
                    self.stop_sequential(&snapshot, from);
                }
                if is_second || self.second_look(&doubt).is_none() {
                    self.report_contradiction(from, &doubt, &decision.evidence);
                }
                Err(doubt)
            }
        }
    }

    /// A MAC of a known node that other evidence is against is an event of that node.
    fn report_contradiction(&self, from: IpAddr, doubt: &Doubt, evidence: &Evidence) {
        if *doubt != Doubt::Contradiction {
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

/// A sequential discovery has given everything that it had.
fn is_used_up(miss: &Miss) -> bool {
    matches!(miss, Miss::Exhausted | Miss::NoAddress)
}
