//! `mypostscript`: variables and names of scripts that a node runs after its boot (xCAT's
//! `mypostscript.tmpl`).
//!
//! The text is rendered from the tables when it is asked for; no file is written. A value becomes one word in
//! single quotes, so nothing in a table is ever run by the node's shell. Secret columns, and keys of `site`
//! that are secret or not declared, are left out: any process of the node may ask. Names of variables that
//! come from a table must be names for a shell, or they are left out with a line in the log. Directories
//! below `site.installdir` have the names under which HTTP serves them.
//!
//! A template `mypostscript.tmpl` in `postscripts` of the install directory takes the place of the built-in
//! script ([`template`]); words in it get the values described above and no others.

mod addons;
mod own;
mod packages;
mod template;

pub use template::fuzz;

use crate::zones::{lets_nodes_log_in, own_zone, zone_row};
use dawn_cluster::list::elements;
use dawn_cluster::secrets::{Sensitivity, is_secret, of_site_key};
use dawn_cluster::{Col, MANAGEMENT_GROUP, OsImage, Snapshot, Text, col, nic_column_for};
use dawn_plan::BootState;
use dawn_wire::script::Half;
use dawn_wire::text::control_as_blanks;
use dawn_wire::words;

/// Where HTTP serves `site.installdir`.
const INSTALL: &str = "/install";
/// Where HTTP serves `site.tftpdir`.
const TFTPBOOT: &str = "/tftpboot";

/// Takes a variable: name and value.
type Export<'a> = dyn FnMut(&str, &str) + 'a;

/// The script, line by line. `host` is the name of this machine.
#[must_use]
pub fn lines(snapshot: &Snapshot, node: &str, host: &str) -> Vec<String> {
    if let Some(text) = own::text(snapshot) {
        return own::lines(&text, snapshot, node, host);
    }
    let mut lines = Vec::new();
    variables(snapshot, node, host, &mut |name: &str, value: &str| {
        lines.push(format!("{name}={}", quoted(value)));
        lines.push(format!("export {name}"));
    });
    for half in Half::ALL {
        lines.push(half.start());
        lines.extend(scripts(snapshot, node, half.list()));
        lines.push(half.end());
    }
    lines
}

fn variables(snapshot: &Snapshot, node: &str, host: &str, export: &mut Export<'_>) {
    site(snapshot, export);
    networks(snapshot, export);
    of_node(snapshot, node, export);
    network_of_firmware(snapshot, node, export);
    ssh(snapshot, node, export);
    routes(snapshot, node, export);
    nics(snapshot, node, export);
    of_switch_and_configuration(snapshot, node, export);
    clients_of_configuration(snapshot, node, export);
    addons::monitoring(snapshot, node, host, export);
    addons::vlans(snapshot, node, export);
    packages::of_image(snapshot, node, export);
}

/// One word for a POSIX shell; line ends become blanks, as clients read the script line by line.
fn quoted(value: &str) -> String {
    words::quoted(&control_as_blanks(value))
}

fn site(snapshot: &Snapshot, export: &mut Export<'_>) {
    let (key, value) = (col::site::KEY, col::site::VALUE);
    for row in snapshot.enabled_rows("site") {
        let (Some(key), Some(value)) = (row.get(key), row.get(value)) else { continue };
        // The meaning of an administrator's own key is not known, and no proof of root on the node is
        // required here.
        if !is_name(key) || of_site_key(key) != Sensitivity::Open {
            continue;
        }
        match key.to_ascii_uppercase().as_str() {
            // The node's own server has that name.
            "MASTER" => export("SITEMASTER", value),
            // Nodes make addresses of files of them.
            "INSTALLDIR" => export("INSTALLDIR", INSTALL),
            "TFTPDIR" => export("TFTPDIR", TFTPBOOT),
            "HTTPPORT" => {}
            name => export(name, value),
        }
    }
    export("HTTPPORT", &snapshot.site("httpport").unwrap_or_default());
}

/// A name that a shell takes for a variable.
fn is_name(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && text.chars().next().is_some_and(|c| c.is_ascii_alphabetic())
}

/// `path` as HTTP serves it, if it is below the install directory.
fn as_served(snapshot: &Snapshot, path: &str) -> String {
    let own = snapshot.site("installdir").unwrap_or_else(|| INSTALL.into());
    let inside = path.strip_prefix(own.trim_end_matches('/'));
    match inside.filter(|rest| rest.is_empty() || rest.starts_with('/')) {
        Some(rest) => format!("{INSTALL}{rest}"),
        None => path.to_owned(),
    }
}

fn networks(snapshot: &Snapshot, export: &mut Export<'_>) {
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

fn of_node(snapshot: &Snapshot, node: &str, export: &mut Export<'_>) {
    let attr = |column: Col| cell(snapshot, node, column);
    let or_else = |value: String, other: &dyn Fn() -> String| if value.is_empty() { other() } else { value };
    let master = or_else(attr(col::noderes::XCATMASTER), &|| {
        snapshot.site("master").map(|t| t.to_string()).unwrap_or_default()
    });
    let state = attr(col::chain::CURRSTATE);
    export("NODE", node);
    export("IPADDR", &snapshot.attr(node, col::hosts::IP).map(|text| text.to_string()).unwrap_or_default());
    export("GROUP", &attr(col::nodelist::GROUPS));
    export("MASTER", &master);
    export("MASTER_IP", &dawn_plan::node_ip(snapshot, &master).map_or(master.clone(), |ip| ip.to_string()));
    export("SERVICEGROUP", &attr(col::noderes::SERVICENODE));
    export("SYSLOG", &attr(col::noderes::SYSLOG));
    export("NFSSERVER", &or_else(attr(col::noderes::NFSSERVER), &|| master.clone()));
    export("INSTALLNIC", &attr(col::noderes::INSTALLNIC));
    export("PRIMARYNIC", &attr(col::noderes::PRIMARYNIC));
    export("OSVER", &attr(col::nodetype::OS));
    export("ARCH", &attr(col::nodetype::ARCH));
    export("PROFILE", &attr(col::nodetype::PROFILE));
    export("PROVMETHOD", &attr(col::nodetype::PROVMETHOD));
    export("PATH", "/xcatpost:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    export("NODESETSTATE", state.split_ascii_whitespace().next().unwrap_or_default());
    export("UPDATENODE", "0");
    export("NTYPE", kind(snapshot, node));
    export("MACADDRESS", attr(col::mac::MAC).split(['|', '!']).next().unwrap_or_default());
    export("MACMAC", &attr(col::mac::MAC));
}

/// `MN`, `service` or `compute`: management nodes are in their group, service nodes have a row in the table
/// of that name.
fn kind(snapshot: &Snapshot, node: &str) -> &'static str {
    let kinds = cell(snapshot, node, col::nodetype::NODETYPE);
    let is_management = snapshot.groups_of(node).iter().any(|group| **group == *MANAGEMENT_GROUP);
    let services = dawn_cluster::schema().find("servicenode").into_iter().flat_map(|table| table.cols());
    let mut services = services.filter(|column| !matches!(column.name(), "node" | "comments" | "disable"));
    match () {
        () if is_management || kinds.split(',').any(|kind| kind.trim() == "mn") => "MN",
        () if kinds.contains("service") => "service",
        () if services.any(|column| !cell(snapshot, node, column).is_empty()) => "service",
        () => "compute",
    }
}

/// Mask and gateway of a diskless POWER machine, whose firmware is given its network by a script.
fn network_of_firmware(snapshot: &Snapshot, node: &str, export: &mut Export<'_>) {
    let state = BootState::of(snapshot, node);
    let diskless = matches!(state, Some(BootState::Netboot(_) | BootState::Statelite(_)));
    if !diskless || !cell(snapshot, node, col::nodetype::ARCH).starts_with("ppc64") {
        return;
    }
    let Ok(ip) = cell(snapshot, node, col::hosts::IP).parse() else { return };
    let Some((net, row)) = snapshot.network_of(ip) else { return };
    export("NETMASK", &net.mask().to_string());
    export("GATEWAY", row.get(col::networks::GATEWAY).map_or("", |gateway| gateway));
}

/// A column of the node; empty for nothing and for a secret.
fn cell(snapshot: &Snapshot, node: &str, column: Col) -> String {
    let open = Some(column).filter(|column| !is_secret(*column));
    open.and_then(|column| snapshot.attr(node, column)).map(|text| text.to_string()).unwrap_or_default()
}

/// Whether root of this node may log in to other nodes with root's key, and the node's zone.
fn ssh(snapshot: &Snapshot, node: &str, export: &mut Export<'_>) {
    let zone = own_zone(snapshot, node);
    let between = match zone.as_deref().and_then(|zone| zone_row(snapshot, zone)) {
        Some(row) => lets_nodes_log_in(&row),
        None => match snapshot.site("sshbetweennodes").as_deref() {
            None | Some("ALLGROUPS") => true,
            Some("NOGROUPS") => false,
            Some(groups) => {
                let own = snapshot.groups_of(node);
                groups.split(',').any(|group| own.iter().any(|name| **name == *group.trim()))
            }
        },
    };
    export("ENABLESSHBETWEENNODES", if between { "YES" } else { "NO" });
    export("ZONENAME", &zone.unwrap_or_default());
}

fn routes(snapshot: &Snapshot, node: &str, export: &mut Export<'_>) {
    let names = cell(snapshot, node, col::noderes::ROUTENAMES);
    export("NODEROUTENAMES", &names);
    for name in elements(&names) {
        let variable = format!("ROUTE_{name}");
        let Some(row) = snapshot.find_row(&[(col::routes::ROUTENAME, name)]) else {
            tracing::warn!(
                node,
                name,
                "noderes.routenames names a route that the routes table does not have"
            );
            continue;
        };
        if !is_name(&variable) {
            tracing::warn!(node, name, "the route is left out: its name is not a name for a shell variable");
            continue;
        }
        let columns = [col::routes::NET, col::routes::MASK, col::routes::GATEWAY, col::routes::IFNAME];
        let parts = columns.map(|column| row.get(column).cloned().unwrap_or_default());
        export(&variable, &parts.join(","));
    }
}

fn nics(snapshot: &Snapshot, node: &str, export: &mut Export<'_>) {
    let columns = [
        col::nics::NICIPS,
        col::nics::NICHOSTNAMESUFFIXES,
        col::nics::NICTYPES,
        col::nics::NICCUSTOMSCRIPTS,
        col::nics::NICNETWORKS,
        col::nics::NICEXTRAPARAMS,
        col::nics::NICDEVICES,
    ];
    // Templates of a group's row are in single entries.
    let values = columns.map(|column| (column, nic_column_for(&cell(snapshot, node, column), node)));
    let any = values.iter().any(|(_, value)| !value.is_empty());
    export("NICNODE", if any { node } else { "" });
    for (column, value) in values {
        export(&column.name().to_ascii_uppercase(), &value);
    }
}

/// Variables of nodes that are switches, and of configuration managers.
fn of_switch_and_configuration(snapshot: &Snapshot, node: &str, export: &mut Export<'_>) {
    for (name, column) in [
        ("CFGMGR", col::cfgmgt::CFGMGR),
        ("CFGSERVER", col::cfgmgt::CFGSERVER),
        ("SWITCHNAME", col::switches::SWITCH),
        ("SNMPVERSION", col::switches::SNMPVERSION),
        ("SNMPUSER", col::switches::USERNAME),
        ("SNMPPASSWD", col::switches::PASSWORD),
        ("SNMPPRIV", col::switches::PRIVACY),
        ("SNMPAUTH", col::switches::AUTH),
    ] {
        export(name, &cell(snapshot, node, column));
    }
}

fn image_name(image: &OsImage) -> String {
    image.get(col::osimage::IMAGENAME).map(|name| name.to_string()).unwrap_or_default()
}

/// The scripts of one half, each group between its marks: the defaults', the image's, the node's; none twice,
/// no empty group.
fn scripts(snapshot: &Snapshot, node: &str, half: &str) -> Vec<String> {
    let (column, of_image) = match half {
        "postscripts" => (col::postscripts::POSTSCRIPTS, col::osimage::POSTSCRIPTS),
        _ => (col::postscripts::POSTBOOTSCRIPTS, col::osimage::POSTBOOTSCRIPTS),
    };
    let defaults = snapshot
        .enabled_rows("postscripts")
        .find(|row| row.get(col::postscripts::NODE).is_some_and(|name| &**name == "xcatdefaults"))
        .and_then(|row| row.get(column).cloned());
    let image = dawn_statelite::image_of(snapshot, node).and_then(|name| snapshot.osimage(&name));
    let image: Option<Text> = image.and_then(|image| image.get(of_image).cloned());
    let own = snapshot.attr(node, column);
    let mut seen: Vec<String> = Vec::new();
    let mut lines = Vec::new();
    for (group, list) in [("defaults", defaults), ("osimage", image), ("node", own)] {
        let list = list.unwrap_or_default();
        let fresh: Vec<String> = list
            .split(',')
            .map(|script| script.split_whitespace().collect::<Vec<_>>().join(" "))
            .filter(|script| !script.is_empty() && !seen.contains(script) && is_script(node, script))
            .collect();
        if fresh.is_empty() {
            continue;
        }
        lines.push(format!("# {group}-{half}-start-here"));
        lines.extend(fresh.iter().cloned());
        lines.push(format!("# {group}-{half}-end-here"));
        seen.extend(fresh);
    }
    lines
}

/// A template may turn a good cell into text that a shell would read as more than a script.
fn is_script(node: &str, script: &str) -> bool {
    let problem = dawn_cluster::script_problem(script);
    if let Some(why) = problem {
        tracing::warn!(node, script, why, "a post script is left out");
    }
    problem.is_none()
}

/// Nodes that this one configures, and the roles of each.
fn clients_of_configuration(snapshot: &Snapshot, node: &str, export: &mut Export<'_>) {
    let is_used = snapshot.enabled_rows("cfgmgt").next().is_some();
    let is_client = |name: &&Text| is_used && cell(snapshot, name, col::cfgmgt::CFGSERVER) == node;
    let clients: Vec<Text> = snapshot.node_names().filter(is_client).cloned().collect();
    export("CFGCLIENTLIST", &clients.join(","));
    for client in &clients {
        let variable = format!("HASH{client}roles");
        if is_name(&variable) {
            export(&variable, &cell(snapshot, client, col::cfgmgt::ROLES));
        } else {
            tracing::warn!(node, %client, "its roles are left out: its name is not one for a shell variable");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_nodes_and_networks_of_firmware() {
        let snapshot = Snapshot::from_rows([
            ("nodelist", &[("node", "p1")][..]),
            ("nodelist", &[("node", "x1")]),
            ("nodelist", &[("node", "sn1"), ("groups", "service")]),
            ("nodelist", &[("node", "mn1"), ("groups", "__mgmtnode")]),
            ("servicenode", &[("node", "service"), ("dhcpserver", "1")]),
            ("hosts", &[("node", "p1"), ("ip", "10.1.0.5")]),
            ("hosts", &[("node", "x1"), ("ip", "10.1.0.6")]),
            ("nodetype", &[("node", "p1"), ("arch", "ppc64le"), ("nodetype", "osi,mn")]),
            ("nodetype", &[("node", "x1"), ("arch", "x86_64"), ("nodetype", "service")]),
            ("chain", &[("node", "p1"), ("currstate", "netboot el9-ppc64le-compute")]),
            ("chain", &[("node", "x1"), ("currstate", "netboot el9-x86_64-compute")]),
            ("networks", &[("net", "10.0.0.0"), ("mask", "255.0.0.0"), ("gateway", "10.0.0.1")]),
            ("networks", &[("net", "10.1.0.0"), ("mask", "255.255.0.0"), ("gateway", "10.1.0.254")]),
        ]);
        let of = |node: &str| {
            let lines = lines(&snapshot, node, "mn1");
            let told =
                |line: &&String| ["NTYPE=", "NETMASK=", "GATEWAY="].iter().any(|name| line.starts_with(name));
            lines.iter().filter(told).cloned().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(of("p1"), "NTYPE='MN' NETMASK='255.255.0.0' GATEWAY='10.1.0.254'");
        assert_eq!(of("x1"), "NTYPE='service'");
        assert_eq!((of("sn1").as_str(), of("mn1").as_str()), ("NTYPE='service'", "NTYPE='MN'"));
    }

    #[test]
    fn names_become_addresses_and_templates_values() {
        let snapshot = Snapshot::from_rows([
            ("nodelist", &[("node", "cn7"), ("groups", "all")][..]),
            ("nodelist", &[("node", "sn1")]),
            ("hosts", &[("node", "sn1"), ("ip", "10.1.0.2")]),
            ("noderes", &[("node", "cn7"), ("xcatmaster", "sn1")]),
            ("nics", &[("node", "all"), ("nicips", r"ib0!|\D+(\d+)|10.9.0.($1)|,eth1!10.2.0.1")]),
        ]);
        let lines = lines(&snapshot, "cn7", "mn1");
        for line in ["MASTER='sn1'", "MASTER_IP='10.1.0.2'", "NICIPS='ib0!10.9.0.7,eth1!10.2.0.1'"] {
            assert!(lines.iter().any(|other| other == line), "{line}: {lines:?}");
        }
    }

    #[test]
    fn clients_and_scripts() {
        let snapshot = Snapshot::from_rows([
            ("nodelist", &[("node", "mgr")][..]),
            ("nodelist", &[("node", "cn1")]),
            ("nodelist", &[("node", "cn-2")]),
            ("cfgmgt", &[("node", "cn1"), ("cfgserver", "mgr"), ("roles", "web,db")]),
            ("cfgmgt", &[("node", "cn-2"), ("cfgserver", "mgr"), ("roles", "db")]),
            ("postscripts", &[("node", "mgr"), ("postscripts", "syslog,mine a b,a;id,x $(id)")]),
        ]);
        let lines = lines(&snapshot, "mgr", "mn1");
        let has = |line: &str| lines.iter().any(|other| other == line);
        assert!(has("CFGCLIENTLIST='cn-2,cn1'") || has("CFGCLIENTLIST='cn1,cn-2'"), "{lines:?}");
        assert!(has("HASHcn1roles='web,db'") && !lines.iter().any(|line| line.starts_with("HASHcn-2")));
        assert!(
            has("syslog") && has("mine a b") && !lines.iter().any(|line| line.contains("id")),
            "{lines:?}"
        );
    }
}
