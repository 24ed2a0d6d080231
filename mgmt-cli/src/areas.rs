//! The areas under which `dawn --help` lists the commands.

use dawn_bootd::command::Area;

const fn area(title: &'static str, commands: &'static [&'static str]) -> Area {
    Area { title, commands }
}

/// All areas; every command is in one of them.
pub(crate) static AREAS: &[Area] = &[
    area("Start here", &["init", "serve", "doctor", "links", "completions", "man"]),
    area("Objects: nodes, groups, images, networks", &["lsdef", "mkdef", "chdef", "rmdef"]),
    area("Nodes", &["nodels", "nodeadd", "nodech", "noderm", "nodepurge", "nodegrpch", "noderange"]),
    area(
        "Boot",
        &[
            "nodeset",
            "explain",
            "render",
            "events",
            "wave",
            "leases",
            "makedhcp",
            "makenetworks",
            "makehosts",
            "makedns",
            "mknb",
            "nbcreate",
        ],
    ),
    area(
        "Discovery of machines",
        &[
            "discover",
            "nodediscoverstart",
            "nodediscoverstop",
            "nodediscoverstatus",
            "nodediscoverls",
            "nodediscoverdef",
            "inventory",
        ],
    ),
    area(
        "Hardware",
        &[
            "rpower",
            "rinstall",
            "rsetboot",
            "rbeacon",
            "rinv",
            "rvitals",
            "reventlog",
            "renergy",
            "rspconfig",
            "rspreset",
            "ripmi",
            "rcons",
            "console",
            "replaycons",
            "makeconservercf",
            "makegocons",
            "getmacs",
            "rnetboot",
            "rbootseq",
        ],
    ),
    area("Images", &["copycds", "genimage", "packimage", "rmimage", "imgexport", "imgimport"]),
    area(
        "Commands and files on nodes",
        &[
            "xdsh",
            "psh",
            "xdcp",
            "updatenode",
            "pscp",
            "prsync",
            "xdshbak",
            "xdshcoll",
            "xcoll",
            "sinv",
            "pping",
            "ppping",
            "nodestat",
            "makeknownhosts",
        ],
    ),
    area("Statelite", &["lslite", "litefile", "litetree", "ilitefile", "liteimg"]),
    area(
        "Tables",
        &[
            "tabdump",
            "gettab",
            "chtab",
            "tabch",
            "tabgrep",
            "tabedit",
            "tabrestore",
            "tabprune",
            "log",
            "undo",
        ],
    ),
    area(
        "Databases and backup",
        &["backup", "restore", "import", "dumpxCATdb", "restorexCATdb", "pgsqlsetup", "mysqlsetup"],
    ),
    area("Administration", &["xcatconfig", "setup-local-client.sh", "lsxcatd", "regnotif", "unregnotif"]),
    area("Called by machines", &["getdestiny", "nextdestiny", "imagedef", "complete"]),
];

#[cfg(test)]
mod tests {
    use super::AREAS;
    use crate::registry::registry;

    #[test]
    fn every_command_is_in_one_area() {
        let mut listed: Vec<_> = AREAS.iter().flat_map(|area| area.commands).copied().collect();
        let registry = registry();
        let mut known: Vec<_> =
            registry.all().iter().map(|entry| entry.name).chain(["init", "serve"]).collect();
        listed.sort_unstable();
        known.sort_unstable();
        assert_eq!(listed, known);
    }
}
