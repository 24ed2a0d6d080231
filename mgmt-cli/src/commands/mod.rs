//! The commands that run in the daemon: one file each, in a folder for each area, and the list of them.

pub mod boot;
pub mod databases;
pub mod images;
pub mod nodes;
pub mod objects;
pub mod statelite;
pub mod system;
pub mod tables;

use crate::command::Entry;

/// All of them, in alphabetical order.
pub static COMMANDS: &[Entry] = &[
    Entry::daemon::<objects::chdef::Args>(),
    Entry::daemon::<tables::chtab::Args>(),
    Entry::daemon::<boot::events::Args>(),
    Entry::daemon::<boot::explain::Args>(),
    Entry::daemon::<boot::getdestiny::Args>(),
    Entry::daemon::<tables::gettab::Args>(),
    Entry::daemon::<statelite::ilitefile::Args>(),
    Entry::daemon::<images::imagedef::Args>(),
    Entry::daemon::<images::imgexport::Args>(),
    Entry::daemon::<images::imgimport::Args>(),
    Entry::daemon::<boot::leases::Args>(),
    Entry::daemon::<statelite::litefile::Args>(),
    Entry::daemon::<statelite::liteimg::Args>(),
    Entry::daemon::<statelite::litetree::Args>(),
    Entry::daemon::<tables::log::Args>(),
    Entry::daemon::<objects::lsdef::Args>(),
    Entry::daemon::<statelite::lslite::Args>(),
    Entry::daemon::<system::lsxcatd::Args>(),
    Entry::daemon::<boot::makedhcp::Args>(),
    Entry::daemon::<boot::makehosts::Args>(),
    Entry::daemon::<boot::makenetworks::Args>(),
    Entry::daemon::<objects::mkdef::Args>(),
    Entry::daemon::<databases::mysqlsetup::Args>(),
    Entry::daemon::<boot::nextdestiny::Args>(),
    Entry::daemon::<nodes::nodeadd::Args>(),
    Entry::daemon::<nodes::nodech::Args>(),
    Entry::daemon::<nodes::nodegrpch::Args>(),
    Entry::daemon::<nodes::nodels::Args>(),
    Entry::daemon::<nodes::nodepurge::Args>(),
    Entry::daemon::<nodes::noderange::Args>(),
    Entry::daemon::<nodes::noderm::Args>(),
    Entry::daemon::<boot::nodeset::Args>(),
    Entry::daemon::<databases::pgsqlsetup::Args>(),
    Entry::daemon::<system::regnotif::Args>(),
    Entry::daemon::<objects::rmdef::Args>(),
    Entry::daemon::<images::rmimage::Args>(),
    Entry::daemon::<system::setuplocalclient::Args>(),
    Entry::daemon::<tables::tabch::Args>(),
    Entry::daemon::<tables::tabdump::Args>(),
    Entry::daemon::<tables::tabgrep::Args>(),
    Entry::daemon::<tables::tabprune::Args>(),
    Entry::daemon::<tables::tabrestore::Args>(),
    Entry::daemon::<tables::undo::Args>(),
    Entry::daemon::<system::unregnotif::Args>(),
    Entry::daemon::<system::xcatconfig::Args>(),
];
