//! `getpostscript`: the script of variables and script names that a node runs after its boot.
//!
//! The text is rendered from the tables when it is asked for; no file is written. A value becomes one word in single
//! quotes, so nothing in a table is ever run by the node's shell. Keys of `site` that the list of known keys
//! does not declare, or declares as secret, are left out: any process of the node may ask.
//! Deliberately missing: a site's own template, and `version2` (the text as a file for HTTP).

use super::booting_node;
use crate::frame::{Command, Ctx, Kind};
use crate::output::{Done, Out, Stop};
use dawn_cluster::secrets::{Sensitivity, of_site_key};
use dawn_cluster::{Col, Snapshot, Text};

/// Print the caller's post-install script
#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(hide = true)]
    version: Option<String>,
}

impl Command for Args {
    const NAME: &'static str = "getpostscript";
    const KIND: Kind = Kind::Words;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        if self.version.is_some() {
            return Err(Stop::message(
                "the script is not offered as a file yet: ask getpostscript without version2 and read the answer",
            ));
        }
        let node = booting_node(ctx)?
            .ok_or_else(|| Stop::message("getpostscript asks for nodes only, and the caller is none"))?;
        lines(&ctx.snapshot, &node).into_iter().try_for_each(|line| out.data(line))
    }
}

/// The script, line by line.
pub fn lines(snapshot: &Snapshot, node: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut export = |name: &str, value: &str| {
        lines.push(format!("{name}={}", quoted(value)));
        lines.push(format!("export {name}"));
    };
    site(snapshot, &mut export);
    networks(snapshot, &mut export);
    of_node(snapshot, node, &mut export);
    lines.extend(scripts(snapshot, node, "postscripts"));
    lines.extend(scripts(snapshot, node, "postbootscripts"));
    lines
}

/// One word for a POSIX shell; line ends become blanks, as clients read the script line by line.
fn quoted(value: &str) -> String {
    let value: String = value.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("'{}'", value.replace('\'', r"'\''"))
}

fn site(snapshot: &Snapshot, export: &mut dyn FnMut(&str, &str)) {
    let (key, value) = (Col::known("site.key"), Col::known("site.value"));
    for row in snapshot.enabled_rows("site") {
        let (Some(key), Some(value)) = (row.get(key), row.get(value)) else { continue };
        let is_name = key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            && key.chars().next().is_some_and(|c| c.is_ascii_alphabetic());
        // What an administrator's own key holds is not known, and no proof of root on the node is asked for here.
        if !is_name || of_site_key(key) != Sensitivity::Open {
            continue;
        }
        match key.to_ascii_uppercase().as_str() {
            // The node's own server has that name.
            "MASTER" => export("SITEMASTER", value),
            name => export(name, value),
        }
    }
}

fn networks(snapshot: &Snapshot, export: &mut dyn FnMut(&str, &str)) {
    let Some(table) = dawn_cluster::schema().find("networks") else { return };
    let rows: Vec<_> = snapshot.enabled_rows("networks").collect();
    export("NETWORKS_LINES", &rows.len().to_string());
    for (number, row) in rows.iter().enumerate() {
        let columns = table.cols().filter(|col| col.name() != "comments");
        let cell = |col: Col| row.get(col).map(|text| text.to_string()).unwrap_or_default();
        let mut parts: Vec<String> = columns.map(|col| format!("{}={}", col.name(), cell(col))).collect();
        parts.push("comments=".to_owned());
        export(&format!("NETWORKS_LINE{}", number + 1), &parts.join("||"));
    }
}

fn of_node(snapshot: &Snapshot, node: &str, export: &mut dyn FnMut(&str, &str)) {
    let attr = |column: &str| snapshot.attr(node, column).map(|text| text.to_string()).unwrap_or_default();
    let or_else = |value: String, other: &dyn Fn() -> String| if value.is_empty() { other() } else { value };
    let master = or_else(attr("noderes.xcatmaster"), &|| {
        snapshot.site("master").map(|t| t.to_string()).unwrap_or_default()
    });
    let state = attr("chain.currstate");
    let kind = if attr("nodetype.nodetype").contains("service") { "service" } else { "compute" };
    export("NODE", node);
    export("IPADDR", &snapshot.attr(node, "hosts.ip").map(|text| text.to_string()).unwrap_or_default());
    export("GROUP", &attr("nodelist.groups"));
    export("MASTER", &master);
    export("MASTER_IP", &master);
    export("NFSSERVER", &or_else(attr("noderes.nfsserver"), &|| master.clone()));
    export("INSTALLNIC", &attr("noderes.installnic"));
    export("PRIMARYNIC", &attr("noderes.primarynic"));
    export("OSVER", &attr("nodetype.os"));
    export("ARCH", &attr("nodetype.arch"));
    export("PROFILE", &attr("nodetype.profile"));
    export("PROVMETHOD", &attr("nodetype.provmethod"));
    export("PATH", "/xcatpost:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    export("NODESETSTATE", state.split_ascii_whitespace().next().unwrap_or_default());
    export("UPDATENODE", "0");
    export("NTYPE", kind);
    export("MACADDRESS", attr("mac.mac").split(['|', '!']).next().unwrap_or_default());
    export("MACMAC", &attr("mac.mac"));
    for column in
        ["nicips", "nichostnamesuffixes", "nictypes", "niccustomscripts", "nicnetworks", "nicextraparams"]
    {
        export(&column.to_ascii_uppercase(), &attr(&format!("nics.{column}")));
    }
}

/// The scripts of one half between their marks: the defaults', the image's, the node's; none twice, no empty group.
fn scripts(snapshot: &Snapshot, node: &str, half: &str) -> Vec<String> {
    let column = format!("postscripts.{half}");
    let col = dawn_cluster::schema().find_col(&column);
    let defaults = snapshot
        .enabled_rows("postscripts")
        .find(|row| row.get(Col::known("postscripts.node")).is_some_and(|name| &**name == "xcatdefaults"))
        .and_then(|row| row.get(col?).cloned());
    let image = dawn_statelite::image_of(snapshot, node).and_then(|name| snapshot.osimage(&name));
    let image: Option<Text> = image.and_then(|image| image.get(half).cloned());
    let own = snapshot.attr(node, column.as_str());
    let mut seen: Vec<String> = Vec::new();
    let mut lines = vec![format!("# {half}-start-here")];
    for (group, list) in [("defaults", defaults), ("osimage", image), ("node", own)] {
        let list = list.unwrap_or_default();
        let fresh: Vec<String> = list
            .split(',')
            .map(|script| script.split_whitespace().collect::<Vec<_>>().join(" "))
            .filter(|script| !script.is_empty() && !seen.contains(script))
            .collect();
        if fresh.is_empty() {
            continue;
        }
        lines.push(format!("# {group}-{half}-start-here"));
        lines.extend(fresh.iter().cloned());
        lines.push(format!("# {group}-{half}-end-here"));
        seen.extend(fresh);
    }
    lines.push(format!("# {half}-end-here"));
    lines
}
