//! Which node is this? By MAC address, InfiniBand GUID, IP address, UUID or switch port.

use crate::inherited::Address;
use crate::names::{Guid, MacAddr, parse_mac_column_as};
use crate::row::{Row, Text};
use crate::schema::Col;
use crate::snapshot::{KNOWN, Snapshot};
use crate::subnet::{Subnet, row_subnet};
use crate::table::alias_form;
use std::cmp::Reverse;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

/// What a MAC address belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MacOwner {
    /// The node.
    pub node: Text,
    /// Host name of this interface if the column names one (`mac!host`), else `None` for the node's own name.
    pub host: Option<String>,
    /// The interface gets no address (`mac!*NOIP*`).
    pub no_ip: bool,
}

impl Snapshot {
    /// The networks of IPv4, in the order of the table.
    pub fn networks(&self) -> impl Iterator<Item = (Subnet, &Row)> {
        self.enabled_rows("networks").filter_map(|row| Some((row_subnet(row)?, row)))
    }

    /// The smallest network that an address is in.
    pub fn network_of(&self, address: Ipv4Addr) -> Option<(Subnet, &Row)> {
        let holds = self.networks().filter(|(net, _)| net.contains(address));
        holds.min_by_key(|(net, _)| Reverse(net.prefix()))
    }

    /// Whose interface has this Ethernet address, in its own row or by a group or template.
    pub fn mac_owner(&self, mac: MacAddr) -> Option<MacOwner> {
        self.interface_owner(mac)
    }

    /// Whose InfiniBand port has this GUID, in its own row or by a group or template.
    pub fn guid_owner(&self, guid: Guid) -> Option<MacOwner> {
        self.interface_owner(guid)
    }

    fn interface_owner<K: Address + FromStr + Copy>(&self, address: K) -> Option<MacOwner> {
        let table = KNOWN.mac.table;
        let node = table.info().node_col()?;
        let hits = self.data(table).rows_by_alias(&address.to_string()).map(|(_, row)| row);
        let owner = |name: &Text, column: &str| {
            let entry = parse_mac_column_as::<K>(column).into_iter().find(|entry| entry.mac == address)?;
            Some(MacOwner { node: name.clone(), host: entry.host, no_ip: entry.no_ip })
        };
        let own = |row: &Row| {
            let name = row.get(node).filter(|n| row.enabled(table) && self.has_node(n))?;
            owner(name, row.get(KNOWN.mac)?)
        };
        let inherited = || {
            let name = self.index::<K>().holders(&address).next()?;
            owner(name, &self.attr(name, KNOWN.mac)?)
        };
        hits.into_iter().find_map(own).or_else(inherited)
    }

    /// The node with this Ethernet address in `mac.mac`.
    pub fn node_by_mac(&self, mac: MacAddr) -> Option<Text> {
        self.mac_owner(mac).map(|owner| owner.node)
    }

    /// The node whose `hosts.ip`, own or inherited through a template, is this address.
    pub fn node_by_ip(&self, ip: IpAddr) -> Option<Text> {
        let is_it = |text: &str| text.trim().parse() == Ok(ip);
        let own = self.by_own_cell(KNOWN.ip, &ip.to_string(), is_it);
        own.or_else(|| self.index::<IpAddr>().holders(&ip).next().cloned())
    }

    /// The node whose `vpd.uuid` is this, letters in any case.
    pub fn node_by_uuid(&self, uuid: &str) -> Option<Text> {
        let wanted = alias_form(uuid);
        self.by_own_cell(KNOWN.uuid, &wanted, |text| alias_form(text) == wanted)
    }

    fn by_own_cell(&self, col: Col, alias: &str, is_it: impl Fn(&str) -> bool) -> Option<Text> {
        let rows = self.data(col.table).rows_by_alias(alias).map(|(_, row)| row);
        let named = self.nodes_in(col.table, rows.filter(|row| row.get(col).is_some_and(|t| is_it(t))));
        named.into_iter().find(|n| self.has_node(n))
    }
}
