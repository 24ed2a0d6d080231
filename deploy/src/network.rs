//! Directives about the node's network: its domain, its boot interface, the network lines of installers.

use crate::context::{Context, Found};
use crate::error::Problem;
use dawn_plan::{install_mac, node_ip};
use std::net::IpAddr;

/// `#GETNODEDOMAIN:THISNODE#`: that of the node's network, else the cluster's.
pub(crate) fn domain(context: &Context<'_>) -> Found {
    let address = node_ip(context.snapshot, context.node).map(IpAddr::from);
    match context.snapshot.domain_of(address) {
        Some(domain) => Found::open(domain.name, domain.said_in),
        None => Found::open("", "site.domain"),
    }
}

/// `#GETPRINICMAC:THISNODE#`.
pub(crate) fn mac(context: &Context<'_>) -> Result<Found, Problem> {
    let mac = install_mac(context.snapshot, context.node);
    let mac = mac.ok_or_else(|| Problem::NoMac(context.node.to_owned()))?;
    Ok(Found::open(mac.to_string(), "mac.mac"))
}

/// `#KICKSTARTNET#`.
pub(crate) fn kickstart(context: &Context<'_>) -> Result<Found, Problem> {
    let mac = mac(context)?.text;
    Ok(Found::open(format!("network --onboot=yes --bootproto=dhcp --device={mac}"), "mac.mac"))
}

/// `#YAST2NET#`: the installer's set-up by DHCP stays, with the node's name.
pub(crate) fn yast(context: &Context<'_>) -> Found {
    let text = format!(
        "<networking>\n  <keep_install_network config:type=\"boolean\">true</keep_install_network>\n  <dns>\n    \
         <dhcp_hostname config:type=\"boolean\">false</dhcp_hostname>\n    <hostname>{}</hostname>\n  </dns>\n\
         </networking>",
        short_name(context.node)
    );
    Found::open(text, "the node's name")
}

/// The name up to the first dot.
pub(crate) fn short_name(node: &str) -> &str {
    node.split('.').next().unwrap_or(node)
}
