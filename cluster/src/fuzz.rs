//! Entries for fuzzing: any bytes in, no panic, and the properties hold.

use crate::log;
use crate::saved;
use crate::{Noderange, Snapshot, template};
use std::sync::LazyLock;

type Cells = &'static [(&'static str, &'static str)];

/// A small cluster with groups of every kind, templates and several rows a node.
const ROWS: &[(&str, Cells)] = &[
    ("nodelist", &[("node", "n1"), ("groups", "all,rack1")]),
    ("nodelist", &[("node", "n2"), ("groups", "all")]),
    ("nodelist", &[("node", "node10"), ("groups", "x")]),
    ("nodegroup", &[("groupname", "d"), ("grouptype", "dynamic"), ("wherevals", "mgt==ipmi")]),
    ("nodehm", &[("node", "all"), ("mgt", "ipmi")]),
    ("hosts", &[("node", "all"), ("ip", "|10.0.0.($1+1)|")]),
    ("switch", &[("node", "n1"), ("switch", "s"), ("port", "1")]),
    ("switch", &[("node", "n1"), ("switch", "s"), ("port", "2")]),
];

static CLUSTER: LazyLock<Snapshot> = LazyLock::new(|| Snapshot::from_rows(ROWS.iter().copied()));

/// A noderange: nodes come out sorted, each once, and defined unless unknown names are allowed.
pub fn noderange(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(found) = Noderange::new(&text).expand(&CLUSTER) {
        assert!(found.nodes.is_sorted(), "sorted");
        assert!(found.nodes.iter().all(|n| CLUSTER.has_node(n)), "defined");
    }
    let _ = Noderange::new(&text).unverified().expand(&CLUSTER);
}

/// A template value, then the name of a node, separated by a line break.
pub fn template(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (value, name) = text.split_once('\n').unwrap_or((&text, "n12"));
    let _ = template::expand(value, name);
    let _ = template::evaluate(value, &[name, "012"]);
}

/// A stored piece of the change log.
pub fn change_log(bytes: &[u8]) {
    let mut entry = log::LogEntry {
        seq: 1,
        at_ms: 0,
        who: String::new(),
        command: String::new(),
        quiet: false,
        rows: Vec::new(),
        is_damaged: false,
    };
    log::read_parts(&mut entry, &[String::from_utf8_lossy(bytes).into_owned()]);
    let _ = log::replay(&CLUSTER, &entry);
    let _ = log::undo_edits(&CLUSTER, &entry);
}

/// A snapshot on disk.
pub fn saved_tables(bytes: &[u8]) {
    saved::fuzz(bytes);
}

#[cfg(test)]
mod tests {
    #[test]
    fn seeds() {
        for seed in [
            "all,-n1@d",
            "|n(\\d+)|x($1)|\nn12",
            "{\"owner\":\"me\",\"engine\":\"Pg\",\"dbname\":\"x\",\"hosts\":[\"a\"],\"seq\":1,\"at_ms\":2}\n\
             {\"table\":\"site\",\"columns\":[\"key\"],\"rows\":1}\n[\"a\"]\n",
            r#"[{"t":"site","k":["a"],"o":"i","c":{"key":[null,"a"]}}]"#,
            "",
        ] {
            super::noderange(seed.as_bytes());
            super::template(seed.as_bytes());
            super::change_log(seed.as_bytes());
            super::saved_tables(seed.as_bytes());
        }
    }
}
