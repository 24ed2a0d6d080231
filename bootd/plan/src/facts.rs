//! One node's values, looked up in the order of xCAT: servers, boot interface, console.

use crate::args::MY_IP;
use crate::error::PlanError;
use crate::lookup::node_ip;
use crate::state::BootState;
use crate::surroundings::Surroundings;
use dawn_cluster::{Col, Snapshot, Text, XCATMASTER, col};
use std::net::Ipv4Addr;

/// One node's values, looked up in the order of xCAT.
pub(crate) struct Facts<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) node: &'a str,
    pub(crate) here: Surroundings<'a>,
}

impl Facts<'_> {
    pub(crate) fn attr(&self, column: Col) -> Option<Text> {
        self.snapshot.attr(self.node, column)
    }

    /// A server column; `<xcatmaster>` means "not set, take the default".
    pub(crate) fn server_attr(&self, column: Col) -> Option<Text> {
        self.attr(column).filter(|value| &**value != XCATMASTER)
    }

    pub(crate) fn no_state(&self, state: &str) -> PlanError {
        PlanError::NoState { node: self.node.to_owned(), state: state.to_owned() }
    }

    pub(crate) fn state(&self) -> Result<BootState, PlanError> {
        let text = self.attr(col::chain::CURRSTATE).unwrap_or_else(|| "".into());
        // A chain that has not begun is begun by the discovery system when it asks.
        if text.is_empty() && self.attr(col::chain::CHAIN).is_some() {
            return Ok(BootState::Task("discover".to_owned()));
        }
        BootState::parse(&text).ok_or_else(|| self.no_state(&text))
    }

    /// Our own address in the node's network.
    pub(crate) fn own_address(&self) -> Option<Ipv4Addr> {
        self.here.addresses.facing(node_ip(self.snapshot, self.node)?)
    }

    pub(crate) fn server_address(&self) -> Result<Ipv4Addr, PlanError> {
        let named = |value: Option<Text>| value.and_then(|text| self.resolve(&text));
        named(self.server_attr(col::noderes::TFTPSERVER))
            .or_else(|| named(self.server_attr(col::noderes::XCATMASTER)))
            .or_else(|| self.own_address())
            .or_else(|| named(self.snapshot.site("master")))
            .ok_or_else(|| PlanError::NoServer(self.node.to_owned()))
    }

    /// An address, or the address of a node of that name. No DNS: a plan never waits.
    pub(crate) fn resolve(&self, name: &str) -> Option<Ipv4Addr> {
        name.parse().ok().or_else(|| node_ip(self.snapshot, name))
    }

    /// `XCAT=`: who answers 3001 and 3002.
    pub(crate) fn xcat_master(&self) -> Result<String, PlanError> {
        if let Some(master) = self.server_attr(col::noderes::XCATMASTER) {
            return Ok(master.to_string());
        }
        let own = self.own_address().map(|address| address.to_string());
        own.or_else(|| self.snapshot.site("master").map(|text| text.to_string()))
            .ok_or_else(|| PlanError::NoServer(self.node.to_owned()))
    }

    /// Server of root images; [`MY_IP`] when the node is to use the server it booted from.
    pub(crate) fn image_server(&self) -> String {
        [col::noderes::NFSSERVER, col::noderes::TFTPSERVER, col::noderes::XCATMASTER]
            .into_iter()
            .find_map(|column| self.server_attr(column))
            .map_or_else(|| MY_IP.to_owned(), |text| text.to_string())
    }

    /// `noderes.installnic` (or `primarynic`) when it is a name: a MAC and the word `mac` are what `BOOTIF`
    /// says anyway.
    pub(crate) fn boot_nic_name(&self) -> Option<Text> {
        let nic = self.attr(col::noderes::INSTALLNIC).or_else(|| self.attr(col::noderes::PRIMARYNIC))?;
        (&*nic != "mac" && nic.parse::<dawn_cluster::MacAddr>().is_err()).then_some(nic)
    }

    pub(crate) fn console(&self) -> Option<String> {
        let port = self.attr(col::nodehm::SERIALPORT)?;
        let speed = self.attr(col::nodehm::SERIALSPEED)?;
        let flow = self.attr(col::nodehm::SERIALFLOW).filter(|flow| flow.contains("hard"));
        Some(format!("console=ttyS{port},{speed}{}", if flow.is_some() { "n8r" } else { "" }))
    }
}
