//! The commands that run in the daemon: one file each, in a folder for each area, and the list of them.
//!
//! A command is a [`dawn_bootd::command::Command`]: it knows the model, its caller and what the boot services
//! answer, but no terminal and no socket. Code that several commands share is next to the folders: [`edits`]
//! is the one way to write, [`defs`] the objects of `lsdef` and related commands. [`programs`] are asked by
//! programs, not by administrators.
//!
//! Invariants: a command changes the model through one change and never half; the doc comment of a command's
//! arguments is its help, its man page and its part of `docs/commands.md`.

pub mod addresses;
pub mod boot;
pub mod conditions;
pub mod conflicts;
pub mod databases;
pub mod dbsetup;
pub mod defs;
pub mod descriptions;
pub mod destiny_reply;
pub mod discovery;
pub mod edits;
pub mod hardware;
pub mod hosts;
pub mod imagedef;
pub mod images;
pub mod lite;
pub mod local_networks;
pub mod names;
pub mod next_boot;
pub mod nodes;
pub mod objects;
pub mod programs;
pub mod resolver;
pub mod run;
pub mod sources;
pub mod statelite;
pub mod synclists;
pub mod system;
pub mod tabch;
pub mod tables;
pub mod typos;
pub mod units;
pub mod unusable;

use dawn_bootd::command::Entry;

/// All commands, in alphabetical order.
pub static COMMANDS: &[Entry] = &[
    Entry::daemon::<databases::backup::Args>(),
    Entry::daemon::<objects::chdef::Args>(),
    Entry::daemon::<tables::chtab::Args>(),
    Entry::daemon::<hardware::console::Args>(),
    Entry::daemon::<discovery::discover::Args>(),
    Entry::daemon::<boot::events::Args>(),
    Entry::daemon::<boot::explain::Args>(),
    Entry::daemon::<boot::getdestiny::Args>(),
    Entry::daemon::<hardware::getmacs::Args>(),
    Entry::daemon::<tables::gettab::Args>(),
    Entry::daemon::<statelite::ilitefile::Args>(),
    Entry::daemon::<images::imagedef::Args>(),
    Entry::daemon::<images::imgexport::Args>(),
    Entry::daemon::<images::imgimport::Args>(),
    Entry::daemon::<databases::import::Args>(),
    Entry::daemon::<discovery::inventory::Args>(),
    Entry::daemon::<boot::leases::Args>(),
    Entry::daemon::<statelite::litefile::Args>(),
    Entry::daemon::<statelite::liteimg::Args>(),
    Entry::daemon::<statelite::litetree::Args>(),
    Entry::daemon::<tables::log::Args>(),
    Entry::daemon::<objects::lsdef::Args>(),
    Entry::daemon::<statelite::lslite::Args>(),
    Entry::daemon::<system::lsxcatd::Args>(),
    Entry::daemon::<hardware::makeconservercf::Args>(),
    Entry::daemon::<boot::makedhcp::Args>(),
    Entry::daemon::<names::makedns::Args>(),
    Entry::daemon::<hardware::makegocons::Args>(),
    Entry::daemon::<boot::makehosts::Args>(),
    Entry::daemon::<run::makeknownhosts::Args>(),
    Entry::daemon::<boot::makenetworks::Args>(),
    Entry::daemon::<objects::mkdef::Args>(),
    Entry::daemon::<boot::mknb::Args>(),
    Entry::daemon::<databases::mysqlsetup::Args>(),
    Entry::daemon::<boot::mknb::Former>(),
    Entry::daemon::<boot::nextdestiny::Args>(),
    Entry::daemon::<nodes::nodeadd::Args>(),
    Entry::daemon::<nodes::nodech::Args>(),
    Entry::daemon::<discovery::nodediscoverdef::Args>(),
    Entry::daemon::<discovery::nodediscoverls::Args>(),
    Entry::daemon::<discovery::nodediscoverstart::Args>(),
    Entry::daemon::<discovery::nodediscoverstatus::Args>(),
    Entry::daemon::<discovery::nodediscoverstop::Args>(),
    Entry::daemon::<nodes::nodegrpch::Args>(),
    Entry::daemon::<nodes::nodels::Args>(),
    Entry::daemon::<nodes::nodepurge::Args>(),
    Entry::daemon::<nodes::noderange::Args>(),
    Entry::daemon::<nodes::noderm::Args>(),
    Entry::daemon::<boot::nodeset::Args>(),
    Entry::daemon::<run::nodestat::Args>(),
    Entry::daemon::<databases::pgsqlsetup::Args>(),
    Entry::daemon::<hardware::rbeacon::Args>(),
    Entry::daemon::<hardware::rbootseq::Args>(),
    Entry::daemon::<hardware::rcons::Args>(),
    Entry::daemon::<system::regnotif::Args>(),
    Entry::daemon::<boot::render::Args>(),
    Entry::daemon::<hardware::renergy::Args>(),
    Entry::daemon::<hardware::replaycons::Args>(),
    Entry::daemon::<hardware::reventlog::Args>(),
    Entry::daemon::<hardware::rinstall::Args>(),
    Entry::daemon::<hardware::rinv::Args>(),
    Entry::daemon::<hardware::ripmi::Args>(),
    Entry::daemon::<objects::rmdef::Args>(),
    Entry::daemon::<images::rmimage::Args>(),
    Entry::daemon::<hardware::rnetboot::Args>(),
    Entry::daemon::<hardware::rpower::Args>(),
    Entry::daemon::<hardware::rsetboot::Args>(),
    Entry::daemon::<hardware::rspconfig::Args>(),
    Entry::daemon::<hardware::rspreset::Args>(),
    Entry::daemon::<hardware::rvitals::Args>(),
    Entry::daemon::<system::setuplocalclient::Args>(),
    Entry::daemon::<tables::tabch::Args>(),
    Entry::daemon::<tables::tabdump::Args>(),
    Entry::daemon::<tables::tabgrep::Args>(),
    Entry::daemon::<tables::tabprune::Args>(),
    Entry::daemon::<tables::tabrestore::Args>(),
    Entry::daemon::<tables::undo::Args>(),
    Entry::daemon::<system::unregnotif::Args>(),
    Entry::daemon::<run::updatenode::Args>(),
    Entry::daemon::<boot::wave::Args>(),
    Entry::daemon::<system::xcatconfig::Args>(),
    Entry::daemon::<run::xdcp::Args>(),
    Entry::daemon::<run::xdsh::Args>(),
];

/// What programs ask.
pub static PROGRAMS: &[Entry] = &[
    Entry::daemon::<programs::help::Args>(),
    Entry::daemon::<programs::names::Extended>(),
    Entry::daemon::<programs::names::Generate>(),
    Entry::daemon::<programs::names::Nodes>(),
    Entry::daemon::<programs::names::Shorten>(),
    Entry::daemon::<run::sshtargets::Args>(),
    Entry::daemon::<programs::tables::AllEntries>(),
    Entry::daemon::<programs::tables::NodesAttribs>(),
    Entry::daemon::<programs::tables::TablesAllNodes>(),
    Entry::daemon::<programs::tables::TablesNodes>(),
    Entry::daemon::<programs::tables::TablesAllRows>(),
    Entry::daemon::<programs::tables::SetNodes>(),
    Entry::daemon::<programs::tables::DelEntries>(),
    Entry::daemon::<programs::tables::GetAttribs>(),
    Entry::daemon::<programs::tables::SetAttribs>(),
];
