//! `nodes.json` of an outside goconserver: its consoles, one entry for each node.
//!
//! goconserver reads the file when it starts and writes it afterwards. Entries of other nodes stay as they
//! are. Every console is `rcons NODE`, as for conserver ([`super::conserver`]).

use super::conserver::RCONS;
use serde_json::{Map, Value, json};

/// The file.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Nodes(Map<String, Value>);

/// The file is not one of goconserver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not a list of goconserver's nodes; nothing was changed")]
pub(super) struct BadNodes;

impl Nodes {
    /// Reads a file; an empty one has no nodes.
    pub(super) fn read(text: &str) -> Result<Self, BadNodes> {
        match text.trim().is_empty() {
            true => Ok(Self(Map::new())),
            false => serde_json::from_str(text).map(Self).map_err(|_| BadNodes),
        }
    }

    /// The text.
    pub(super) fn text(&self) -> String {
        format!("{:#}\n", Value::Object(self.0.clone()))
    }

    /// Whether a node is in it.
    pub(super) fn has(&self, node: &str) -> bool {
        self.0.contains_key(node)
    }

    /// Nodes whose entries are ours.
    pub(super) fn ours(&self) -> Vec<String> {
        let is_ours = |node: &str, entry: &Value| {
            entry.pointer("/params/cmd").and_then(Value::as_str) == Some(&*command(node))
        };
        self.0.iter().filter(|(node, entry)| is_ours(node, entry)).map(|(node, _)| node.clone()).collect()
    }

    /// Adds or replaces a node.
    pub(super) fn set(&mut self, node: &str, on_demand: bool) {
        let entry = json!({
            "name": node, "driver": "cmd", "params": {"cmd": command(node), "env": ""}, "ondemand": on_demand
        });
        self.0.insert(node.to_owned(), entry);
    }

    /// Removes a node.
    pub(super) fn remove(&mut self, node: &str) {
        self.0.remove(node);
    }
}

fn command(node: &str) -> String {
    format!("{RCONS} {node}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries() {
        let mut nodes = Nodes::read("").unwrap();
        nodes.set("cn1", false);
        assert_eq!(
            serde_json::from_str::<Value>(&nodes.text()).unwrap(),
            json!({"cn1": {"name": "cn1", "driver": "cmd", "ondemand": false,
                "params": {"cmd": "/usr/bin/dawn rcons cn1", "env": ""}}})
        );
        let other = r#"{"x1": {"name": "x1", "driver": "ssh", "params": {"host": "h"}, "ondemand": true}}"#;
        let mut nodes = Nodes::read(other).unwrap();
        nodes.set("cn1", true);
        assert_eq!((nodes.ours(), nodes.has("x1")), (vec!["cn1".to_owned()], true));
        nodes.remove("cn1");
        assert_eq!(nodes, Nodes::read(other).unwrap());
        assert_eq!(Nodes::read("[1]"), Err(BadNodes));
    }
}
