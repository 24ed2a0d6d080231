//! The commands, one file each, and the list of them.

use crate::frame::Entry;

macro_rules! commands {
    (daemon: $($module:ident)*; local: $($local:ident)*;) => {
        $(pub mod $module;)*
        $(pub mod $local;)*

        static ENTRIES: &[Entry] = &[
            $(Entry::daemon::<$module::Args>(),)*
            $(Entry::local::<$local::Args>(),)*
        ];
    };
}

commands! {
    daemon: chdef chtab events explain getdestiny gettab ilitefile imagedef imgexport imgimport leases litefile
        liteimg litetree log lsdef lslite lsxcatd makedhcp makehosts makenetworks mkdef mysqlsetup nextdestiny
        nodeadd nodech nodegrpch nodels nodepurge noderange noderm nodeset pgsqlsetup regnotif rmdef rmimage setuplocalclient tabch
        tabdump tabgrep tabprune tabrestore undo
        unregnotif xcatconfig;
    local: complete completions dumpxcatdb genimage links man packimage restorexcatdb tabedit;
}

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
