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
    daemon: chdef chtab events explain gettab imagedef leases log lsdef lsxcatd makedhcp mkdef nodeadd nodech
        nodels noderange noderm nodeset rmdef tabch tabdump tabgrep tabprune tabrestore undo;
    local: completions genimage links man packimage;
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
    find(name)
}
