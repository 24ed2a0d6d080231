//! A directed graph of names, and its cycles.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Who imports whom.
#[derive(Debug, Default)]
pub(super) struct Graph {
    edges: BTreeMap<String, BTreeSet<String>>,
}

/// Names that all reach each other.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Knot {
    /// How many names.
    pub size: usize,
    /// The shortest cycle through the first of them; the first name is repeated at the end.
    pub cycle: Vec<String>,
}

impl Graph {
    /// `from` imports `to`; a name that imports itself does not count.
    pub(super) fn add(&mut self, from: &str, to: &str) {
        if from != to {
            self.edges.entry(from.to_owned()).or_default().insert(to.to_owned());
        }
    }

    /// All knots, in alphabetical order of their first names.
    pub(super) fn knots(&self) -> Vec<Knot> {
        let reach: BTreeMap<&str, BTreeSet<&str>> =
            self.edges.keys().map(|name| (name.as_str(), self.reachable(name))).collect();
        let mut seen = BTreeSet::new();
        let mut knots = Vec::new();
        for (&name, reached) in &reach {
            if !reached.contains(name) || seen.contains(name) {
                continue;
            }
            let comes_back = |other: &&&str| reach.get(**other).is_some_and(|back| back.contains(name));
            let members: BTreeSet<&str> = reached.iter().filter(comes_back).copied().collect();
            knots.push(Knot { size: members.len(), cycle: self.shortest_cycle(name) });
            seen.extend(members);
        }
        knots
    }

    fn reachable(&self, from: &str) -> BTreeSet<&str> {
        let mut reached = BTreeSet::new();
        let mut waiting: Vec<&str> = self.next(from).collect();
        while let Some(name) = waiting.pop() {
            if reached.insert(name) {
                waiting.extend(self.next(name));
            }
        }
        reached
    }

    /// A breadth-first search from a name back to itself.
    fn shortest_cycle(&self, start: &str) -> Vec<String> {
        let mut came_from: BTreeMap<&str, &str> = BTreeMap::new();
        let mut waiting = VecDeque::from([start]);
        while let Some(name) = waiting.pop_front() {
            for next in self.next(name) {
                if next == start {
                    return way_back(&came_from, start, name);
                }
                if !came_from.contains_key(next) {
                    came_from.insert(next, name);
                    waiting.push_back(next);
                }
            }
        }
        Vec::new()
    }

    fn next(&self, name: &str) -> impl Iterator<Item = &str> {
        self.edges.get(name).into_iter().flatten().map(String::as_str)
    }
}

fn way_back(came_from: &BTreeMap<&str, &str>, start: &str, last: &str) -> Vec<String> {
    let mut way = vec![start.to_owned(), last.to_owned()];
    let mut at = last;
    while at != start {
        let Some(&before) = came_from.get(at) else { break };
        way.push(before.to_owned());
        at = before;
    }
    way.dedup();
    way.reverse();
    if way.last().map(String::as_str) != Some(start) {
        way.push(start.to_owned());
    }
    way
}
