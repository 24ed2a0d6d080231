//! The real binary with its daemon and no machines: start and stop, and commands that are given nonsense.
//!
//! Ignored by a plain `cargo test`: needs root and the release binary. `cargo xtask test` runs them.

use std::process::Output;

use anyhow::{Context, Result, ensure};
use dawn_qemu::{Cluster, Options, process};

/// Tables that the refused commands would have touched.
const TABLES: [&str; 10] =
    ["nodelist", "mac", "hosts", "noderes", "nodetype", "chain", "osimage", "linuximage", "networks", "site"];

/// A command that must be refused, and what its answer must contain.
const REFUSED: [(&[&str], &str); 16] = [
    (&["lsdef", "-t", "node", "-o", "ghost"], "Could not find an object named 'ghost' of type 'node'."),
    (&["lsdef", "-t", "osimage", "-o", "ghost"], "Could not find an object named 'ghost' of type 'osimage'."),
    (&["rmdef", "-t", "node", "-o", "ghost"], "Could not find an object named 'ghost' of type 'node'."),
    (&["chdef", "-t", "node", "-o", "cn1", "nonsense=1"], "'nonsense' is not a valid attribute name"),
    (&["mkdef", "-t", "node", "-o", "new", "nonsense=1"], "'nonsense' is not a valid attribute name"),
    (&["mkdef", "-t", "nonsense", "-o", "new"], "nonsense"),
    (&["mkdef", "-t", "node", "-o", "new", "groups=all", "mac=52:54:00:zz"], "52:54:00:zz"),
    (&["mkdef", "-t", "node", "-o", "new", "groups=all", "ip=10.77.0.999"], "10.77.0.999"),
    (&["chdef", "-t", "node", "-o", "cn1", "mac=nonsense"], "nonsense"),
    (&["tabdump", "nonsense"], "No such table: nonsense"),
    (&["chtab", "node=cn1", "nonsense.column=1"], "nonsense"),
    (&["chtab", "node=cn1", "mac.nonsense=1"], "nonsense"),
    (&["nodels", "ghost"], "Invalid nodes and/or groups in noderange: ghost"),
    (&["nodeset", "ghost", "osimage=none"], "Invalid nodes and/or groups in noderange: ghost"),
    (&["nodeset", "cn1", "osimage=ghost"], "ghost"),
    (&["makedhcp", "ghost"], "Invalid nodes and/or groups in noderange: ghost"),
];

#[test]
#[ignore = "needs root and the release binary; run by `cargo xtask test`"]
fn nonsense_is_refused_and_changes_nothing() -> Result<()> {
    let cluster = Cluster::up(Options::test())?;
    cluster.dawn([
        "mkdef",
        "-t",
        "node",
        "-o",
        "cn1",
        "groups=all",
        "ip=10.77.0.11",
        "mac=52:54:00:da:00:01",
    ])?;
    let before = dump(&cluster)?;
    let mut wrong = String::new();
    for (args, want) in REFUSED {
        let output = cluster.dawn_output(args)?;
        let text = text(&output);
        if output.status.success() || !text.contains(want) {
            wrong += &format!("`{}`: {}, wanted {want:?}, got:\n{text}\n", args.join(" "), output.status);
        }
    }
    ensure!(wrong.is_empty(), "{wrong}");
    ensure!(dump(&cluster)? == before, "a refused command changed a table");
    cluster.down()
}

#[test]
#[ignore = "needs root and the release binary; run by `cargo xtask test`"]
fn data_survive_a_kill_and_init_can_be_repeated() -> Result<()> {
    let mut cluster = Cluster::up(Options::test())?;
    cluster.dawn([
        "mkdef",
        "-t",
        "node",
        "-o",
        "cn1",
        "groups=all",
        "ip=10.77.0.11",
        "mac=52:54:00:da:00:01",
    ])?;
    let before = dump(&cluster)?;
    cluster.kill_daemon()?;
    cluster.init()?;
    cluster.serve()?;
    ensure!(dump(&cluster)? == before, "tables differ after a kill and a second `dawn init`");
    cluster.down()
}

#[test]
#[ignore = "needs root and the release binary; run by `cargo xtask test`"]
fn a_symlink_selects_the_command() -> Result<()> {
    let cluster = Cluster::up(Options::test())?;
    let links = cluster.data().join("links");
    std::fs::create_dir_all(&links).context("cannot make a directory for links")?;
    cluster.dawn(["links".as_ref(), links.as_os_str()])?;
    for name in ["lsdef", "mkdef", "nodeset", "makedhcp", "genimage", "packimage", "nodels", "tabdump"] {
        ensure!(links.join(name).is_symlink(), "no link for `{name}`");
    }
    let mut command = cluster.network().command(links.join("tabdump"));
    let text = process::run(command.arg("networks").envs(cluster.environment()))?;
    ensure!(text.contains("10.77.0.0"), "{text}");
    cluster.down()
}

fn dump(cluster: &Cluster) -> Result<Vec<String>> {
    TABLES.iter().map(|table| cluster.dawn(["tabdump", table])).collect()
}

fn text(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes)).concat()
}
