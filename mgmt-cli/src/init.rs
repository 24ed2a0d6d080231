//! `dawn init`: data directory, certificates, ssh keys, default rows, the boot network, loaders, post
//! scripts.

use crate::environment::Environment;
use crate::local::{LOG, Local, LocalCommand};
use crate::{policy_repair, post_scripts, ssh_keys};
use anyhow::{Context, Result, bail};
use dawn_bootd::address::host_name;
use dawn_bootd::certificates::{client_certificate, server_certificate};
use dawn_bootd::command::Registry;
use dawn_bootd::failures::as_command_error;
use dawn_bootd::output::{Deed, Done, ErrorKind, Out};
use dawn_bootd::{database, owner};
use dawn_cluster::{Change, Edit, Installation, LocalNetwork, Model, Snapshot};
use dawn_commands::{local_networks, resolver};
use dawn_plan::LocalAddresses;
use dawn_xcatd::certificates::Authority;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Make a data directory: database, certificates, ssh keys, default table rows, boot loaders, post scripts.
///
/// Can be repeated: what exists stays, what is missing is added, and a policy that keeps root from
/// repairing it is repaired. The invoking user gets a client certificate in ~/.xcat and, if there is none, an
/// ssh key in ~/.ssh that nodes accept. The network of --master is put into the table networks. iPXE is
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

/// The command. It is not one of [`crate::local::LOCAL`]: it has no link, and runs before there is a daemon.
pub(crate) static LOCAL: Local = Local::of::<Args>();

impl LocalCommand for Args {
    const NAME: &'static str = "init";
    const USAGE_NAME: &'static str = "dawn init";

    fn run(self, environment: &Environment, _: &Registry, out: &mut Out<'_>) -> Done {
        let done = match &self.client {
            Some(user) => client(&environment.directory.join(&self.data), user, out),
            None => set_up(&self, environment, out),
        };
        done.map_err(|error| as_command_error(ErrorKind::Unavailable, error).into())
    }
}

fn set_up(args: &Args, environment: &Environment, out: &mut Out<'_>) -> Result<()> {
    check_domain(args.domain.as_deref())?;
    let data = directories(&environment.directory.join(&args.data))?;
    let _owner = owner::take_for_init(&data)?;
    let host = host_name();
    certificates(&data, &host, args.master, environment, out)?;
    let addresses =
        dawn_bootd::address::of_this_machine().context("cannot list the addresses of this machine")?;
    let snapshot = tables(&data, &host, args, &addresses, environment, out)?;
    let installdir =
        snapshot.site("installdir").map_or_else(|| data.join("install"), |dir| PathBuf::from(&*dir));
    let ca = Authority::new(&data).ca_certificate();
    for line in ssh_keys::ensure(&data, &environment.home(), &installdir, &ca)? {
        out.notice(line)?;
    }
    loaders(&data, out)?;
    let scripts = post_scripts::install(&installdir)?;
    if !scripts.is_empty() {
        let line = format!("wrote post scripts: {}", scripts.join(", "));
        let place = installdir.join("postscripts").display().to_string();
        out.report(&Deed::new("wrote", "post scripts", place).with("names", scripts).line(line))?;
    }
    for problem in dawn_bootd::dhcp::problems(&snapshot, &addresses) {
        out.warning(problem)?;
    }
    if snapshot.rows("litefile").next().is_none() {
        out.notice(
            "`genimage` writes default rows of litefile for a statelite image that has none (docs/statelite.md)",
        )?;
    }
    let interface = interface_of_master(&snapshot, &addresses);
    let interface = interface.map(|name| format!(" --interface {name}")).unwrap_or_default();
    let place = data.display().to_string();
    let line = format!("{place} is ready; start the services with: dawn serve --data {place}{interface}");
    out.report(&Deed::new("ready", "data directory", place).line(line))?;
    Ok(())
}

/// The interface that has the address of `site.master`.
fn interface_of_master(snapshot: &Snapshot, addresses: &LocalAddresses) -> Option<String> {
    let master: Ipv4Addr = snapshot.site("master")?.parse().ok()?;
    let mut own = addresses.iter().filter(|local| !local.address.is_loopback());
    own.find(|local| local.address == master).map(|local| local.interface.clone())
}

/// A certificate for another user; the policy decides what it may do.
fn client(data: &Path, user: &str, out: &mut Out<'_>) -> Result<()> {
    for line in client_certificate(data, user)? {
        out.notice(line)?;
    }
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

fn certificates(
    data: &Path,
    host: &str,
    master: Option<IpAddr>,
    environment: &Environment,
    out: &mut Out<'_>,
) -> Result<()> {
    if server_certificate(data, host, master)? {
        let line = "made a private certificate authority and the server certificate";
        out.report(&Deed::new("made", "server certificate", host).line(line))?;
    }
    let authority = Authority::new(data);
    let home = environment.home().join(".xcat");
    let user = environment.user();
    warn_of_other_cluster(&authority, &home, out)?;
    if authority.ensure_client(&home, &user).context("cannot make the client certificate")? {
        let place = home.display().to_string();
        let line = format!("made a client certificate for {user} in {place}");
        out.report(&Deed::new("made", "client certificate", user).with("directory", place).line(line))?;
    }
    Ok(())
}

/// One user has one certificate: that of the data directory that was initialised last.
fn warn_of_other_cluster(authority: &Authority, home: &Path, out: &mut Out<'_>) -> Result<()> {
    let read = |path: PathBuf| std::fs::read(path).ok();
    let (present, ours) = (read(home.join("ca.pem")), read(authority.ca_certificate()));
    if present.is_some() && present != ours {
        out.warning(format!(
            "the certificate in {} is of another authority (another data directory, or the one before \
             xcatconfig -f) and is replaced. To command another data directory again, run dawn init on it.",
            home.display()
        ))?;
    }
    Ok(())
}

fn tables(
    data: &Path,
    host: &str,
    args: &Args,
    addresses: &LocalAddresses,
    environment: &Environment,
    out: &mut Out<'_>,
) -> Result<std::sync::Arc<Snapshot>> {
    let model = database::open(data, environment.variable("XCATCFG"))?;
    let edits = default_edits(&model.snapshot(), data, host, args)?;
    if !edits.is_empty() {
        let count = edits.len();
        model.apply(Change::new("root", "dawn init", edits)).context("cannot write the default rows")?;
        let line = format!("wrote {count} default rows");
        out.report(&Deed::new("wrote", "default rows", "tables").with("count", count).line(line))?;
    }
    let short = host.split('.').next().unwrap_or(host);
    let (repair, lines) =
        policy_repair::edits(&model.snapshot(), short).context("cannot repair the policy table")?;
    if !repair.is_empty() {
        model.apply(Change::new("root", "dawn init", repair)).context("cannot repair the policy table")?;
        lines.into_iter().try_for_each(|line| out.notice(line))?;
    }
    boot_network(&model, addresses, &local_networks::read()?, out)?;
    say_choices(&model.snapshot(), args, out)?;
    Ok(model.snapshot())
}

/// Puts the network of `site.master` into the table: DHCP answers on networks of the table only, and the
/// machine's other networks may have their own DHCP server. `makenetworks` takes those, too.
fn boot_network(
    model: &Model,
    addresses: &LocalAddresses,
    connected: &[LocalNetwork],
    out: &mut Out<'_>,
) -> Result<()> {
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
        let line = format!("put the network {} ({interface}) into the table networks", network.name());
        let deed = Deed::new("created", "network", network.name()).with("interface", interface);
        out.report(&deed.line(line))?;
    }
    Ok(())
}

/// Warnings: what the command line did not ask for and the administrator must know.
fn say_choices(snapshot: &Snapshot, args: &Args, out: &mut Out<'_>) -> Result<()> {
    for (key, given, otherwise) in [
        ("master", args.master.is_some(), "each node gets the address on which this machine answers it"),
        ("domain", args.domain.is_some(), "nodes have no domain"),
    ] {
        match snapshot.site(key) {
            _ if given => {}
            Some(value) => out.notice(format!("site.{key} stays {value}; change it with --{key}"))?,
            None => out.notice(format!("site.{key} is not set, so {otherwise}; set it with --{key}"))?,
        }
    }
    Ok(())
}

/// Default rows that are missing. Values of the arguments replace existing ones: the user asked for them.
fn default_edits(snapshot: &Snapshot, data: &Path, host: &str, args: &Args) -> Result<Vec<Edit>> {
    let folder = |name: &str| data.join(name).to_string_lossy().into_owned();
    let here = Installation {
        master: args.master.map(|address| address.to_string()).unwrap_or_default(),
        domain: args.domain.clone().unwrap_or_default(),
        forwarders: resolver::forwarders(),
        timezone: jiff::tz::TimeZone::system().iana_name().unwrap_or_default().to_owned(),
        installdir: folder("install"),
        tftpdir: folder("tftpboot"),
        server_name: host.to_owned(),
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

fn loaders(data: &Path, out: &mut Out<'_>) -> Result<()> {
    let tftpdir = data.join("tftpboot");
    let installed = dawn_bootd::loaders::install(&tftpdir)
        .with_context(|| format!("cannot copy boot loaders to {}", tftpdir.display()))?;
    if !installed.copied.is_empty() {
        let line = format!("copied boot loaders: {}", installed.copied.join(", "));
        let place = tftpdir.display().to_string();
        out.report(&Deed::new("copied", "boot loaders", place).with("names", installed.copied).line(line))?;
    }
    if !installed.optional.is_empty() {
        out.notice(format!(
            "not on this machine, and needed for other ways to boot only (docs/dhcp.md): {}",
            installed.optional.join(", ")
        ))?;
    }
    if !installed.missing.is_empty() {
        out.warning(format!(
            "no {} on this machine, so nodes with that firmware cannot boot. \
             Install the package `ipxe` and run dawn init again, or put the file into {}.",
            installed.missing.join(" and no "),
            tftpdir.display()
        ))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::Terminal;

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
        let mut terminal = Terminal::default();
        let mut out = Out::new(&mut terminal);
        boot_network(&model, &addresses, &connected, &mut out).expect("without a master");
        assert_eq!(count(), 0);
        let site = vec![Edit::set_site("master", "10.1.0.1").expect("an edit")];
        model.apply(Change::new("root", "test", site)).expect("applied");
        boot_network(&model, &addresses, &connected, &mut out).expect("a network");
        boot_network(&model, &addresses, &connected, &mut out).expect("again");
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
        let error = client_certificate(data, "alice").expect_err("there is no authority").to_string();
        assert!(error.contains("run dawn init"), "{error}");
        Authority::new(data).ensure_server("mn1", &["mn1".into()], &[]).expect("an authority");
        for name in ["", "../root", "-x", "a b", "a/b"] {
            assert!(client_certificate(data, name).is_err(), "{name}");
        }
        client_certificate(data, "alice").expect("a certificate");
        client_certificate(data, "alice").expect("again");
        let mode = |name: &str| std::fs::metadata(data.join(name)).expect(name).permissions().mode() & 0o777;
        assert_eq!((mode("clients"), mode("clients/alice/client-cred.pem")), (0o700, 0o600));
    }
}
