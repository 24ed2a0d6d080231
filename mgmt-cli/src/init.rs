//! `dawn init`: data directory, certificates, ssh keys, default rows, the boot network, loaders, post
//! scripts.

use crate::environment::Environment;
use crate::{policy_repair, post_scripts, ssh_keys};
use anyhow::{Context, Result, bail};
use dawn_bootd::address::host_name;
use dawn_bootd::certificates::{client_certificate, server_certificate};
use dawn_bootd::{database, owner};
use dawn_cluster::{Change, Edit, Installation, LocalNetwork, Model, Snapshot};
use dawn_commands::local_networks;
use dawn_plan::LocalAddresses;
use dawn_xcatd::certificates::Authority;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Make a data directory: database, certificates, ssh keys, default table rows, boot loaders, post scripts.
///
/// Can be repeated: what is there stays, what is missing is added, and a policy that keeps root from
/// repairing it is repaired. The invoking user gets a client certificate in ~/.xcat and, if there is none, an
/// ssh key in ~/.ssh that nodes let in. The network of --master is put into the table networks. iPXE is
/// copied from the machine's own `ipxe` package.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Data directory
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Address of this machine as the nodes see it (site.master)
    #[arg(long, value_name = "ADDR")]
    pub master: Option<IpAddr>,
    /// Domain of the cluster (site.domain)
    #[arg(long, value_name = "DOMAIN")]
    pub domain: Option<String>,
    /// Only make a client certificate for this user, in DIR/clients/USER: it becomes the user's ~/.xcat
    #[arg(long, value_name = "USER", conflicts_with_all = ["master", "domain"])]
    pub client: Option<String>,
}

/// Sets up; the exit code.
pub fn run(args: Args, environment: &Environment) -> i32 {
    let done = match &args.client {
        Some(user) => client(&environment.directory.join(&args.data), user),
        None => set_up(&args, environment),
    };
    match done {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("Error: {error:#}");
            1
        }
    }
}

fn set_up(args: &Args, environment: &Environment) -> Result<()> {
    check_domain(args.domain.as_deref())?;
    let data = directories(&environment.directory.join(&args.data))?;
    let _owner = owner::take_for_init(&data)?;
    let host = host_name();
    certificates(&data, &host, args.master, environment)?;
    let addresses =
        dawn_bootd::address::of_this_machine().context("cannot list the addresses of this machine")?;
    let snapshot = tables(&data, &host, args, &addresses, environment)?;
    let installdir =
        snapshot.site("installdir").map_or_else(|| data.join("install"), |dir| PathBuf::from(&*dir));
    let ca = Authority::new(&data).ca_certificate();
    ssh_keys::ensure(&data, &environment.home(), &installdir, &ca)?.iter().for_each(|line| say(line));
    loaders(&data)?;
    let scripts = post_scripts::install(&installdir)?;
    if !scripts.is_empty() {
        say(&format!("wrote post scripts: {}", scripts.join(", ")));
    }
    for problem in dawn_bootd::dhcp::problems(&snapshot, &addresses) {
        eprintln!("Warning: {problem}");
    }
    if snapshot.rows("litefile").next().is_none() {
        say(
            "`genimage` writes default rows of litefile for a statelite image that has none (docs/statelite.md)",
        );
    }
    let interface = interface_of_master(&snapshot, &addresses);
    let interface = interface.map(|name| format!(" --interface {name}")).unwrap_or_default();
    say(&format!("{} is ready; start the services with: dawn serve --data {0}{interface}", data.display()));
    Ok(())
}

/// The interface that has the address of `site.master`.
fn interface_of_master(snapshot: &Snapshot, addresses: &LocalAddresses) -> Option<String> {
    let master: Ipv4Addr = snapshot.site("master")?.parse().ok()?;
    let mut own = addresses.iter().filter(|local| !local.address.is_loopback());
    own.find(|local| local.address == master).map(|local| local.interface.clone())
}

/// A certificate for another user; what it may do is for the policy to say.
fn client(data: &Path, user: &str) -> Result<()> {
    client_certificate(data, user)?.iter().for_each(|line| say(line));
    Ok(())
}

fn check_domain(domain: Option<&str>) -> Result<()> {
    let good = |text: &str| {
        let label = |label: &str| {
            !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        text.len() <= 253 && text.split('.').all(label)
    };
    match domain {
        Some(text) if !good(text) => {
            bail!("'{text}' is not a domain name (letters, digits and dashes, parts separated by dots)")
        }
        _ => Ok(()),
    }
}

/// The directory of the command log, below the data directory, and its mode.
pub(crate) const LOG: (&str, u32) = ("log", 0o700);

/// Makes the directories; what nodes fetch is readable by all, the database is not.
fn directories(data: &Path) -> Result<PathBuf> {
    let folders = [("", 0o755), ("tftpboot", 0o755), ("install", 0o755), ("install/postscripts", 0o755), LOG];
    for (folder, mode) in folders {
        let path = data.join(folder);
        let made = std::fs::DirBuilder::new().recursive(true).mode(mode).create(&path);
        made.with_context(|| format!("cannot make the directory {}", path.display()))?;
    }
    data.canonicalize().with_context(|| format!("cannot find {}", data.display()))
}

fn certificates(data: &Path, host: &str, master: Option<IpAddr>, environment: &Environment) -> Result<()> {
    if server_certificate(data, host, master)? {
        say("made a private certificate authority and the server certificate");
    }
    let authority = Authority::new(data);
    let home = environment.home().join(".xcat");
    let user = environment.user();
    warn_of_other_cluster(&authority, &home);
    if authority.ensure_client(&home, &user).context("cannot make the client certificate")? {
        say(&format!("made a client certificate for {user} in {}", home.display()));
    }
    Ok(())
}

/// One user has one certificate: that of the data directory that was initialised last.
fn warn_of_other_cluster(authority: &Authority, home: &Path) {
    let read = |path: PathBuf| std::fs::read(path).ok();
    let (present, ours) = (read(home.join("ca.pem")), read(authority.ca_certificate()));
    if present.is_some() && present != ours {
        eprintln!(
            "Warning: the certificate in {} is of another authority (another data directory, or the one before \
             xcatconfig -f) and is replaced. To command another data directory again, run dawn init on it.",
            home.display()
        );
    }
}

fn tables(
    data: &Path,
    host: &str,
    args: &Args,
    addresses: &LocalAddresses,
    environment: &Environment,
) -> Result<std::sync::Arc<Snapshot>> {
    let model = database::open(data, environment.variable("XCATCFG"))?;
    let edits = default_edits(&model.snapshot(), data, host, args)?;
    if !edits.is_empty() {
        let count = edits.len();
        model.apply(Change::new("root", "dawn init", edits)).context("cannot write the default rows")?;
        say(&format!("wrote {count} default rows"));
    }
    let short = host.split('.').next().unwrap_or(host);
    let (repair, lines) =
        policy_repair::edits(&model.snapshot(), short).context("cannot repair the policy table")?;
    if !repair.is_empty() {
        model.apply(Change::new("root", "dawn init", repair)).context("cannot repair the policy table")?;
        lines.iter().for_each(|line| say(line));
    }
    boot_network(&model, addresses, &local_networks::read()?)?;
    say_choices(&model.snapshot(), args);
    Ok(model.snapshot())
}

/// Puts the network of `site.master` into the table: DHCP answers on networks of the table only, and the
/// machine's other networks may have a DHCP server of their own. `makenetworks` takes those, too.
fn boot_network(model: &Model, addresses: &LocalAddresses, connected: &[LocalNetwork]) -> Result<()> {
    let snapshot = model.snapshot();
    let Some(interface) = interface_of_master(&snapshot, addresses) else { return Ok(()) };
    let master = snapshot.site("master").and_then(|text| text.parse::<Ipv4Addr>().ok());
    let holds = |network: &&LocalNetwork| {
        let inside = |master: Ipv4Addr| u32::from(master) & u32::from(network.mask) == u32::from(network.net);
        network.interface == interface && master.is_some_and(inside)
    };
    let Some(network) = connected.iter().find(holds) else { return Ok(()) };
    // A network that is in the table already stays as it is.
    let (edits, _) = snapshot.network_rows(std::slice::from_ref(network))?;
    if !edits.is_empty() {
        model.apply(Change::new("root", "dawn init", edits)).context("cannot write the boot network")?;
        say(&format!("put the network {} ({interface}) into the table networks", network.name()));
    }
    Ok(())
}

/// Warnings: what the command line did not ask for and the administrator must know.
fn say_choices(snapshot: &Snapshot, args: &Args) {
    for (key, given, otherwise) in [
        ("master", args.master.is_some(), "each node is told the address on which this machine answers it"),
        ("domain", args.domain.is_some(), "nodes have no domain"),
    ] {
        match snapshot.site(key) {
            _ if given => {}
            Some(value) => say(&format!("site.{key} stays {value}; change it with --{key}")),
            None => say(&format!("site.{key} is not set, so {otherwise}; set it with --{key}")),
        }
    }
}

/// Default rows that are missing. What the arguments say replaces what is there: it was asked for.
fn default_edits(snapshot: &Snapshot, data: &Path, host: &str, args: &Args) -> Result<Vec<Edit>> {
    let folder = |name: &str| data.join(name).to_string_lossy().into_owned();
    let here = Installation {
        master: args.master.map(|address| address.to_string()).unwrap_or_default(),
        domain: args.domain.clone().unwrap_or_default(),
        timezone: jiff::tz::TimeZone::system().iana_name().unwrap_or_default().to_owned(),
        installdir: folder("install"),
        tftpdir: folder("tftpboot"),
        server_name: host.to_owned(),
        ..Installation::default()
    };
    let mut edits = snapshot.default_rows(&here)?;
    for (key, value) in [("master", &here.master), ("domain", &here.domain)] {
        let present = snapshot.site(key);
        if !value.is_empty() && present.is_some_and(|present| *present != **value) {
            edits.push(Edit::set_site(key, value)?);
        }
    }
    Ok(edits)
}

fn loaders(data: &Path) -> Result<()> {
    let tftpdir = data.join("tftpboot");
    let installed = dawn_bootd::loaders::install(&tftpdir)
        .with_context(|| format!("cannot copy boot loaders to {}", tftpdir.display()))?;
    if !installed.copied.is_empty() {
        say(&format!("copied boot loaders: {}", installed.copied.join(", ")));
    }
    if !installed.optional.is_empty() {
        say(&format!(
            "not on this machine, and needed for other ways to boot only (docs/dhcp.md): {}",
            installed.optional.join(", ")
        ));
    }
    if !installed.missing.is_empty() {
        eprintln!(
            "Warning: no {} on this machine, so nodes with that firmware cannot boot. \
             Install the package `ipxe` and run dawn init again, or put the file into {}.",
            installed.missing.join(" and no "),
            tftpdir.display()
        );
    }
    Ok(())
}

fn say(line: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stdout(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_network_of_master_is_in_the_table() {
        let model = Model::in_memory().expect("a model");
        let addresses = LocalAddresses::one("eth1", [10, 1, 0, 1], [255, 255, 0, 0]);
        let network = |net: [u8; 4], interface: &str| LocalNetwork {
            net: net.into(),
            mask: [255, 255, 0, 0].into(),
            interface: interface.into(),
            gateway: None,
            mtu: None,
        };
        let connected = [network([10, 9, 0, 0], "eth0"), network([10, 1, 0, 0], "eth1")];
        let count = || model.snapshot().rows("networks").count();
        boot_network(&model, &addresses, &connected).expect("without a master");
        assert_eq!(count(), 0);
        let site = vec![Edit::set_site("master", "10.1.0.1").expect("an edit")];
        model.apply(Change::new("root", "test", site)).expect("applied");
        boot_network(&model, &addresses, &connected).expect("a network");
        boot_network(&model, &addresses, &connected).expect("again");
        assert_eq!(count(), 1);
        let snapshot = model.snapshot();
        let row = snapshot.rows("networks").next().expect("a row");
        let cell = |name: &'static str| row.get(dawn_cluster::Col::known(name)).map(ToString::to_string);
        assert_eq!(cell("networks.net").as_deref(), Some("10.1.0.0"));
        assert_eq!(cell("networks.mgtifname").as_deref(), Some("eth1"));
    }

    #[test]
    fn certificates_of_other_users() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().expect("a directory");
        let data = directory.path();
        let error = client(data, "alice").expect_err("there is no authority").to_string();
        assert!(error.contains("run dawn init"), "{error}");
        Authority::new(data).ensure_server("mn1", &["mn1".into()], &[]).expect("an authority");
        for name in ["", "../root", "-x", "a b", "a/b"] {
            assert!(client(data, name).is_err(), "{name}");
        }
        client(data, "alice").expect("a certificate");
        client(data, "alice").expect("again");
        let mode = |name: &str| std::fs::metadata(data.join(name)).expect(name).permissions().mode() & 0o777;
        assert_eq!((mode("clients"), mode("clients/alice/client-cred.pem")), (0o700, 0o600));
    }
}
