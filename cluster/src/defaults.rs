//! What a new database holds: rows of `site`, `policy`, `postscripts` and `networks`.
//!
//! Everything here can be applied again: rows that exist are left as they are.

use crate::edit::{Edit, EditError};
use crate::row::Text;
use crate::schema::Col;
use crate::servers::XCATMASTER;
use crate::snapshot::Snapshot;
use crate::subnet::{Subnet, prefix_length, row_subnet};
use std::net::Ipv4Addr;

/// What the machine and its administrator say about a new installation.
#[derive(Clone, Debug, Default)]
pub struct Installation {
    /// `site.master`: address of the management node.
    pub master: String,
    /// `site.domain`; empty leaves it out.
    pub domain: String,
    /// `site.forwarders`: other name servers; empty leaves it out.
    pub forwarders: String,
    /// `site.timezone`; empty leaves it out.
    pub timezone: String,
    /// `site.installdir`.
    pub installdir: String,
    /// `site.tftpdir`.
    pub tftpdir: String,
    /// CN of the server's certificate: its holder is trusted.
    pub server_name: String,
}

/// A directly connected IPv4 network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalNetwork {
    /// Network address.
    pub net: Ipv4Addr,
    /// Netmask.
    pub mask: Ipv4Addr,
    /// Interface.
    pub interface: String,
    /// Default gateway, if it is inside this network.
    pub gateway: Option<Ipv4Addr>,
    /// Largest frame, bytes.
    pub mtu: Option<u32>,
}

impl LocalNetwork {
    fn subnet(&self) -> Option<Subnet> {
        Subnet::around(self.net, prefix_length(&self.mask.to_string())?)
    }

    /// `10_0_0_0-255_0_0_0`
    pub fn name(&self) -> String {
        format!("{}-{}", self.net, self.mask).replace('.', "_")
    }
}

/// The group of the management node, which is right to have its address.
pub const MANAGEMENT_GROUP: &str = "__mgmtnode";

/// Default `site` rows whose value does not depend on the machine.
const SITE: &[(&str, &str)] = &[
    ("blademaxp", "64"),
    ("fsptimeout", "0"),
    ("ipmimaxp", "64"),
    ("ipmiretries", "3"),
    ("ipmitimeout", "2"),
    ("consoleondemand", "no"),
    ("maxssh", "8"),
    ("ppcmaxp", "64"),
    ("ppcretry", "3"),
    ("ppctimeout", "0"),
    ("powerinterval", "0"),
    ("syspowerinterval", "0"),
    ("sharedtftp", "1"),
    ("SNsyncfiledir", "/var/xcat/syncfiles"),
    ("nodesyncfiledir", "/var/xcat/node/syncfiles"),
    ("xcatdport", "3001"),
    ("xcatiport", "3002"),
    ("xcatconfdir", "/etc/xcat"),
    ("useNmapfromMN", "no"),
    ("enableASMI", "no"),
    ("db2installloc", "/mntdb2"),
    ("databaseloc", "/var/lib"),
    ("sshbetweennodes", "ALLGROUPS"),
    ("dnshandler", "dawn"),
    ("vsftp", "n"),
    ("cleanupxcatpost", "no"),
    ("cleanupdiskfullxcatpost", "no"),
    ("dhcpomapialgorithm", "hmac-sha256"),
    ("dhcplease", "43200"),
    ("auditnosyslog", "0"),
    ("xcattlspolicy", "modern"),
    ("auditskipcmds", "ALL"),
];

/// Commands that nodes may use without a certificate: priority and name.
const OPEN_COMMANDS: &[(&str, &str)] = &[
    ("2", "getbmcconfig"),
    ("2.1", "remoteimmsetup"),
    ("2.3", "lsxcatd"),
    ("3", "nextdestiny"),
    ("4", "getdestiny"),
    ("4.4", "getpostscript"),
    ("4.5", "getcredentials"),
    ("4.6", "syncfiles"),
    ("4.7", "litefile"),
    ("4.8", "litetree"),
    ("4.9", "getadapter"),
];

/// The command is one that every node may use: a policy row that allows it to every caller gives a user no
/// other nodes.
pub fn is_open_to_nodes(command: &str) -> bool {
    OPEN_COMMANDS.iter().any(|(_, name)| *name == command)
}

impl Snapshot {
    /// The edits that give a database its default rows. Keys that exist stay as they are.
    pub fn default_rows(&self, installation: &Installation) -> Result<Vec<Edit>, EditError> {
        let mut edits = self.default_site(installation)?;
        edits.extend(self.default_policy(installation)?);
        let postscripts: [(&str, &[(&str, &str)]); 2] = [
            (
                "xcatdefaults",
                &[("postscripts", "syslog,remoteshell,syncfiles"), ("postbootscripts", "otherpkgs")],
            ),
            ("service", &[("postscripts", "servicenode")]),
        ];
        for (node, values) in postscripts {
            edits.extend(self.unless_there("postscripts", ("node", node), values)?);
        }
        Ok(edits)
    }

    fn unless_there(
        &self,
        table: &str,
        key: (&str, &str),
        values: &[(&str, &str)],
    ) -> Result<Option<Edit>, EditError> {
        let edit = Edit::set(table, &[key], values)?;
        let Edit::Set { keys, .. } = &edit else { return Ok(None) };
        let there = keys.iter().any(|(col, text)| !self.find_rows(&[(*col, text)]).is_empty());
        Ok((!there).then_some(edit))
    }

    /// `nameservers` is missing on purpose: DHCP names this machine where its name server runs, and only
    /// there.
    fn default_site(&self, installation: &Installation) -> Result<Vec<Edit>, EditError> {
        let own = [
            ("domain", &installation.domain),
            ("installdir", &installation.installdir),
            ("tftpdir", &installation.tftpdir),
            ("master", &installation.master),
            ("forwarders", &installation.forwarders),
            ("timezone", &installation.timezone),
        ];
        let own =
            own.iter().map(|(key, value)| (*key, value.as_str())).filter(|(_, value)| !value.is_empty());
        let row = |(key, value): (&str, &str)| self.unless_there("site", ("key", key), &[("value", value)]);
        own.chain(SITE.iter().copied()).filter_map(|pair| row(pair).transpose()).collect()
    }

    fn default_policy(&self, installation: &Installation) -> Result<Vec<Edit>, EditError> {
        let row = |priority: &str, column: &str, value: &str, rule: &str| {
            self.unless_there("policy", ("priority", priority), &[(column, value), ("rule", rule)])
        };
        let mut edits = vec![row("1", "name", "root", "allow")?];
        if !installation.server_name.is_empty() {
            edits.push(row("1.2", "name", &installation.server_name, "trusted")?);
        }
        for (priority, command) in OPEN_COMMANDS {
            edits.push(row(priority, "commands", command, "allow")?);
        }
        Ok(edits.into_iter().flatten().collect())
    }

    /// The edits that put the machine's networks into the table, and warnings about those that are there. A
    /// network with the same address and mask is left unchanged under any name, like a row of the same name.
    pub fn network_rows(&self, networks: &[LocalNetwork]) -> Result<(Vec<Edit>, Vec<String>), EditError> {
        let (net_col, name_col) = (Col::known("networks.net"), Col::known("networks.netname"));
        let (mut edits, mut warnings) = (Vec::new(), Vec::new());
        for network in networks {
            let (net, mask, name) = (network.net.to_string(), network.mask.to_string(), network.name());
            let known = self.rows(net_col.table).find(|row| row_subnet(row) == network.subnet());
            if known.is_some() || !self.find_rows(&[(name_col, &name)]).is_empty() {
                let known = known.and_then(|row| row.get(name_col)).map_or(name.as_str(), |text| text);
                warnings.push(format!(
                    "The network entry '{known}' already exists in xCAT networks table. Cannot create a definition for '{name}'"
                ));
                continue;
            }
            let gateway = network.gateway.map_or_else(|| XCATMASTER.to_owned(), |g| g.to_string());
            let mtu = network.mtu.map(|m| m.to_string()).unwrap_or_default();
            let values = [
                ("netname", name.as_str()),
                ("mgtifname", &network.interface),
                ("gateway", &gateway),
                ("mtu", &mtu),
                ("tftpserver", XCATMASTER),
            ];
            let filled: Vec<(&str, &str)> = values.into_iter().filter(|(_, v)| !v.is_empty()).collect();
            edits.push(Edit::set("networks", &[("net", &net), ("mask", &mask)], &filled)?);
        }
        Ok((edits, warnings))
    }

    /// The edits that define the management node itself (its short host name) as a node of group
    /// `__mgmtnode`.
    pub fn management_node_rows(&self, short_name: &str) -> Result<Vec<Edit>, EditError> {
        let mut edits = Vec::new();
        if self.has_node(short_name) {
            edits.extend(self.join_group(MANAGEMENT_GROUP, &[Text::from(short_name)]));
        } else {
            edits.push(Edit::set("nodelist", &[("node", short_name)], &[("groups", MANAGEMENT_GROUP)])?);
        }
        edits.extend(self.unless_there(
            "servicenode",
            ("node", MANAGEMENT_GROUP),
            &[("tftpserver", "yes")],
        )?);
        Ok(edits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PolicyRequest;

    fn installation() -> Installation {
        Installation {
            master: "10.0.0.1".into(),
            installdir: "/d/install".into(),
            tftpdir: "/d/tftpboot".into(),
            server_name: "mn".into(),
            ..Installation::default()
        }
    }

    #[test]
    fn applied_twice_is_applied_once() {
        let empty = Snapshot::empty().with(&[Edit::set_site("master", "10.9.9.9").unwrap()]).unwrap();
        let first = empty.with(&empty.default_rows(&installation()).unwrap()).unwrap();
        assert_eq!(first.site("master").as_deref(), Some("10.9.9.9"));
        assert_eq!(first.site("installdir").as_deref(), Some("/d/install"));
        assert_eq!(first.site("domain"), None);
        assert!(first.default_rows(&installation()).unwrap().is_empty());
        let ask =
            |peer, command| first.policy(&PolicyRequest { peer_name: peer, command, ..Default::default() });
        assert!(ask(Some("root"), "chtab").allowed && ask(None, "getdestiny").allowed);
        assert!(ask(Some("mn"), "x").trusted && !ask(None, "chtab").allowed);
    }

    #[test]
    fn networks() {
        let network = LocalNetwork {
            net: "10.0.0.0".parse().unwrap(),
            mask: "255.0.0.0".parse().unwrap(),
            interface: "eth0".into(),
            gateway: None,
            mtu: Some(1500),
        };
        let (edits, warnings) = Snapshot::empty().network_rows(std::slice::from_ref(&network)).unwrap();
        assert!(warnings.is_empty());
        let there = Snapshot::empty().with(&edits).unwrap();
        let row = there.rows("networks").next().unwrap();
        assert_eq!(row.get(Col::known("networks.netname")).unwrap().as_ref(), "10_0_0_0-255_0_0_0");
        assert_eq!(row.get(Col::known("networks.gateway")).unwrap().as_ref(), "<xcatmaster>");
        // The same network in another spelling of its mask, under a different name.
        let own = [("netname", "own"), ("mgtifname", "eth0")];
        let own = Edit::set("networks", &[("net", "10.0.0.0"), ("mask", "/8")], &own).unwrap();
        let own = Snapshot::empty().with(&[own]).unwrap();
        for (there, name) in [(&there, "10_0_0_0-255_0_0_0"), (&own, "own")] {
            let (edits, warnings) = there.network_rows(std::slice::from_ref(&network)).unwrap();
            assert!(edits.is_empty() && warnings.len() == 1, "{warnings:?}");
            assert!(warnings[0].contains(&format!("'{name}' already exists")), "{warnings:?}");
        }
        let moved = there
            .with(&[Edit::set("networks", &[("net", "10.0.0.0")], &[("mask", "255.255.0.0")]).unwrap()])
            .unwrap();
        assert_eq!(
            moved
                .network_rows(&[LocalNetwork {
                    net: "10.0.0.0".parse().unwrap(),
                    mask: "255.0.0.0".parse().unwrap(),
                    interface: String::new(),
                    gateway: None,
                    mtu: None
                }])
                .unwrap()
                .1
                .len(),
            1
        );
    }

    #[test]
    fn the_management_node() {
        let empty = Snapshot::empty();
        let once = empty.with(&empty.management_node_rows("mn").unwrap()).unwrap();
        assert_eq!(once.groups_of("mn"), ["__mgmtnode".into()]);
        assert!(once.management_node_rows("mn").unwrap().is_empty());
    }
}
