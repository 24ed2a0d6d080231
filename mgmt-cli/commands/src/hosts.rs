//! The lines of `/etc/hosts` that the tables ask for, and their place among the lines of others.
//!
//! Names that are not host names are left out: a cell with a blank or a line end would become further names
//! and lines.

use dawn_bootd::hosts_record;
use dawn_cluster::{Snapshot, is_host_name};
use std::collections::HashSet;
use std::net::IpAddr;

/// How a line looks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Style {
    /// Long name before the short one.
    pub long_first: bool,
    /// Other names before both.
    pub others_first: bool,
    /// Other names with the domain too.
    pub domain_for_others: bool,
}

/// A line to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Address.
    pub ip: IpAddr,
    /// Short name.
    pub name: String,
    line: String,
}

impl Entry {
    /// The line.
    pub fn line(&self) -> &str {
        &self.line
    }
}

/// The entries of a node: its own address, other interfaces, NICs of the table `nics`. Names that are not
/// host names are left out and added to `odd`.
pub fn entries(snapshot: &Snapshot, node: &str, style: Style, odd: &mut Vec<String>) -> Vec<Entry> {
    let addresses = snapshot.named_addresses(node).into_iter();
    addresses.filter_map(|known| entry(snapshot, known.ip, &known.name, &known.aliases, style, odd)).collect()
}

fn entry(
    snapshot: &Snapshot,
    ip: IpAddr,
    name: &str,
    others: &[String],
    style: Style,
    odd: &mut Vec<String>,
) -> Option<Entry> {
    let mut good = |name: &str| {
        let good = is_host_name(name);
        if !good {
            odd.push(name.to_owned());
        }
        good
    };
    if !good(name) {
        return None;
    }
    let domain = snapshot.domain_of(Some(ip)).map(|domain| domain.name).filter(|domain| good(domain));
    let others = others.iter().filter(|name| good(name));
    let (dotted, plain): (Vec<&String>, Vec<&String>) = others.partition(|name| name.contains('.'));
    let mut dotted = dotted.into_iter();
    let long = match (dotted.next(), &domain) {
        (Some(long), _) => long.clone(),
        (None, Some(domain)) => format!("{name}.{domain}"),
        (None, None) => String::new(),
    };
    let mut rest: Vec<String> = plain.into_iter().chain(dotted).cloned().collect();
    if let Some(domain) = domain.filter(|_| style.domain_for_others) {
        let long: Vec<String> =
            rest.iter().filter(|n| !n.contains('.')).map(|n| format!("{n}.{domain}")).collect();
        rest.splice(0..0, long);
    }
    let rest = rest.join(" ");
    let parts: [&str; 3] = match style {
        Style { others_first: true, .. } => [&rest, &long, name],
        Style { long_first: true, .. } => [&long, name, &rest],
        _ => [name, &long, &rest],
    };
    let words: Vec<&str> =
        parts.iter().enumerate().filter(|(at, p)| *at == 2 || !p.is_empty()).map(|(_, p)| *p).collect();
    Some(Entry { ip, name: name.to_owned(), line: format!("{ip} {}", words.join(" ")) })
}

/// The file's text with these entries: lines of the same address or short name are replaced, the first at
/// its place, others left as they are; with `remove` they only go. Lines of `stale` go in any case.
pub fn merge(text: &str, entries: &[&Entry], stale: &HashSet<&str>, remove: bool) -> String {
    let mut written = vec![false; entries.len()];
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = hosts_record::words(line).collect();
        let ip = words.first().and_then(|word| word.parse::<IpAddr>().ok());
        let same = |entry: &&Entry| {
            Some(entry.ip) == ip || words.get(1..).unwrap_or_default().iter().any(|word| *word == entry.name)
        };
        match entries.iter().position(|entry| !words.is_empty() && same(entry)) {
            None if stale.contains(line) => {}
            None => lines.push(line.to_owned()),
            Some(at) => {
                if let (Some(slot), Some(entry)) = (written.get_mut(at), entries.get(at))
                    && !std::mem::replace(slot, true)
                    && !remove
                {
                    lines.push(entry.line.clone());
                }
            }
        }
    }
    if !remove {
        let missing = entries.iter().zip(&written).filter(|(_, written)| !**written);
        lines.extend(missing.map(|(entry, _)| entry.line.clone()));
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_their_places() {
        let rows: [(&str, &[(&str, &str)]); 5] = [
            ("nodelist", &[("node", "cn1"), ("groups", "all")]),
            (
                "hosts",
                &[
                    ("node", "cn1"),
                    ("ip", "10.0.0.1"),
                    ("hostnames", "a,b.c,$(id),x\n6.6.6.6"),
                    ("otherinterfaces", "-ib:10.1.0.1"),
                ],
            ),
            (
                "nics",
                &[
                    ("node", "cn1"),
                    ("nicips", "eth1!10.2.0.1|10.3.0.1"),
                    ("nichostnamesuffixes", "eth1!-e|-f"),
                ],
            ),
            ("site", &[("key", "domain"), ("value", "dom")]),
            ("networks", &[("net", "10.1.0.0"), ("mask", "255.255.0.0"), ("domain", "ib.dom")]),
        ];
        let snapshot = Snapshot::from_rows(rows);
        let mut odd = Vec::new();
        let list = entries(&snapshot, "cn1", Style::default(), &mut odd);
        assert_eq!(odd, ["$(id)", "x\n6.6.6.6"]);
        let list: Vec<&Entry> = list.iter().collect();
        let none = HashSet::new();
        let text = merge("# mine\n127.0.0.1 localhost\n10.9.9.9 cn1 old\n", &list, &none, false);
        expect_test::expect![[r#"
            # mine
            127.0.0.1 localhost
            10.0.0.1 cn1 b.c a
            10.1.0.1 cn1-ib cn1-ib.ib.dom 
            10.2.0.1 cn1-e cn1-e.dom 
            10.3.0.1 cn1-f cn1-f.dom 
        "#]]
        .assert_eq(&text);
        assert_eq!(merge(&text, &list, &none, false), text);
        assert_eq!(merge(&text, &list, &none, true), "# mine\n127.0.0.1 localhost\n");
        let long = entries(&snapshot, "cn1", Style { long_first: true, ..Style::default() }, &mut odd);
        assert_eq!(long.first().map(|entry| entry.line.as_str()), Some("10.0.0.1 b.c cn1 a"));
    }
}
