//! The commands, one file each, and the list of them.

pub mod areas;
pub mod chdef;
pub mod chtab;
pub mod complete;
pub mod completions;
pub mod dumpxcatdb;
pub mod events;
pub mod explain;
pub mod genimage;
pub mod getdestiny;
pub mod gettab;
pub mod ilitefile;
pub mod imagedef;
pub mod imgexport;
pub mod imgimport;
pub mod leases;
pub mod links;
pub mod litefile;
pub mod liteimg;
pub mod litetree;
pub mod log;
pub mod lsdef;
pub mod lslite;
pub mod lsxcatd;
pub mod makedhcp;
pub mod makehosts;
pub mod makenetworks;
pub mod man;
pub mod mkdef;
pub mod mysqlsetup;
pub mod nextdestiny;
pub mod nodeadd;
pub mod nodech;
pub mod nodegrpch;
pub mod nodels;
pub mod nodepurge;
pub mod noderange;
pub mod noderm;
pub mod nodeset;
pub mod packimage;
pub mod pgsqlsetup;
pub mod regnotif;
pub mod restorexcatdb;
pub mod rmdef;
pub mod rmimage;
pub mod setuplocalclient;
pub mod tabch;
pub mod tabdump;
pub mod tabedit;
pub mod tabgrep;
pub mod tabprune;
pub mod tabrestore;
pub mod undo;
pub mod unregnotif;
pub mod xcatconfig;

use crate::frame::Entry;

static ENTRIES: &[Entry] = &[
    Entry::daemon::<chdef::Args>(),
    Entry::daemon::<chtab::Args>(),
    Entry::daemon::<events::Args>(),
    Entry::daemon::<explain::Args>(),
    Entry::daemon::<getdestiny::Args>(),
    Entry::daemon::<gettab::Args>(),
    Entry::daemon::<ilitefile::Args>(),
    Entry::daemon::<imagedef::Args>(),
    Entry::daemon::<imgexport::Args>(),
    Entry::daemon::<imgimport::Args>(),
    Entry::daemon::<leases::Args>(),
    Entry::daemon::<litefile::Args>(),
    Entry::daemon::<liteimg::Args>(),
    Entry::daemon::<litetree::Args>(),
    Entry::daemon::<log::Args>(),
    Entry::daemon::<lsdef::Args>(),
    Entry::daemon::<lslite::Args>(),
    Entry::daemon::<lsxcatd::Args>(),
    Entry::daemon::<makedhcp::Args>(),
    Entry::daemon::<makehosts::Args>(),
    Entry::daemon::<makenetworks::Args>(),
    Entry::daemon::<mkdef::Args>(),
    Entry::daemon::<mysqlsetup::Args>(),
    Entry::daemon::<nextdestiny::Args>(),
    Entry::daemon::<nodeadd::Args>(),
    Entry::daemon::<nodech::Args>(),
    Entry::daemon::<nodegrpch::Args>(),
    Entry::daemon::<nodels::Args>(),
    Entry::daemon::<nodepurge::Args>(),
    Entry::daemon::<noderange::Args>(),
    Entry::daemon::<noderm::Args>(),
    Entry::daemon::<nodeset::Args>(),
    Entry::daemon::<pgsqlsetup::Args>(),
    Entry::daemon::<regnotif::Args>(),
    Entry::daemon::<rmdef::Args>(),
    Entry::daemon::<rmimage::Args>(),
    Entry::daemon::<setuplocalclient::Args>(),
    Entry::daemon::<tabch::Args>(),
    Entry::daemon::<tabdump::Args>(),
    Entry::daemon::<tabgrep::Args>(),
    Entry::daemon::<tabprune::Args>(),
    Entry::daemon::<tabrestore::Args>(),
    Entry::daemon::<undo::Args>(),
    Entry::daemon::<unregnotif::Args>(),
    Entry::daemon::<xcatconfig::Args>(),
    Entry::local::<complete::Args>(),
    Entry::local::<completions::Args>(),
    Entry::local::<dumpxcatdb::Args>(),
    Entry::local::<genimage::Args>(),
    Entry::local::<links::Args>(),
    Entry::local::<man::Args>(),
    Entry::local::<packimage::Args>(),
    Entry::local::<restorexcatdb::Args>(),
    Entry::local::<tabedit::Args>(),
];

/// All commands, daemon commands first, each part in alphabetical order.
pub fn all() -> &'static [Entry] {
    ENTRIES
}

/// The command of that name.
pub fn find(name: &str) -> Option<&'static Entry> {
    ENTRIES.iter().find(|entry| entry.name == name)
}

/// The command or node request of that name, for the daemon.
pub fn find_request(name: &str) -> Option<&'static Entry> {
    find(name).or_else(|| crate::requests::find(name))
}
