//! Machines in the discovery system that asked what to do: the daemon pushes when the answer changes.
//!
//! A machine that waits asks by itself every few minutes only. Each node that asks is noted with the answer.
//! When its tables give another answer (`nodeset`, an edit of its chain, another daemon's write), it is sent
//! the word `restart`, once for each new answer, and asks. A node whose question is under way is left alone:
//! it moves itself. A word that is lost costs the machine its own pause, nothing else.
//!
//! xCAT's discovery system asks on the command port and listens only while it is being discovered; it is not
//! noted here.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use dawn_cluster::{LogEntry, Snapshot, col};
use dawn_plan::{destiny, node_ip};
use dawn_wire::status::{CONFIGURING, FAILED, STANDING_BY};

/// Nodes that are noted; more than machines that wait at once. The one that asked longest ago makes room.
const ASKERS_MAX: usize = 16_384;
/// `nodelist.status` of nodes that an earlier daemon left waiting.
const WAITING_WORDS: [&str; 3] = [STANDING_BY, CONFIGURING, FAILED];

#[derive(Debug)]
struct Asker {
    /// What it was answered, or what it has been sent a word for; `None` while it asks.
    told: Option<String>,
    /// Grows with each question.
    number: u64,
}

/// The nodes that asked.
#[derive(Debug, Default)]
pub(super) struct Askers {
    nodes: HashMap<String, Asker>,
    last_number: u64,
    /// Nodes that are to be sent a word.
    due: BTreeSet<String>,
}

impl Askers {
    /// The nodes that wait by their status: a daemon that was started again goes on from there. Those that
    /// asked already get what was written since.
    pub(super) fn begin(&mut self, snapshot: &Snapshot) {
        self.look_at_all(snapshot);
        for node in snapshot.node_names() {
            let status = snapshot.attr(node, col::nodelist::STATUS);
            if status.is_some_and(|word| WAITING_WORDS.contains(&&*word)) && !self.nodes.contains_key(&**node)
            {
                self.note(node, Some(destiny::due(snapshot, node)));
            }
        }
    }

    /// The node asks; nothing is pushed until it is answered.
    pub(super) fn asks(&mut self, node: &str) {
        self.due.remove(node);
        self.note(node, None);
    }

    /// The node was answered by the tables of `told`; `now` has what was written meanwhile.
    pub(super) fn answered(&mut self, told: &Snapshot, now: &Snapshot, node: &str) {
        let told = destiny::due(told, node);
        if destiny::stays(&told) {
            self.note(node, Some(told));
            self.look(now, node);
        } else {
            self.nodes.remove(node);
        }
    }

    fn note(&mut self, node: &str, told: Option<String>) {
        self.last_number += 1;
        let asker = Asker { told, number: self.last_number };
        self.nodes.insert(node.to_owned(), asker);
        if self.nodes.len() > ASKERS_MAX {
            let oldest =
                self.nodes.iter().min_by_key(|(_, asker)| asker.number).map(|(node, _)| node.clone());
            if let Some(node) = oldest {
                self.nodes.remove(&node);
            }
        }
    }

    /// A change was published, with this snapshot.
    pub(super) fn follow(&mut self, change: &LogEntry, now: &Snapshot) {
        let is_reload = change.rows.is_empty() || change.is_damaged;
        let mut nodes = BTreeSet::new();
        for row in change.rows.iter().filter(|row| row.table == col::chain::CURRSTATE.table) {
            match row.key.first() {
                Some(name) if now.has_node(name) => drop(nodes.insert(name.to_string())),
                // Of a group.
                _ => return self.look_at_all(now),
            }
        }
        if is_reload {
            return self.look_at_all(now);
        }
        nodes.iter().for_each(|node| self.look(now, node));
    }

    fn look_at_all(&mut self, now: &Snapshot) {
        let all: Vec<String> = self.nodes.keys().cloned().collect();
        all.iter().for_each(|node| self.look(now, node));
    }

    fn look(&mut self, now: &Snapshot, node: &str) {
        let Some(Asker { told: Some(told), .. }) = self.nodes.get_mut(node) else { return };
        let state = destiny::due(now, node);
        if *told != state {
            *told = state;
            self.due.insert(node.to_owned());
        }
    }

    /// The node is to do its step again, though its tables are as they were.
    pub(super) fn again(&mut self, node: &str) {
        if self.nodes.get(node).is_some_and(|asker| asker.told.is_some()) {
            self.due.insert(node.to_owned());
        }
    }

    /// A node that is to be sent a word, and its address.
    pub(super) fn take(&mut self, now: &Snapshot) -> Option<(String, IpAddr)> {
        loop {
            let node = self.due.pop_first()?;
            if let Some(address) = node_ip(now, &node) {
                return Some((node, address.into()));
            }
        }
    }

    /// The word could not be said yet.
    pub(super) fn put_back(&mut self, node: String) {
        if self.nodes.contains_key(&node) {
            self.due.insert(node);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dawn_cluster::{Change, Edit, Model};

    /// A model whose changes the askers follow, and what they push.
    struct Desk {
        model: Model,
        changes: dawn_cluster::Subscription,
        askers: Askers,
    }

    impl Desk {
        fn new() -> Self {
            let model = Model::in_memory().expect("a model");
            let changes = model.subscribe();
            let mut desk = Self { model, changes, askers: Askers::default() };
            for (node, ip) in [("cn1", "10.0.0.1"), ("cn2", "10.0.0.2")] {
                desk.set("nodelist", node, &[("groups", "compute")]);
                desk.set("hosts", node, &[("ip", ip)]);
            }
            desk
        }

        /// Writes, and gives the nodes that are pushed for it.
        fn set(&mut self, table: &str, key: &str, cells: &[(&str, &str)]) -> Vec<String> {
            let edit = Edit::set(table, &[("node", key)], cells).expect("an edit");
            self.model.apply(Change::new("root", "test", vec![edit])).expect("a change");
            while let Some(published) = self.changes.try_next() {
                self.askers.follow(&published.change, &published.snapshot);
            }
            self.due()
        }

        fn state(&mut self, node: &str, state: &str) -> Vec<String> {
            self.set("chain", node, &[("currstate", state)])
        }

        fn due(&mut self) -> Vec<String> {
            let now = self.model.snapshot();
            let taken = std::iter::from_fn(|| self.askers.take(&now));
            taken.map(|(node, address)| format!("{node} {address}")).collect()
        }

        fn ask(&mut self, node: &str) {
            self.askers.asks(node);
            let now = self.model.snapshot();
            self.askers.answered(&now, &now, node);
        }
    }

    const NONE: [&str; 0] = [];

    #[test]
    fn a_new_answer_is_pushed_once() {
        let mut desk = Desk::new();
        desk.state("cn1", "standby");
        assert_eq!(desk.state("cn1", "shell"), NONE, "it has not asked");
        desk.ask("cn1");
        assert_eq!(desk.state("cn1", "shell"), NONE, "it knows that");
        assert_eq!(desk.set("nodelist", "cn1", &[("status", "shell")]), NONE);
        assert_eq!(desk.state("cn1", "runcmd=a"), ["cn1 10.0.0.1"]);
        assert_eq!(desk.state("cn1", "runcmd=a"), NONE);
        assert_eq!(desk.state("cn2", "runcmd=a"), NONE);
        desk.ask("cn1");
        assert_eq!(desk.state("cn1", "netboot d-x-c"), ["cn1 10.0.0.1"]);
        desk.ask("cn1");
        assert_eq!(desk.state("cn1", "standby"), NONE, "it has left");
    }

    /// The same step once more is for a node that waits, once.
    #[test]
    fn the_same_again() {
        let mut desk = Desk::new();
        desk.state("cn1", "runcmd=a");
        desk.askers.again("cn1");
        assert_eq!(desk.due(), NONE, "it has not asked");
        desk.ask("cn1");
        desk.askers.again("cn1");
        desk.askers.again("cn2");
        assert_eq!(desk.due(), ["cn1 10.0.0.1"]);
        assert_eq!(desk.due(), NONE);
    }

    /// A node without a state waits for a chain of its own, or of a group of its.
    #[test]
    fn a_chain_is_an_answer() {
        let mut desk = Desk::new();
        desk.ask("cn1");
        desk.ask("cn2");
        assert_eq!(desk.set("chain", "compute", &[("chain", "shell")]), ["cn1 10.0.0.1", "cn2 10.0.0.2"]);
    }

    /// The step that a node takes itself is not pushed; what is written while it is answered is.
    #[test]
    fn a_question_under_way() {
        let mut desk = Desk::new();
        desk.state("cn1", "runcmd=a");
        desk.ask("cn1");
        desk.askers.asks("cn1");
        assert_eq!(desk.state("cn1", "standby"), NONE);
        let told = desk.model.snapshot();
        assert_eq!(desk.state("cn1", "shell"), NONE);
        let now = desk.model.snapshot();
        desk.askers.answered(&told, &now, "cn1");
        assert_eq!(desk.due(), ["cn1 10.0.0.1"]);
    }

    #[test]
    fn a_new_daemon_knows_who_waits() {
        let mut desk = Desk::new();
        desk.state("cn1", "standby");
        desk.set("nodelist", "cn1", &[("status", "standingby")]);
        desk.askers.begin(&desk.model.snapshot());
        assert_eq!(desk.state("cn1", "shell"), ["cn1 10.0.0.1"]);
        assert_eq!(desk.state("cn2", "shell"), NONE);
    }

    #[test]
    fn there_is_an_end_to_them() {
        let mut askers = Askers::default();
        for number in 0..=ASKERS_MAX {
            askers.note(&format!("cn{number}"), Some("standby".to_owned()));
        }
        assert_eq!(askers.nodes.len(), ASKERS_MAX);
        assert!(!askers.nodes.contains_key("cn0"));
    }
}
