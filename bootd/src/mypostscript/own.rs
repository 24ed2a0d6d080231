//! The site's own template: where it is, and the values of a node for it.
//!
//! A template that cannot be read is reported in the log, and nodes get the built-in script. Files that it
//! includes are below the install directory and readable for everybody, as nodes could fetch them anyway.

use super::template::{Block, Item, Source, Word, render};
use super::{cell, network_of_firmware, networks, packages, routes, scripts, site, variables};
use dawn_cluster::secrets::{Sensitivity, is_secret, of_site_key};
use dawn_cluster::{Col, Snapshot, col, schema};
use dawn_plan::local_path;
use dawn_serving::bounded_read::{self, Refused, Rights};
use dawn_serving::disks::within;
use dawn_wire::script::Half;
use std::collections::HashMap;
use std::path::{Component, Path};

/// The template, below the install directory.
const TEMPLATE: &str = "/install/postscripts/mypostscript.tmpl";
/// Bytes of a template, and of a file that it includes.
const TEXT_BYTES_MAX: u64 = 1 << 20;
/// Tables of logs and of settings of other programs: a template gets no values of these.
const CLOSED: [&str; 4] = ["auditlog", "eventlog", "monsetting", "token"];

/// The template's text; `None` if there is none.
pub(super) fn text(snapshot: &Snapshot) -> Option<String> {
    let path = local_path(snapshot, TEMPLATE);
    if matches!(within(&path, |path| path.symlink_metadata().is_ok()), Ok(false)) {
        return None;
    }
    let read = read(&path, Rights::Daemon);
    read.inspect_err(|why| {
        tracing::error!(path = %path.display(), %why, "the template of post scripts is not used");
    })
    .ok()
}

fn read(path: &Path, rights: Rights) -> Result<String, Refused> {
    let bytes = bounded_read::read(path, TEXT_BYTES_MAX, rights)?;
    String::from_utf8(bytes).map_err(|_| Refused::NotText)
}

/// The script of a template for a node.
pub(super) fn lines(text: &str, snapshot: &Snapshot, node: &str, host: &str) -> Vec<String> {
    for mark in Half::ALL.into_iter().flat_map(|half| [half.start(), half.end()]) {
        if !text.lines().any(|line| line.trim() == mark) {
            tracing::warn!(mark, "the template of post scripts lacks a mark that nodes look for");
        }
    }
    render(text, &mut Values { snapshot, node, host, variables: None })
}

struct Values<'a> {
    snapshot: &'a Snapshot,
    node: &'a str,
    host: &'a str,
    /// Made for the first one that is asked for.
    variables: Option<HashMap<String, String>>,
}

impl Values<'_> {
    fn variable(&mut self, name: &str) -> Option<String> {
        let (snapshot, node, host) = (self.snapshot, self.node, self.host);
        let known = self.variables.get_or_insert_with(|| {
            let mut known = HashMap::new();
            variables(snapshot, node, host, &mut |name, value| {
                known.insert(name.to_owned(), value.to_owned());
            });
            known
        });
        known.get(name).cloned()
    }

    /// A cell, empty for none and for a secret.
    fn cell(&self, table: &str, key: &str, column: &str) -> String {
        let info = schema().find(table).filter(|info| !CLOSED.contains(&info.name));
        let Some((info, column)) = info.and_then(|info| Some((info, info.col(column)?))) else {
            return String::new();
        };
        let words: Vec<&str> = key.split(',').map(str::trim).collect();
        let of_node = |word: &&str| matches!(*word, "$NODE" | "THISNODE");
        if words.iter().all(of_node) {
            return cell(self.snapshot, self.node, column);
        }
        let mut keys: Vec<(Col, &str)> = Vec::new();
        for word in words {
            let named = match word.split_once('=') {
                Some((name, value)) => info.col(name).map(|col| (col, value)),
                None if of_node(&word) => info.node_col().map(|col| (col, self.node)),
                None => info.node_col().map(|col| (col, word)),
            };
            // Rows cannot be selected by hidden values.
            let Some(named) = named.filter(|(col, _)| !is_secret(*col) && *col != col::site::VALUE) else {
                return String::new();
            };
            keys.push(named);
        }
        let setting = keys.iter().find(|(col, _)| *col == col::site::KEY).map(|(_, key)| *key);
        let is_open = match column.table == col::site::VALUE.table {
            true => setting.is_some_and(|key| of_site_key(key) == Sensitivity::Open),
            false => !is_secret(column),
        };
        let row = self.snapshot.find_row(&keys).filter(|_| is_open);
        row.and_then(|row| row.get(column).map(|text| text.to_string())).unwrap_or_default()
    }
}

impl Source for Values<'_> {
    fn value(&mut self, word: &Word<'_>) -> Option<String> {
        match word {
            Word::Variable(name) => self.variable(name),
            Word::Cell { table, key, column } => Some(self.cell(table, key, column)),
            Word::Address => Some(cell(self.snapshot, self.node, col::hosts::IP)),
            Word::MasterAddress => Some(self.variable("MASTER_IP").unwrap_or_default()),
        }
    }

    fn block(&mut self, block: Block) -> Vec<Item> {
        let mut items = Vec::new();
        let (snapshot, node) = (self.snapshot, self.node);
        let mut export =
            |name: &str, value: &str| items.push(Item::Export(name.to_owned(), value.to_owned()));
        match block {
            Block::Site => site(snapshot, &mut export),
            Block::Networks => networks(snapshot, &mut export),
            Block::Routes => routes(snapshot, node, &mut export),
            Block::Image => packages::of_image(snapshot, node, &mut export),
            Block::NetworkOfFirmware => network_of_firmware(snapshot, node, &mut export),
            Block::Postscripts | Block::Postbootscripts => {
                let half = if block == Block::Postscripts { "postscripts" } else { "postbootscripts" };
                items.extend(scripts(snapshot, node, half).into_iter().map(Item::Line));
            }
        }
        items
    }

    fn include(&mut self, file: &str) -> Option<String> {
        let installdir = self.snapshot.site("installdir").unwrap_or_else(|| super::INSTALL.into());
        let file = file.replace("#TABLE:site:key=installdir:value#", &installdir);
        let top = local_path(self.snapshot, super::INSTALL);
        let path = match file.starts_with('/') {
            true => local_path(self.snapshot, &file),
            false => local_path(self.snapshot, TEMPLATE).with_file_name(&file),
        };
        let is_below = path.starts_with(&top) && !path.components().any(|part| part == Component::ParentDir);
        let text = match is_below {
            true => read(&path, Rights::Nobody).map_err(|why| why.to_string()),
            false => Err("it is not below the install directory".to_owned()),
        };
        let left_out = |why: &String| log_left_out(&path, why);
        text.inspect_err(left_out).ok()
    }
}

fn log_left_out(path: &Path, why: &str) {
    tracing::warn!(path = %path.display(), why, "the template of post scripts includes a file that is left out");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cluster with secrets, and the script of a template for its node.
    fn script(template: &str) -> String {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().to_string_lossy().into_owned();
        let snapshot = Snapshot::from_rows([
            ("site", &[("key", "installdir"), ("value", &*top)][..]),
            ("site", &[("key", "domain"), ("value", "cluster")]),
            ("site", &[("key", "master"), ("value", "10.0.0.254")]),
            ("site", &[("key", "dhcpomapikey"), ("value", "hush1")]),
            ("site", &[("key", "LDAPBINDPW"), ("value", "hush2")]),
            ("nodelist", &[("node", "cn1"), ("groups", "all")]),
            ("nodetype", &[("node", "all"), ("os", "debian12")]),
            ("hosts", &[("node", "cn1"), ("ip", "10.0.0.1")]),
            ("ipmi", &[("node", "cn1"), ("bmc", "b1"), ("password", "hush3")]),
            ("passwd", &[("key", "system"), ("username", "root"), ("password", "hush4")]),
            ("token", &[("tokenid", "hush5"), ("username", "bob")]),
            ("monsetting", &[("name", "m"), ("key", "k"), ("value", "hush6")]),
            ("postscripts", &[("node", "cn1"), ("postscripts", "mine"), ("postbootscripts", "last 1")]),
        ]);
        std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        std::fs::create_dir(dir.path().join("postscripts")).unwrap();
        std::fs::create_dir(dir.path().join("custom")).unwrap();
        std::fs::write(dir.path().join("custom/part"), "PART=$NODE\n").unwrap();
        std::fs::write(dir.path().join("postscripts/mypostscript.tmpl"), template).unwrap();
        super::super::lines(&snapshot, "cn1", "mn1").join("\n")
    }

    #[test]
    fn a_template_takes_the_place_of_the_script() {
        for (template, expect) in [
            ("NODE=$NODE", "NODE='cn1'"),
            ("OS=#TABLE:nodetype:$NODE:os#", "OS='debian12'"),
            ("D=#TABLE:site:key=domain:value#", "D='cluster'"),
            ("B=#TABLE:ipmi:node=cn1:bmc# #TABLE:ipmi:cn1:bmc#", "B='b1' 'b1'"),
            ("X=#TABLE:nosuch:$NODE:os# #TABLE:nodetype:$NODE:nosuch#", "X='' ''"),
            ("I=#IPADDR# M=#MASTER_IP_ADDR#", "I='10.0.0.1' M='10.0.0.254'"),
            (
                "#INCLUDE_POSTSCRIPTS_LIST#",
                "# node-postscripts-start-here\nmine\n# node-postscripts-end-here",
            ),
            ("#INCLUDE:/install/custom/part#", "PART='cn1'"),
            ("#INCLUDE:../custom/part#", ""),
            ("#INCLUDE:/etc/passwd#", ""),
            ("#INCLUDE:#TABLE:site:key=installdir:value#/custom/part#", "PART='cn1'"),
        ] {
            assert_eq!(script(template), expect, "{template}");
        }
        assert!(script("#SITE_TABLE_ALL_ATTRIBS_EXPORT#").contains("DOMAIN='cluster'\nexport DOMAIN"));
    }

    #[test]
    fn secrets_stay() {
        let template = "#SITE_TABLE_ALL_ATTRIBS_EXPORT#\n\
            A=#TABLE:ipmi:$NODE:password# #TABLE:ipmi:THISNODE:password# #TABLE:ipmi:node=cn1:password#\n\
            B=#TABLE:passwd:key=system,username=root:password#\n\
            C=#TABLE:site:key=LDAPBINDPW:value# #TABLE:site:key=dhcpomapikey:value# #TABLE:site::value#\n\
            D=#TABLE:token:username=bob:tokenid# #TABLE:monsetting:name=m:value#\n\
            E=#TABLE:ipmi:password=hush3:bmc# #TABLE:site:value=hush2:key# #TABLE:site:$NODE:value#\n\
            F=$LDAPBINDPW $DHCPOMAPIKEY $SNMPPASSWD\ntabdump(passwd)\ntabdump(site)\n#OSIMAGE_VARS_EXPORT#";
        let script = script(template);
        let without_names = script.replace("password=hush3", "").replace("value=hush2", "");
        assert!(!without_names.contains("hush"), "{script}");
        assert!(script.contains("E='' '' ''"), "{script}");
    }
}
