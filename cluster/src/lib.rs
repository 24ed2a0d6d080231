//! The model of a cluster: what is defined, what a node's attributes are, and the one way to change either.
//!
//! # Reading
//!
//! [`Model::open`] loads the database of a data directory into a [`Snapshot`], an immutable picture of all
//! tables. [`Model::snapshot`] hands out the current one at no cost; take one per question and ask it
//! everything, it never changes under you. A snapshot answers from memory: no SQL, no file, no wait.
//!
//! Tables and columns are known by small ids, [`TableId`] and [`Col`]; every function that wants one also
//! takes the name (`"nodehm.mgt"`) through [`AsCol`] and [`AsTable`]. Hot code resolves its columns once,
//! with [`Col::known`] for names in the program's own text and [`Schema::find_col`] for names from outside.
//! Texts are shared ([`Text`] is an `Arc<str>`).
//!
//! | question | answer |
//! |---|---|
//! | a node's attribute, groups and templates applied | [`Snapshot::attr`], [`attr_with_source`](Snapshot::attr_with_source), [`attr_rows`](Snapshot::attr_rows) |
//! | what a node's or group's own row says, raw | [`Snapshot::own_rows`] |
//! | a `site` value | [`Snapshot::site`], [`site_flag`](Snapshot::site_flag) |
//! | whose MAC, IP, UUID, switch port is this | [`Snapshot::node_by_mac`], [`mac_owner`](Snapshot::mac_owner), [`node_by_ip`](Snapshot::node_by_ip), [`node_by_uuid`](Snapshot::node_by_uuid), [`switch_rows`](Snapshot::switch_rows) |
//! | a node's interfaces, their names and addresses | [`Snapshot::named_addresses`] |
//! | the domain of an address, all domains; the servers of a network | [`Snapshot::domain_of`], [`domains`](Snapshot::domains), [`name_servers_of`](Snapshot::name_servers_of) |
//! | all nodes; is this a node; its groups | [`Snapshot::node_names`], [`has_node`](Snapshot::has_node), [`groups_of`](Snapshot::groups_of) |
//! | rows of any table | [`Snapshot::rows`], [`enabled_rows`](Snapshot::enabled_rows), [`find_row`](Snapshot::find_row), [`find_rows`](Snapshot::find_rows) |
//! | an image | [`Snapshot::osimage`] |
//! | which nodes does this text name | [`Snapshot::noderange`], [`Noderange`] |
//! | a group and its members | [`Snapshot::group_names`], [`group_kind`](Snapshot::group_kind), [`group_members`](Snapshot::group_members), [`nodes_where`](Snapshot::nodes_where) |
//! | an object as `lsdef` shows it | [`Snapshot::object`], [`object_with`](Snapshot::object_with), [`object_names`](Snapshot::object_names) |
//! | may this peer do that | [`Snapshot::policy`] |
//!
//! # Writing
//!
//! A [`Change`] says who asks, by which command, and lists [`Edit`]s. [`Model::apply`] checks it, writes it
//! in one transaction with its inverse into the change log, publishes the next snapshot and notifies every
//! [`Subscription`]; when it returns, the change is on disk. What has to be computed from the present state
//! (append to a list, take the next free number) goes through [`Model::transact`], which keeps other writers
//! out between reading and writing. [`Model::dry_run`] shows the difference without writing; [`Model::log`]
//! and [`Model::undo`] look back.
//!
//! Edits come from hand ([`Edit::set`]), from objects ([`Snapshot::set_object`],
//! [`delete_object`](Snapshot::delete_object), [`rename_object`](Snapshot::rename_object),
//! [`join_group`](Snapshot::join_group)), and from the defaults of a new database
//! ([`Snapshot::default_rows`]).
//!
//! ```
//! use dawn_cluster::{Change, Col, Edit, Model, ModelError};
//!
//! # fn main() -> Result<(), ModelError> {
//! let model = Model::in_memory()?; // Model::open(directory) in the daemon
//! let edits = vec![
//!     Edit::set("nodelist", &[("node", "n12")], &[("groups", "compute,all")])?,
//!     Edit::set("hosts", &[("node", "compute")], &[("ip", "|10.0.0.($1+100)|")])?,
//! ];
//! model.apply(Change::new("root", "mkdef n12 groups=compute,all", edits))?;
//!
//! let snapshot = model.snapshot();
//! assert_eq!(snapshot.attr("n12", "hosts.ip").as_deref(), Some("10.0.0.112"));
//!
//! let status = Col::known("nodelist.status");
//! model.apply(Change::quiet("n12", "nodestatus", vec![Edit::set_node("n12", status, "booted")?]))?;
//! assert_eq!(snapshot.attr("n12", status), None); // the old picture
//! assert_eq!(model.snapshot().attr("n12", status).as_deref(), Some("booted"));
//! # Ok(())
//! # }
//! ```
//!
//! # Where to start reading
//!
//! `schema` (tables), `snapshot` and `table` (what is in memory, over `chunk`), `resolve` and [`template`]
//! (attributes), `change` (edits to row effects), `model` (publishing, group commit), `store` (databases),
//! `log` (change log, undo, replay of other daemons' changes).
//!
//! **Invariants.** Nothing here opens a socket but a database's. A table is written only by a `Change`. The
//! text of a cell is never executed. Every cache, queue and list has a named limit.

#![forbid(unsafe_code)]
mod address_index;
mod advised;
mod away;
mod cfgloc;
mod change;
mod chunk;
mod claim;
mod claims;
/// Every column of the schema as a constant: `col::chain::CURRSTATE` is `chain.currstate`.
pub mod col {
    include!(concat!(env!("OUT_DIR"), "/col.rs"));
}
pub mod condition;
pub mod csv;
mod defaults;
mod discovery_rule;
mod distribution;
mod domains;
mod edit;
mod effect;
pub mod fuzz;
mod groups;
mod inherited;
mod interfaces;
mod like;
pub mod list;
mod liteoption;
mod log;
mod lookup;
mod model;
mod names;
mod natural;
mod nearest;
mod netboot;
mod nics;
pub mod noderange;
mod object_types;
pub mod objects;
mod policy;
mod reach;
mod resolve;
mod row;
mod rules;
pub mod saved;
mod schema;
mod secret_writes;
pub mod secrets;
mod servers;
mod site;
mod snapshot;
pub mod stanza;
mod store;
mod subnet;
mod successor;
mod table;
pub mod template;
mod used;
pub mod utf8;

pub use advised::Advised;
pub use away::Away;
pub use cfgloc::{CfglocError, DatabaseHost, ServerAddress, StoreAddress};
pub use change::{Change, LOG_ROWS_MAX, empty_key};
pub use claim::Claim;
pub use claims::{MachineFacts, NewClaim};
pub use condition::ConditionError;
pub use dawn_wire::Secret;
pub use defaults::{Installation, LocalNetwork, MANAGEMENT_GROUP, is_open_to_nodes};
pub use discovery_rule::{DiscoveryRule, RuleAttribute, RuleError};
pub use distribution::{Distribution, Installer, os_major, os_version};
pub use domains::Domain;
pub use edit::{CELL_BYTES_MAX, EDITS_MAX, Edit, EditError};
pub use effect::{RowChange, RowChangeKind};
pub use groups::{Conditions, GroupKind};
pub use interfaces::NamedAddress;
pub use liteoption::{OptionError, lite_option};
pub use log::{
    CHANGES_BYTES_MAX, CHANGES_KEPT_MAX, LogEntry, QUIET_CHANGES_BYTES_MAX, QUIET_CHANGES_KEPT_MAX, UndoError,
};
pub use lookup::MacOwner;
pub use model::{
    Applied, FOLLOW_INTERVAL, Follower, LOG_BYTES_MAX, Model, ModelError, Published, Subscription, migrate,
    truncate,
};
pub use names::{
    Guid, ImageName, MacAddr, MacEntry, NAME_BYTES_MAX, NameError, NodeName, TableName, excerpt,
    parse_mac_column, parse_mac_column_as,
};
pub use natural::natural_order;
pub use nearest::nearest_of;
pub use netboot::{Netboot, NotServed};
pub use noderange::{Expanded, Noderange, NoderangeError, ReadFile, node_item_col};
pub use objects::{
    Assign, LookupValue, NIC_COLUMNS, Object, ObjectAttr, ObjectError, ObjectPlan, ObjectType, ObjectValue,
    SITE_OBJECT, Selection, nic_column_for, nic_entries, nic_merge, object_type, object_types,
};
pub use policy::{PolicyRequest, Reason, Verdict};
pub use reach::Reach;
pub use resolve::{NEXT_RECORD, Resolved, ResolvedRow, Source};
pub use row::{Row, Text};
pub use rules::{NewNameError, check_group_name, known_words, no_other_machine, script_problem};
pub use schema::{AsCol, AsTable, Col, Column, Schema, Table, TableId, schema};
pub use servers::{NamedServer, XCATMASTER};
pub use site::{
    DISCOVERY_METHODS, Purpose, SiteKey, is_host_name, looks_like_address, own_directory, site_key, site_keys,
};
pub use snapshot::{OsImage, Snapshot};
pub use store::{
    ANSWER_TIME_MAX, ForeignTable, StoreError, first_table_with_rows, foreign_tables, set_up_server,
};
pub use subnet::{AddressRange, RangeError, Subnet, dynamic_ranges, prefix_length, row_network, row_subnet};
