//! What to say about a command that does not exist: the name that was meant, or what to use instead.

use crate::output::CommandError;

/// Commands of xCAT that are not part of Dawn, and what to use instead.
pub const ELSEWHERE: &[(&[&str], &str)] = &[
    (&["rflash"], "firmware of service processors is updated with their makers' tools"),
    (
        &["wcons", "tcons", "wkill"],
        "Dawn opens no windows: `dawn rcons NODE` shows a console in a terminal, `dawn console NODERANGE --log -f` follows many",
    ),
    (
        &["wvid"],
        "the graphical console is the service processor's own web page; `dawn rcons NODE` shows the serial one",
    ),
    (&["runxcmd"], "`dawn xdsh NODERANGE COMMAND` runs commands on nodes, `--collate` shows what differs"),
    (
        &["remoteimmsetup"],
        "management modules are set up with their own tools; a node's own BMC asks `getbmcconfig`",
    ),
    (&["signx509cert"], "there are no service nodes, and nodes get no certificates"),
    (
        &["updatenodestat", "updatemynodestat"],
        "nodes report on the status port (`installstatus WORD`); `chtab node=NODE nodelist.status=WORD` sets one by hand",
    ),
    (&["rescanplugins"], "all commands are in the one executable; nothing is loaded"),
    (&["findme"], "machines send it by UDP; `dawn discover` shows those that wait"),
    (&["makentp"], "the management node's own chrony serves time"),
    (&["xcatprobe"], "`dawn explain NODE` shows what a node would boot and why, `dawn events` what it did"),
    (&["xcatd", "restartxcatd"], "`dawn serve` is the daemon"),
    (&["db2sqlsetup"], "DB2 is not supported; see `dawn pgsqlsetup` and `dawn mysqlsetup`"),
    (&["xcatsnap", "xcatdebug"], "`dawn log` and `dawn events` show what happened"),
    (
        &["mkvm", "rmvm", "lsvm", "chvm", "mkhwconn", "rmhwconn", "lshwconn", "lsslp", "rscan"],
        "virtual machines are not made, and hardware managers not controlled, by Dawn",
    ),
    (
        &[
            "addkit",
            "addkitcomp",
            "chkkitcomp",
            "lskit",
            "lskitcomp",
            "lskitdeployparam",
            "rmkit",
            "rmkitcomp",
            "buildkit",
        ],
        "kits are not supported; name packages in the image's pkglist and otherpkglist",
    ),
    (
        &["lite-files", "lite-tree"],
        "`dawn litefile NODERANGE` and `dawn litetree NODERANGE` print what each node has",
    ),
    (
        &["bmcdiscover", "switchdiscover", "slpdiscover", "pdudiscover", "switchprobe"],
        "`dawn discover` and `dawn events` show unknown machines, `dawn mkdef` defines nodes",
    ),
    (
        &["winstall"],
        "`dawn rinstall NODERANGE osimage=IMAGE` installs, and `dawn rcons NODE` shows a console (docs/installing.md)",
    ),
    (
        &["copycds-cdrom", "geninitrd", "rmosdistro", "chkosimage"],
        "`dawn copycds` takes devices too, and the installer's own initramfs is used (docs/installing.md)",
    ),
    (
        &["imgcapture", "mkdummyimage"],
        "images are not captured from nodes; `dawn genimage` builds them from packages",
    ),
    (
        &["monadd", "moncfg", "mondecfg", "monls", "monrm", "monshow", "monstart", "monstop"],
        "monitoring is left to other programs; `dawn nodels NODERANGE nodelist.status` has the status of nodes",
    ),
    (
        &["mkzone", "chzone", "rmzone"],
        "zones are rows: `dawn tabch zonename=NAME zone.sshkeydir=DIR zone.sshbetweennodes=yes`, and nodelist.zonename of nodes",
    ),
    (&["snmove", "makeroutes", "xcatsetup"], "there are no service nodes; routes are left to the system"),
    (&["lshostkeys"], "`dawn makeknownhosts NODERANGE --scan` shows and records the host keys of nodes"),
    (
        &[
            "cfgve",
            "clonevm",
            "swapnodes",
            "setupiscsidev",
            "rmigrate",
            "lsve",
            "cfghost",
            "cfgcluster",
            "createcluster",
            "lscluster",
            "rmvcluster",
            "chhypervisor",
            "mkhypervisor",
            "rmhypervisor",
        ],
        "virtual machines are neither made nor moved by Dawn",
    ),
    (
        &[
            "mknimimage",
            "nimnodecust",
            "nimnodeset",
            "nim2xcat",
            "xcat2nim",
            "bkupimage",
            "rmnimimage",
            "xcataixinit",
            "mkdsklsnode",
            "rmdsklsnode",
            "chkaixos",
            "snrmkdsklsnode",
        ],
        "AIX and NIM are not supported",
    ),
    (
        &[
            "nodeimport",
            "nodechprofile",
            "nodeaddunmged",
            "nodechmac",
            "nodediscover",
            "noderefresh",
            "noderegenips",
            "kitnodebasic",
        ],
        "profiles of nodes are groups here; `dawn mkdef -z` reads definitions from a file, `dawn chdef` changes them",
    ),
    (&["gennr"], "`dawn noderange NODERANGE` prints the names"),
    (
        &["webrun"],
        "there is no REST service yet; programs use the XML requests of port 3001, as xCAT's own do",
    ),
    (&["getslnodes"], "nodes of a cloud are defined with `dawn mkdef`"),
    (&["xpbsnodes"], "the batch system's own programs show its nodes"),
    (&["xcsv"], "`dawn tabdump TABLE` prints a table as CSV"),
    (&["pushinitrd"], "nodes fetch their initramfs when they boot; `dawn nodeset` says which"),
    (&["lskmodules"], "`modinfo` in the tree of an image, or of a driver package, describes kernel modules"),
    (&["lstree"], "`dawn lsdef NODERANGE -i servicenode,vmhost,mpa,hcp` shows what a node depends on"),
    (&["postage"], "`dawn lsdef NODERANGE -i postscripts,postbootscripts` lists a node's scripts"),
    (
        &["rollupdate", "runrollupdate"],
        "nodes are updated with `dawn updatenode` and restarted with `dawn rpower`, a noderange at a time",
    ),
    (&["pasu", "piflash", "configfpc"], "settings and firmware are changed with their makers' tools"),
    (
        &["lsflexnode", "mkflexnode", "rmflexnode"],
        "partitions of blade servers are made with their own tools",
    ),
    (
        &["mkvlan", "chvlan", "rmvlan", "lsvlan", "chvlanports"],
        "switches are set up with their own tools; `networks.vlanid` names a network's VLAN",
    ),
];

/// The error for a name that is not a command; `names` are those of all commands.
pub fn unknown<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> CommandError {
    if let Some((_, instead)) = ELSEWHERE.iter().find(|(names, _)| names.contains(&name)) {
        let error = CommandError::refused(format!("Dawn does not have the command '{name}'."));
        return error.hint(format!("{instead}."));
    }
    CommandError::not_found(format!("there is no command '{name}'.")).hint(
        match dawn_cluster::nearest_of(name, names) {
            Some(meant) => format!("did you mean '{meant}'?"),
            None => "`dawn help` lists the commands, docs/feature-status.md says what is missing.".to_owned(),
        },
    )
}
