//! The value of an expression.

use super::parse::{Role, elements, parenthesised, split_top};
use super::span::{Span, is_number, parse_brackets, parse_increment, parse_span};
use super::{
    DEPTH_MAX, Expanded, Noderange, NoderangeError, PATTERNS_LIMITED_MAX, PATTERNS_MAX, TEXT_BYTES_MAX,
    criteria,
};
use crate::groups::{Conditions, GroupKind};
use crate::reach::Reach;
use crate::row::Text;
use crate::snapshot::Snapshot;
use crate::template::linear_regex;
use std::collections::{BTreeSet, HashMap, HashSet};

/// What comes before a bare number.
const NUMBER_PREFIX: &str = "node";

/// Unknown names that are reported at most.
const MISSING_MAX: usize = 1000;

/// Names in any order, possibly several times.
type Names = Vec<Text>;

type Value = Result<Names, NoderangeError>;

struct Eval<'a> {
    how: Noderange<'a>,
    snapshot: &'a Snapshot,
    /// Nodes that exist for the caller.
    seen_count: usize,
    work: usize,
    /// Different criteria and regular expressions so far.
    patterns: usize,
    depth: usize,
    /// Inside of an exclusion or intersection: a name that is missing there makes the result larger.
    narrowing: bool,
    missing: Vec<String>,
    missing_seen: HashSet<String>,
    /// Values of atoms for which every node is examined.
    known: HashMap<String, Names>,
}

pub(super) fn expand(how: Noderange<'_>, snapshot: &Snapshot) -> Result<Expanded, NoderangeError> {
    if how.text.len() > TEXT_BYTES_MAX {
        return Err(NoderangeError::TooLong);
    }
    let mut eval = Eval::new(how, snapshot);
    let text: String = how.text.chars().filter(|c| !matches!(c, '\'' | '"')).collect();
    let mut nodes = eval.range(&text)?;
    settle(&mut nodes);
    if how.exclude {
        nodes = without(nodes, &snapshot.excluded_nodes()?);
    }
    Ok(Expanded { nodes, missing: eval.missing })
}

fn seen_count(reach: Option<&Reach>, snapshot: &Snapshot) -> usize {
    match reach.filter(|reach| !reach.is_whole()) {
        Some(reach) => snapshot.node_names().filter(|node| reach.covers(node)).count(),
        None => snapshot.node_count(),
    }
}

fn settle(names: &mut Names) {
    names.sort_unstable();
    names.dedup();
}

fn without(names: Names, gone: &[Text]) -> Names {
    let gone: HashSet<&Text> = gone.iter().collect();
    names.into_iter().filter(|n| !gone.contains(n)).collect()
}

fn both(names: Names, others: &[Text]) -> Names {
    let others: HashSet<&Text> = others.iter().collect();
    names.into_iter().filter(|n| others.contains(n)).collect()
}

impl<'a> Eval<'a> {
    fn new(how: Noderange<'a>, snapshot: &'a Snapshot) -> Self {
        Self {
            how,
            snapshot,
            seen_count: seen_count(how.seen_by, snapshot),
            work: 0,
            patterns: 0,
            depth: 0,
            narrowing: false,
            missing: Vec::new(),
            missing_seen: HashSet::new(),
            known: HashMap::new(),
        }
    }

    fn spend(&mut self, names: usize) -> Result<(), NoderangeError> {
        self.work = self.work.saturating_add(names);
        let max = self.how.work_max;
        if self.work > max { Err(NoderangeError::TooMuch(max)) } else { Ok(()) }
    }

    fn deeper(&mut self, text: &str, inner: impl FnOnce(&mut Self) -> Value) -> Value {
        if self.depth >= DEPTH_MAX {
            return Err(NoderangeError::TooDeep(text.chars().take(60).collect()));
        }
        self.depth += 1;
        let value = inner(self);
        self.depth -= 1;
        value
    }

    fn range(&mut self, text: &str) -> Value {
        self.deeper(text, |e| {
            let (mut names, mut gone) = (Names::new(), Names::new());
            for (role, operand) in elements(text)? {
                let outer = e.narrowing;
                e.narrowing |= role != Role::Add;
                let value = e.operand(operand);
                e.narrowing = outer;
                let value = value?;
                match role {
                    Role::Add => names.extend(value),
                    Role::Exclude => gone.extend(value),
                    Role::Intersect => {
                        e.spend(names.len())?;
                        names = both(names, &value);
                    }
                }
            }
            Ok(without(names, &gone))
        })
    }

    fn operand(&mut self, operand: &str) -> Value {
        if let Some(path) = operand.strip_prefix('^') {
            return self.file(path);
        }
        let pieces = split_top(operand, '@')?;
        let mut value: Option<Names> = None;
        for piece in pieces.into_iter().filter(|p| !p.is_empty()) {
            let names = match parenthesised(piece) {
                Some(inner) => self.range(inner)?,
                None => self.atom(piece)?,
            };
            value = Some(match value {
                None => names,
                Some(before) => {
                    self.spend(before.len())?;
                    both(before, &names)
                }
            });
        }
        Ok(value.unwrap_or_default())
    }

    fn atom(&mut self, atom: &str) -> Value {
        self.spend(1)?;
        if let Some(names) = self.defined(atom)? {
            return Ok(names);
        }
        if let Some(pattern) = atom.strip_prefix('/') {
            return self.selected(atom, |e| e.matching(pattern));
        }
        if atom.contains(['=', '~']) {
            let secrets = self.how.seen_by.is_none();
            return self.selected(atom, |e| criteria::select(e.snapshot, e.seen(), secrets, atom));
        }
        if atom.contains(['(', ')']) {
            return Err(NoderangeError::Syntax(atom.to_owned()));
        }
        if is_number(atom) {
            return self.names([format!("{NUMBER_PREFIX}{atom}")]);
        }
        if atom.contains('[') {
            return match parse_brackets(atom)? {
                Some(brackets) => {
                    self.spend(brackets.len())?;
                    self.names(brackets.names())
                }
                None => self.unknown(atom),
            };
        }
        let span = if atom.contains('+') { parse_increment(atom) } else { parse_span(atom)? };
        match span {
            Some(span) => self.span(atom, &span),
            None => self.unknown(atom),
        }
    }

    /// The caller may know of this node.
    fn sees(&self, node: &str) -> bool {
        self.how.seen_by.is_none_or(|reach| reach.covers(node))
    }

    /// The nodes that exist for the caller.
    fn seen(&self) -> impl Iterator<Item = &'a Text> + use<'_, 'a> {
        self.snapshot.node_names().filter(|node| self.sees(node))
    }

    /// A node that exists for the caller.
    fn node(&self, name: &str) -> Option<Text> {
        self.snapshot.node_name(name).filter(|node| self.sees(node))
    }

    /// A node or a group.
    fn defined(&mut self, name: &str) -> Result<Option<Names>, NoderangeError> {
        match self.node(name) {
            Some(node) => Ok(Some(vec![node])),
            None => self.group(name),
        }
    }

    fn group(&mut self, name: &str) -> Result<Option<Names>, NoderangeError> {
        match self.snapshot.group_kind(name) {
            None => Ok(None),
            Some(GroupKind::Static) => {
                // Once, too: only the members that the caller sees are charged, but looking costs all.
                let members = match self.known.get(name) {
                    Some(members) => members.clone(),
                    None => self.seen_members(self.snapshot.nodes_listing_group(name)),
                };
                self.spend(members.len())?;
                self.known.entry(name.to_owned()).or_insert_with(|| members.clone());
                Ok(self.exists(members))
            }
            Some(GroupKind::Dynamic(conditions)) => {
                let members = self.examined(name, |e| Ok(e.dynamic_members(&conditions)))?;
                Ok(self.exists(members))
            }
        }
    }

    fn seen_members(&self, members: Names) -> Names {
        members.into_iter().filter(|node| self.sees(node)).collect()
    }

    fn dynamic_members(&self, conditions: &str) -> Names {
        let Ok(conditions) = Conditions::parse_wherevals(conditions) else { return Names::new() };
        if self.how.seen_by.is_some() && conditions.compare_secrets() {
            return Names::new();
        }
        // Nodes out of reach are not looked at: neither names nor time depend on them.
        self.seen().filter(|node| self.snapshot.node_meets(node, &conditions)).cloned().collect()
    }

    /// A group of which a caller sees no member is to that caller as unknown as any other name.
    fn exists(&self, members: Names) -> Option<Names> {
        (self.how.seen_by.is_none() || !members.is_empty()).then_some(members)
    }

    /// The nodes that a criterion or a regular expression selects.
    fn selected(&mut self, atom: &str, find: impl FnOnce(&Self) -> Value) -> Value {
        if !self.known.contains_key(atom) {
            let is_limited = self.how.seen_by.is_some_and(|reach| !reach.is_whole());
            let max = if is_limited { PATTERNS_LIMITED_MAX } else { PATTERNS_MAX };
            self.patterns += 1;
            if self.patterns > max {
                return Err(NoderangeError::TooManyPatterns(max));
            }
        }
        self.examined(atom, find)
    }

    /// An atom for which every node is looked at, once.
    fn examined(&mut self, atom: &str, find: impl FnOnce(&Self) -> Value) -> Value {
        if let Some(names) = self.known.get(atom).cloned() {
            self.spend(names.len())?;
            return Ok(names);
        }
        // Looking at a node costs less than making one up.
        self.spend(self.seen_count / 4)?;
        let names = find(self)?;
        self.known.insert(atom.to_owned(), names.clone());
        Ok(names)
    }

    fn matching(&self, pattern: &str) -> Value {
        let bad = |reason| NoderangeError::Regex { pattern: pattern.to_owned(), reason };
        let re = linear_regex(&format!("^{pattern}$")).map_err(bad)?;
        Ok(self.seen().filter(|name| re.is_match(name)).cloned().collect())
    }

    fn span(&mut self, atom: &str, span: &Span<'_>) -> Value {
        self.spend(span.len())?;
        if atom.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'-' | b':' | b'+')) {
            return self.names(span.names().map(|number| format!("{NUMBER_PREFIX}{number}")));
        }
        self.names(span.names())
    }

    fn names(&mut self, names: impl IntoIterator<Item = String>) -> Value {
        let mut all = Names::new();
        for name in names {
            match self.node(&name) {
                Some(node) => all.push(node),
                None => all.extend(self.other_name(&name)?),
            }
        }
        Ok(all)
    }

    /// A produced name that is not a node: a group, a name with an increment, or unknown.
    fn other_name(&mut self, name: &str) -> Value {
        if let Some(names) = self.group(name)? {
            return Ok(names);
        }
        match parse_increment(name).filter(|_| name.contains('+')) {
            Some(span) => self.deeper(name, |e| e.span(name, &span)),
            None => self.unknown(name),
        }
    }

    fn unknown(&mut self, name: &str) -> Value {
        if !self.how.verify {
            return Ok(vec![name.into()]);
        }
        if self.missing.len() < MISSING_MAX && self.missing_seen.insert(name.to_owned()) {
            self.missing.push(name.to_owned());
        }
        Ok(Names::new())
    }

    fn file(&mut self, path: &str) -> Value {
        let Some(read) = self.how.read_file else { return Err(NoderangeError::FileRefused(path.to_owned())) };
        let Some(content) = read(path) else {
            let path = path.to_owned();
            return if self.narrowing { Err(NoderangeError::FileMissing(path)) } else { Ok(Names::new()) };
        };
        if content.len() > TEXT_BYTES_MAX {
            return Err(NoderangeError::TooLong);
        }
        let (mut names, mut gone) = (Names::new(), Names::new());
        for line in content.lines().filter(|l| !l.starts_with(['#', '^'])) {
            let line = line.split([' ', '\t', ':']).next().unwrap_or("");
            match line.strip_prefix('-') {
                Some(excluded) => gone.extend(self.range(excluded)?),
                None => names.extend(self.range(line)?),
            }
        }
        Ok(without(names, &gone))
    }
}

pub(super) fn shorten(snapshot: &Snapshot, nodes: &[Text]) -> String {
    let mut left: BTreeSet<&Text> = nodes.iter().collect();
    let all = left.clone();
    let mut groups: Vec<(Text, Names)> =
        snapshot.group_names().into_iter().map(|g| (g.clone(), snapshot.group_members(&g))).collect();
    groups.retain(|(_, members)| members.len() > 1 && members.iter().all(|m| all.contains(m)));
    groups.sort_by(|a, b| b.1.len().cmp(&a.1.len()).then_with(|| a.0.cmp(&b.0)));
    let mut parts = Vec::new();
    for (group, members) in &groups {
        if members.iter().filter(|m| left.contains(m)).count() > 1 {
            left.retain(|n| !members.contains(n));
            parts.push(group.to_string());
        }
    }
    parts.extend(left.into_iter().map(|n| n.to_string()));
    parts.join(",")
}
