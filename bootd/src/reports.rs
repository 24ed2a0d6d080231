//! Lets the watcher hear what nodes report on the status port, in front of who carries it out.

use crate::watch::Watcher;
use dawn_xcatd::node_status::{NodeReport, NodeReports};
use std::net::IpAddr;
use std::sync::Arc;

/// Reports pass through to `inner`; the watcher hears the status words.
pub(crate) struct Heard {
    pub(crate) inner: Arc<dyn NodeReports>,
    pub(crate) watcher: Arc<Watcher>,
}

impl NodeReports for Heard {
    fn node_at(&self, ip: IpAddr) -> Option<String> {
        self.inner.node_at(ip)
    }

    fn report(&self, node: &str, report: NodeReport) -> Vec<String> {
        if let NodeReport::Status(words) = &report {
            words.iter().for_each(|word| self.watcher.status(node, word));
        }
        self.inner.report(node, report)
    }

    fn stranger(&self, ip: IpAddr) {
        self.watcher.status_stranger(ip);
        self.inner.stranger(ip);
    }
}
