//! Post scripts of a node whose root is in memory: the agent of `/init` runs them, and the server gets a
//! report of each.
//!
//! Ignored by a plain `cargo test`: needs root, QEMU and the release binary. `cargo xtask test` runs them.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use dawn_qemu::image::{STATELESS, TestImage};
use dawn_qemu::node::Hardware;
use dawn_qemu::{Cluster, Definition, Firmware, Options};

/// From power-on to the end of the scripts, software emulation on a busy machine included.
const BOOT_LIMIT: Duration = Duration::from_secs(480);
/// For a command inside a machine.
const EXEC_LIMIT: Duration = Duration::from_secs(120);

/// Writes what it was given where the test can see it, by a helper next to it.
const GOOD: &str = "#!/bin/sh\n. /xcatpost/helper\nmark \"$NODE $MASTER_IP $#:$1\"\n";
const HELPER: &str = "mark() { echo \"$1\" >>/root/marks; }\n";
const BAD: &str = "#!/bin/sh\necho before; echo no disk is left; exit 3\n";
/// It sees that the system is up.
const LATER: &str = "#!/bin/sh\nsystemctl is-active multi-user.target >>/root/marks\n";

/// One script succeeds, one fails, one still runs after it; the node's status is `failed`. Run by
/// hand the good ones end well, and the node boots to `booted` once the failing one is gone.
#[test]
#[ignore = "boots a machine; run by `cargo xtask test`"]
fn post_scripts_run_and_are_reported() -> Result<()> {
    let mut cluster = Cluster::up(Options::test())?;
    TestImage::new()?.provide(&cluster, &mut |line| eprintln!("{line}"))?;
    let scripts = cluster.install_dir().join("postscripts");
    fs::create_dir_all(scripts.join("custom")).context("the scripts")?;
    for (name, text) in [("custom/good.sh", GOOD), ("helper", HELPER), ("bad", BAD), ("custom/later", LATER)]
    {
        fs::write(scripts.join(name), text).with_context(|| format!("the script {name}"))?;
    }
    let hardware = Hardware::numbered(1, "cn1", Firmware::BiosIpxeRom);
    cluster.add_nodes(&[Definition { hardware, image: STATELESS.into() }])?;
    let lists =
        ["postscripts.postscripts=custom/good.sh 'a b',bad", "postscripts.postbootscripts=custom/later"];
    cluster.dawn([&["chtab", "node=cn1"], &lists[..]].concat())?;
    cluster.power_on("cn1")?;
    cluster.wait_for_status("cn1", "failed", BOOT_LIMIT)?;

    let events = cluster.events("cn1")?;
    for (step, detail) in [
        ("post", "postbooting"),
        // The scripts that come with Dawn, and with every node, find nothing to do in this image.
        ("post", "postscript syslog: exit code 0"),
        ("post", "postscript remoteshell: exit code 0"),
        ("post", "postscript syncfiles: exit code 0"),
        ("post", "postscript custom/good.sh 'a b': exit code 0"),
        ("trouble", "postscript bad: exit code 3: no disk is left"),
        ("post", "postbootscript otherpkgs: exit code 0"),
        ("post", "postbootscript custom/later: exit code 0"),
    ] {
        let found = events.iter().any(|event| event.step == step && event.detail == detail);
        ensure!(found, "no event `{step} {detail}` in {events:#?}\n{}", cluster.evidence("cn1"));
    }
    let update = cluster.dawn(["lsdef", "cn1", "-i", "updatestatus"])?;
    ensure!(update.contains("updatestatus=out-of-sync"), "{update}");
    expect(&cluster, "cat /root/marks", "cn1 10.77.0.1 1:a b\nactive")?;
    expect(&cluster, "grep -c 'end....: bad: exited with code 3' /var/log/xcat/xcat.log", "1")?;

    expect(&cluster, "/run/dawn/init post 'custom/good.sh x y' 2>/dev/null; echo $?", "0")?;
    expect(&cluster, "/run/dawn/init post bad 2>/dev/null; echo $?", "1")?;
    expect(&cluster, "tail -n 1 /root/marks", "cn1 10.77.0.1 2:x")?;

    cluster.dawn(["chtab", "node=cn1", "postscripts.postscripts=custom/good.sh"])?;
    cluster.clear_status("cn1")?;
    // The answer may be lost with the machine.
    let _ = cluster.node("cn1")?.exec("systemctl --no-block reboot", EXEC_LIMIT);
    cluster.wait_for_status("cn1", "booted", BOOT_LIMIT)?;
    let update = cluster.dawn(["lsdef", "cn1", "-i", "updatestatus"])?;
    ensure!(update.contains("updatestatus=synced"), "{update}");
    expect(&cluster, "cat /root/marks", "cn1 10.77.0.1 0:\nactive")?;
    cluster.down()
}

fn expect(cluster: &Cluster, command: &str, want: &str) -> Result<()> {
    let got = cluster.node("cn1")?.exec(command, EXEC_LIMIT)?;
    ensure!(got.trim_end() == want, "`{command}` gave {got:?}, not {want:?}\n{}", cluster.evidence("cn1"));
    Ok(())
}
