//! What commands and node reports ask of the boot services, as a trait: commands are tested without services.

use crate::dhcp::Answers;
use crate::discovery::Discovery;
use crate::first_stage::Missing;
use crate::unready::{Advice, Unready};
use dawn_cluster::Snapshot;
use dawn_events::{Event, WaveReport};
use dawn_hardware::console::Hub;
use dawn_plan::{Plan, PlanError};
use dawn_xcatd::node_status::NodeReport;
use std::net::IpAddr;
use std::path::Path;

/// What `getdestiny` answers a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Destiny {
    /// The state word, for instance `netboot`, `shell`, `discover`.
    pub destiny: String,
    /// Kernel below the TFTP directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// Initial RAM disk below the TFTP directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initrd: Option<String>,
    /// Kernel command line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kcmdline: Option<String>,
    /// Server of the image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub imgserver: Option<String>,
}

/// A file of the answers that a node's installer would get, with the secrets masked.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct RenderedFile {
    /// Path of the template.
    pub template: String,
    /// The text.
    pub text: String,
    /// Directives and the values that replace them.
    pub values: Vec<RenderedValue>,
    /// What looks like a directive and is not known: `file:line: #WORD#`.
    pub unknown: Vec<String>,
}

/// A directive and the value that replaces it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct RenderedValue {
    /// The file that has it.
    pub file: String,
    /// The line, from 1 on.
    pub line: usize,
    /// The directive.
    pub directive: String,
    /// Where the value comes from, in words.
    pub source: String,
    /// The value; a mask for a secret.
    pub value: String,
}

/// What the daemon's boot services offer to commands. All calls answer from memory.
pub trait BootServices: Send + Sync + 'static {
    /// Whether this node would boot with this snapshot.
    ///
    /// # Errors
    /// What is missing.
    fn check_plan(&self, snapshot: &Snapshot, node: &str) -> Result<(), Unready>;
    /// What a node boots.
    ///
    /// # Errors
    /// The value that is missing or wrong.
    fn plan(&self, snapshot: &Snapshot, node: &str) -> Result<Plan, PlanError>;
    /// A file that the node's installer would get, with the secrets masked; `None` for the one with the
    /// answers.
    fn rendered(&self, snapshot: &Snapshot, node: &str, file: Option<&str>) -> Result<RenderedFile, Unready>;
    /// What a node is to do, as `getdestiny` reports it: `standby` for a node without a state.
    fn destiny(&self, snapshot: &Snapshot, node: &str) -> Destiny;
    /// Leases that are held: address, MAC, node or empty, expiry text.
    fn leases(&self) -> Vec<Lease>;
    /// The newest boot events, oldest first; of one node if named.
    fn events(&self, node: Option<&str>, count_max: usize) -> Vec<Event>;
    /// The latest waves of boots at this time (milliseconds since 1970), oldest first, as far as `sees` lets
    /// nodes be seen.
    fn waves(&self, now_ms: u64, sees: &dyn Fn(&str) -> bool) -> Vec<WaveReport>;
    /// What DHCP says to nodes.
    fn dhcp_answers<'a>(&self, snapshot: &'a Snapshot) -> Answers<'a>;
    /// Loaders that the node will ask for and that are not there.
    fn missing_loaders(&self, snapshot: &Snapshot, node: &str) -> Option<Missing>;
    /// What the tables ask of DHCP and this machine cannot do.
    fn dhcp_problems(&self, snapshot: &Snapshot) -> Vec<String>;
    /// Addresses of this machine on which its name server answers; none while it does not run.
    fn name_servers(&self) -> Vec<IpAddr>;
    /// Nodes that run from the tree at `root` by NFS.
    fn tree_users(&self, root: &Path) -> Vec<String>;
    /// What should be done about the image of a node before it boots, although it would boot.
    fn advice(&self, snapshot: &Snapshot, node: &str) -> Option<Advice>;
    /// A node has said something on the status port; the tables are written already.
    fn reported(&self, snapshot: &Snapshot, node: &str, report: &NodeReport);
    /// An interface of this machine has the address.
    fn is_own_address(&self, address: IpAddr) -> bool;
    /// A node asked for something that cannot be done; its timeline says why.
    fn trouble(&self, node: &str, detail: &str);
    /// A machine without certificate asked for something that the policy denies it.
    fn denied(&self, ip: IpAddr, detail: &str);
    /// A caller who is neither a user nor a node runs a command that the policy opens to everybody.
    fn asked(&self, ip: IpAddr, command: &str);
    /// A machine that is not a node has connected to the status port.
    fn stranger(&self, ip: IpAddr);
    /// The discovery of unknown machines; `None` in a daemon without one.
    fn discovery(&self) -> Option<&Discovery>;
    /// The consoles of nodes; `None` in a daemon without them.
    fn consoles(&self) -> Option<&Hub>;
}

/// A DHCP lease as `leases` shows it.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Lease {
    /// Address.
    pub ip: String,
    /// Hardware address.
    pub mac: String,
    /// Node, empty for a machine that is none.
    pub node: String,
    /// `reserved` or `dynamic`.
    pub kind: String,
    /// `offered`, `bound`, `declined` (another machine has the address), or `free` (given back or run out,
    /// and kept for this machine until another one needs it).
    pub state: String,
    /// When the state ends, local time, empty for never.
    pub expires: String,
}
