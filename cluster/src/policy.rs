//! Who may do what: the `policy` table as a pure function.
//!
//! Enabled rows in numeric order of `priority`; the first whose every filled field matches decides, no match
//! means no. An empty field or `*` does not restrict, except that `*` as name demands some peer name. A row
//! with a noderange decides for the nodes it covers: an allow row takes them off the request and later rows
//! decide about the rest, a deny row that covers any of them refuses the whole request. `time` is not
//! evaluated.
//!
//! Where xCAT reads rules in a way that grants by accident, this one does not:
//! * `allow`, `accept` and `trusted` are whole words (there `disallow` permits);
//! * a rule with a noderange allows only what touches these nodes;
//! * a `parameters` pattern or noderange that cannot be read makes an allow row not match and a deny row
//!   match;
//! * the hosts that a request says it comes from count only if a trusted peer passes it on.

use crate::reach::Reach;
use crate::row::{Row, Text};
use crate::schema::Col;
use crate::snapshot::Snapshot;
use crate::template::linear_regex;
use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::sync::LazyLock;

struct PolicyCols {
    priority: Col,
    name: Col,
    host: Col,
    commands: Col,
    parameters: Col,
    noderange: Col,
    rule: Col,
}

static COLS: LazyLock<PolicyCols> = LazyLock::new(|| PolicyCols {
    priority: Col::known("policy.priority"),
    name: Col::known("policy.name"),
    host: Col::known("policy.host"),
    commands: Col::known("policy.commands"),
    parameters: Col::known("policy.parameters"),
    noderange: Col::known("policy.noderange"),
    rule: Col::known("policy.rule"),
});

/// What is asked for, and by whom.
#[derive(Clone, Debug, Default)]
pub struct PolicyRequest<'a> {
    /// CN of the certificate, or the user of a password or token.
    pub peer_name: Option<&'a str>,
    /// Short host name or address of the peer.
    pub peer_host: &'a str,
    /// Hosts that the request says it comes from (`remote_client`, comma list); counts for trusted peers
    /// only.
    pub remote_client: Option<&'a str>,
    /// The command.
    pub command: &'a str,
    /// Its arguments.
    pub args: &'a [String],
    /// The nodes it is for, expanded.
    pub nodes: &'a [String],
    /// It touches something that is not a node: other objects, whole tables. A rule for some nodes does not
    /// allow it.
    pub beyond_nodes: bool,
}

/// The answer, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The request may be carried out.
    pub allowed: bool,
    /// The peer may act in another user's name.
    pub trusted: bool,
    /// What decided.
    pub reason: Reason,
}

/// What decided about a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The row with this priority.
    Row(Text),
    /// No row covers the request, or not these nodes of it.
    NoRule {
        /// Nodes that no row covers.
        nodes: Vec<String>,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Row(priority) => write!(f, "policy rule {priority}"),
            Self::NoRule { nodes } if nodes.is_empty() => f.write_str("no policy rule"),
            Self::NoRule { nodes } => write!(f, "no policy rule for {}", nodes.join(",")),
        }
    }
}

/// What a rule says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rule {
    Allow,
    Deny,
}

impl Snapshot {
    /// Whether a request may be carried out.
    pub fn policy(&self, request: &PolicyRequest<'_>) -> Verdict {
        let (rows, trusted) = self.policy_rows(request);
        let mut left: Vec<&str> = request.nodes.iter().map(String::as_str).collect();
        for row in rows {
            let rule = rule(row);
            if !matches(row, rule, request, trusted) {
                continue;
            }
            let decided =
                |allowed| Verdict { allowed, trusted, reason: Reason::Row(text(row, COLS.priority).into()) };
            match self.overlap(row, rule, request.beyond_nodes, &left) {
                Overlap::None => {}
                Overlap::Part(rest) if rule == Rule::Allow => left = rest,
                Overlap::Part(_) | Overlap::Whole => return decided(rule == Rule::Allow),
            }
        }
        let nodes = left.into_iter().map(str::to_owned).collect();
        Verdict { allowed: false, trusted, reason: Reason::NoRule { nodes } }
    }

    /// For which nodes the rows allow a command, regardless of the nodes in the request.
    pub fn reach(&self, request: &PolicyRequest<'_>) -> Reach {
        let (rows, trusted) = self.policy_rows(request);
        self.reach_by(&rows, trusted, request)
    }

    /// The same by the rows alone that ask for a name: what is open to every caller does not count.
    pub fn reach_by_name(&self, request: &PolicyRequest<'_>) -> Reach {
        let (mut rows, trusted) = self.policy_rows(request);
        rows.retain(|row| !text(row, COLS.name).is_empty() || rule(row) == Rule::Deny);
        self.reach_by(&rows, trusted, request)
    }

    fn reach_by(&self, rows: &[&Row], trusted: bool, request: &PolicyRequest<'_>) -> Reach {
        let mut reach = Reach::default();
        for row in rows {
            let rule = rule(row);
            if !matches(row, rule, request, trusted) {
                continue;
            }
            let noderange = text(row, COLS.noderange);
            if noderange.is_empty() || noderange == "*" {
                reach.all = rule == Rule::Allow;
                break;
            }
            match (self.covered(noderange), rule) {
                (Some(nodes), Rule::Allow) => {
                    let Reach { allowed, denied, .. } = &mut reach;
                    allowed.extend(nodes.into_iter().filter(|node| !denied.contains(node)));
                }
                (Some(nodes), Rule::Deny) => {
                    let Reach { allowed, denied, .. } = &mut reach;
                    denied.extend(nodes.into_iter().filter(|node| !allowed.contains(node)));
                }
                (None, Rule::Allow) => {}
                (None, Rule::Deny) => break,
            }
        }
        reach
    }

    /// What the enabled rows of a priority hold that cannot mean what somebody meant; for the command that
    /// writes them. How such a row decides is said with it.
    pub fn policy_problems(&self, priority: &str) -> Vec<String> {
        let rows = self.enabled_rows(COLS.priority.table);
        rows.filter(|row| text(row, COLS.priority) == priority).flat_map(|row| self.problems(row)).collect()
    }

    fn problems(&self, row: &Row) -> Vec<String> {
        let mut found = Vec::new();
        let at = text(row, COLS.priority);
        if !at.trim_start().starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '.') {
            found.push("the priority does not begin with a number, so it counts as 0".to_owned());
        }
        let unknown: Vec<&str> = words(row).filter(|word| !is_rule_word(word)).collect();
        if words(row).next().is_none() {
            found.push("there is no rule, so the row denies".to_owned());
        } else if !unknown.is_empty() {
            let unknown = unknown.join(" ");
            found.push(format!(
                "the rule '{unknown}' is not allow, accept, trusted or deny, so the row denies"
            ));
        }
        let pattern = text(row, COLS.parameters);
        if !matches!(pattern, "" | "*") && linear_regex(pattern).is_err() {
            found.push(format!("parameters: '{pattern}' is not a regular expression, {}", unread(rule(row))));
        }
        let noderange = text(row, COLS.noderange);
        if !matches!(noderange, "" | "*") {
            match crate::Noderange::new(noderange).with_excluded().expand(self) {
                Err(error) => found.push(format!("noderange: {error}, {}", unread(rule(row)))),
                Ok(covered) if covered.missing.is_empty() => {}
                Ok(covered) => {
                    found.push(format!(
                        "noderange: there is no node or group {} yet",
                        covered.missing.join(", ")
                    ));
                }
            }
        }
        found.into_iter().map(|problem| format!("policy {at}: {problem}")).collect()
    }

    /// Enabled rows in the order of their priority, and whether one names the peer as trusted.
    fn policy_rows(&self, request: &PolicyRequest<'_>) -> (Vec<&Row>, bool) {
        let mut rows: Vec<&Row> = self.enabled_rows(COLS.priority.table).collect();
        rows.sort_by(|a, b| priority(a).partial_cmp(&priority(b)).unwrap_or(Ordering::Equal));
        let names_peer = |row: &&&Row| {
            request.peer_name.is_some() && row.get(COLS.name).map(|t| &**t) == request.peer_name
        };
        let trusted =
            rows.iter().filter(names_peer).any(|row| words(row).any(|w| w.eq_ignore_ascii_case("trusted")));
        (rows, trusted)
    }

    /// The names that a row's noderange covers; `None` if it cannot be read. Names are not checked for
    /// existence: a caller who may make cn1 to cn9 may make those that do not exist yet.
    fn covered(&self, noderange: &str) -> Option<Vec<Text>> {
        let covered = crate::Noderange::new(noderange).unverified().with_excluded().expand(self);
        covered.ok().map(|covered| covered.nodes)
    }

    /// Whether another state of the tables changes for which nodes the rules hold, other than by new and by
    /// removed nodes; these may not widen what a rule for the peer allows, or take them from a denial.
    pub fn policy_shifts(&self, next: &Self, peer: Option<&str>) -> bool {
        self.enabled_rows(COLS.priority.table).any(|row| {
            let noderange = text(row, COLS.noderange);
            if noderange.is_empty() || noderange == "*" {
                return false;
            }
            let set = |state: &Self| state.covered(noderange).map(HashSet::<Text>::from_iter);
            let (Some(before), Some(after)) = (set(self), set(next)) else {
                return set(self).is_some() || set(next).is_some();
            };
            let is_allowing = rule(row) == Rule::Allow;
            let is_peers = matches!(text(row, COLS.name), "" | "*") || peer == Some(text(row, COLS.name));
            let may_gain = |node: &Text| !(self.has_node(node) || is_allowing && is_peers);
            let may_lose = |node: &Text| !next.has_node(node) && is_allowing;
            after.difference(&before).any(|node| !may_gain(node))
                || before.difference(&after).any(|node| !may_lose(node))
        })
    }

    fn overlap<'a>(&self, row: &Row, rule: Rule, beyond_nodes: bool, nodes: &[&'a str]) -> Overlap<'a> {
        let noderange = text(row, COLS.noderange);
        if noderange.is_empty() || noderange == "*" {
            return Overlap::Whole;
        }
        if nodes.is_empty() || beyond_nodes && rule == Rule::Allow {
            return Overlap::None;
        }
        let Some(covered) = self.covered(noderange) else {
            return if rule == Rule::Deny { Overlap::Whole } else { Overlap::None };
        };
        let covered: HashSet<&str> = covered.iter().map(|n| &**n).collect();
        let rest: Vec<&str> = nodes.iter().filter(|n| !covered.contains(**n)).copied().collect();
        match rest.len() {
            0 => Overlap::Whole,
            n if n == nodes.len() => Overlap::None,
            _ => Overlap::Part(rest),
        }
    }
}

enum Overlap<'a> {
    None,
    /// The nodes that are not covered.
    Part(Vec<&'a str>),
    Whole,
}

fn text(row: &Row, col: Col) -> &str {
    row.get(col).map_or("", |t| t)
}

/// The number at the start of `priority`; 0 without one.
fn priority(row: &Row) -> f64 {
    let text = text(row, COLS.priority).trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '-').unwrap_or(text.len());
    text.get(..end).and_then(|t| t.parse().ok()).unwrap_or(0.0)
}

fn words(row: &Row) -> impl Iterator<Item = &str> {
    text(row, COLS.rule).split(|c: char| c == ',' || c.is_whitespace()).filter(|w| !w.is_empty())
}

fn permits(word: &str) -> bool {
    ["allow", "accept", "trusted"].iter().any(|known| word.eq_ignore_ascii_case(known))
}

fn is_rule_word(word: &str) -> bool {
    permits(word) || word.eq_ignore_ascii_case("deny")
}

/// What a row does whose pattern or noderange cannot be read.
fn unread(rule: Rule) -> &'static str {
    match rule {
        Rule::Allow => "so the row allows nothing",
        Rule::Deny => "so the row denies all that fits its other columns",
    }
}

fn rule(row: &Row) -> Rule {
    if words(row).next().is_some() && words(row).all(permits) { Rule::Allow } else { Rule::Deny }
}

/// Every field but noderange matches.
fn matches(row: &Row, rule: Rule, request: &PolicyRequest<'_>, trusted: bool) -> bool {
    let field = |col: Col| Some(text(row, col)).filter(|t| !t.is_empty() && *t != "*");
    let name = match text(row, COLS.name) {
        "" => true,
        "*" => request.peer_name.is_some(),
        name => request.peer_name == Some(name),
    };
    let host = field(COLS.host).is_none_or(|host| match request.remote_client.filter(|_| trusted) {
        Some(clients) => clients.split(',').any(|client| client == host),
        None => host == request.peer_host,
    });
    let command = field(COLS.commands).is_none_or(|list| list.split(',').any(|c| c == request.command));
    name && host && command && field(COLS.parameters).is_none_or(|p| parameters(p, rule, request.args))
}

fn parameters(pattern: &str, rule: Rule, args: &[String]) -> bool {
    match linear_regex(pattern) {
        Ok(re) => re.is_match(&args.join(" ")),
        Err(_) => rule == Rule::Deny,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Cells = &'static [(&'static str, &'static str)];

    fn snapshot(rows: &[Cells]) -> Snapshot {
        let nodes: [(&str, Cells); 3] = [
            ("nodelist", &[("node", "n1"), ("groups", "a")]),
            ("nodelist", &[("node", "n2"), ("groups", "a")]),
            ("nodelist", &[("node", "n3"), ("groups", "b")]),
        ];
        Snapshot::from_rows(nodes.into_iter().chain(rows.iter().map(|r| ("policy", *r))))
    }

    fn ask(snapshot: &Snapshot, peer: Option<&str>, command: &str, nodes: &str) -> String {
        let nodes: Vec<String> = nodes.split(',').filter(|n| !n.is_empty()).map(str::to_owned).collect();
        let args = ["-V".to_owned(), "stat".to_owned()];
        let request = PolicyRequest {
            peer_name: peer,
            peer_host: "h",
            command,
            args: &args,
            nodes: &nodes,
            ..Default::default()
        };
        let verdict = snapshot.policy(&request);
        let word = if verdict.allowed { "yes" } else { "no" };
        format!("{word}{}: {}", if verdict.trusted { " trusted" } else { "" }, verdict.reason)
    }

    #[test]
    fn problems_are_named() {
        let problems = |cells: Cells| snapshot(&[cells]).policy_problems(cells[0].1);
        let none: [String; 0] = [];
        assert_eq!(problems(&[("priority", "1"), ("name", "root"), ("rule", "allow")]), none);
        let all = [
            ("priority", "high"),
            ("commands", "nodels"),
            ("parameters", "a("),
            ("noderange", "n1,n7"),
            ("rule", "alow"),
        ];
        let texts = problems(Box::leak(Box::new(all)));
        assert_eq!(
            texts,
            [
                "policy high: the priority does not begin with a number, so it counts as 0",
                "policy high: the rule 'alow' is not allow, accept, trusted or deny, so the row denies",
                "policy high: parameters: 'a(' is not a regular expression, so the row denies all that fits its \
                 other columns",
                "policy high: noderange: there is no node or group n7 yet",
            ]
        );
        assert_eq!(problems(&[("priority", "2")]), ["policy 2: there is no rule, so the row denies"]);
    }

    #[test]
    fn rows_decide() {
        const ROOT: Cells = &[("priority", "1"), ("name", "root"), ("rule", "allow")];
        for (rows, peer, command, nodes, expect) in [
            (vec![], Some("root"), "x", "", "no: no policy rule"),
            (vec![ROOT], Some("root"), "x", "n1", "yes: policy rule 1"),
            (vec![ROOT], Some("joe"), "x", "", "no: no policy rule"),
            (vec![ROOT], None, "x", "n1,n2", "no: no policy rule for n1,n2"),
            (
                vec![&[("priority", "2"), ("commands", "getdestiny,x"), ("rule", "ALLOW")][..]],
                None,
                "x",
                "",
                "yes: policy rule 2",
            ),
            (
                vec![&[("priority", "2"), ("commands", "getdestiny"), ("rule", "allow")][..]],
                None,
                "getdest",
                "",
                "no: no policy rule",
            ),
            (
                vec![&[("priority", "2"), ("name", "*"), ("rule", "allow")][..]],
                None,
                "x",
                "",
                "no: no policy rule",
            ),
            (
                vec![&[("priority", "2"), ("name", "*"), ("rule", "accept")][..]],
                Some("j"),
                "x",
                "",
                "yes: policy rule 2",
            ),
            (
                vec![&[("priority", "2"), ("name", "j"), ("rule", "trusted")][..]],
                Some("j"),
                "x",
                "",
                "yes trusted: policy rule 2",
            ),
            (vec![&[("priority", "2"), ("rule", "disallow")][..]], Some("j"), "x", "", "no: policy rule 2"),
            (vec![&[("priority", "2")][..]], Some("j"), "x", "", "no: policy rule 2"),
            (
                vec![&[("priority", "2"), ("host", "other"), ("rule", "allow")][..]],
                Some("j"),
                "x",
                "",
                "no: no policy rule",
            ),
            (
                vec![&[("priority", "2"), ("host", "h"), ("rule", "allow")][..]],
                Some("j"),
                "x",
                "",
                "yes: policy rule 2",
            ),
            (
                vec![&[("priority", "2"), ("parameters", "^-V st"), ("rule", "allow")][..]],
                Some("j"),
                "x",
                "",
                "yes: policy rule 2",
            ),
            (
                vec![&[("priority", "2"), ("parameters", "^stat"), ("rule", "allow")][..]],
                Some("j"),
                "x",
                "",
                "no: no policy rule",
            ),
            (
                vec![&[("priority", "2"), ("parameters", "(("), ("rule", "deny")][..], ROOT],
                Some("root"),
                "x",
                "",
                "yes: policy rule 1",
            ),
            (
                vec![&[("priority", "0.5"), ("parameters", "(("), ("rule", "deny")][..], ROOT],
                Some("root"),
                "x",
                "",
                "no: policy rule 0.5",
            ),
            (
                vec![
                    &[("priority", "10"), ("rule", "deny")][..],
                    &[("priority", "9"), ("rule", "allow")][..],
                ],
                None,
                "x",
                "",
                "yes: policy rule 9",
            ),
            (
                vec![&[("priority", "1"), ("noderange", "a"), ("rule", "allow")][..]],
                None,
                "x",
                "n1",
                "yes: policy rule 1",
            ),
            (
                vec![&[("priority", "1"), ("noderange", "a"), ("rule", "allow")][..]],
                None,
                "x",
                "",
                "no: no policy rule",
            ),
            (
                vec![&[("priority", "1"), ("noderange", "a"), ("rule", "allow")][..]],
                None,
                "x",
                "n1,n3",
                "no: no policy rule for n3",
            ),
            (
                vec![
                    &[("priority", "1"), ("noderange", "a"), ("rule", "allow")][..],
                    &[("priority", "2"), ("noderange", "b"), ("rule", "allow")][..],
                ],
                None,
                "x",
                "n1,n3",
                "yes: policy rule 2",
            ),
            (
                vec![
                    &[("priority", "1"), ("noderange", "b"), ("rule", "deny")][..],
                    &[("priority", "2"), ("rule", "allow")][..],
                ],
                None,
                "x",
                "n1,n3",
                "no: policy rule 1",
            ),
            (
                vec![&[("priority", "1"), ("rule", "allow"), ("disable", "1")][..]],
                None,
                "x",
                "",
                "no: no policy rule",
            ),
        ] {
            assert_eq!(ask(&snapshot(&rows), peer, command, nodes), expect, "{rows:?}");
        }
    }

    #[test]
    fn a_stranger_cannot_claim_a_host() {
        let snapshot = snapshot(&[
            &[("priority", "1"), ("host", "mn"), ("rule", "allow")],
            &[("priority", "2"), ("name", "sn"), ("commands", "nothing"), ("rule", "trusted")],
        ]);
        let from = |peer| {
            let remote_client = Some("x,mn");
            snapshot
                .policy(&PolicyRequest {
                    peer_name: Some(peer),
                    remote_client,
                    command: "c",
                    ..Default::default()
                })
                .allowed
        };
        assert!(!from("joe"));
        assert!(from("sn"));
    }
}
