//! `makedns`: the names of the cluster in DNS.
//!
//! Our own name server answers from the tables, so for it there is nothing to write: the command checks, and
//! reports which names there are and which are left out. Where `site.dnshandler` is `ddns`, the names are
//! BIND's, and the command writes its files ([`super::bind`]) and restarts it. No shell is involved.

use super::bind::{self, Key, Places, Role, Settings};
use crate::edits::{Edits, FileDifference, NOTHING, keep_old, transact, written};
use crate::resolver::{RESOLVER, name_servers};
use crate::units::{running, systemctl};
use dawn_bootd::address;
use dawn_bootd::address::host_name;
use dawn_bootd::command::disk::look;
use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::names::listen;
use dawn_bootd::names::records::{self, Elsewhere, Frame, Host, Item, Why, kept_elsewhere};
use dawn_bootd::output::{CommandError, Deed, Done, Lines, Out, Report, Stop, Warning};
use dawn_cluster::{Snapshot, col, schema};
use dawn_dns::name::DomainName;
use dawn_dns::zones::Zones;
use dawn_serving::whole;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::fchown;
use std::path::PathBuf;

/// Mode of files with the key, and of zone files, which named writes when it takes updates.
const SECRET_MODE: u32 = 0o640;
const ZONE_MODE: u32 = 0o664;
/// Groups that named runs as.
const GROUPS: [&str; 2] = ["bind", "named"];
/// Units of BIND: Debian, others, ALT Linux.
const UNITS: [&str; 3] = ["named", "bind9", "bind"];
/// Random letters of a new key.
const KEY_LETTERS: usize = 32;
/// Names that are reported of those BIND does not take.
const REFUSED_SHOWN_MAX: usize = 20;

/// Check the names of nodes in DNS, or write BIND's files
///
/// The daemon's own name server answers from the tables at once; for it this command reports which names
/// there are, and which are left out and why. With site.dnshandler=ddns it writes named.conf and the zone
/// files of BIND and restarts it.
#[derive(Debug, clap::Args)]
#[allow(clippy::struct_excessive_bools)]
pub struct Args {
    /// BIND: replace a named.conf that is not ours (the old one is kept as .xcatbak)
    #[arg(short = 'n', long = "new")]
    new: bool,
    /// All nodes (the default)
    #[arg(short = 'a', long = "all")]
    all: bool,
    /// Accepted for compatibility: a name goes when its node or address does
    #[arg(short = 'd', long = "delete")]
    delete: bool,
    /// Refused: a name server elsewhere is not updated
    #[arg(short = 'e', long = "external")]
    external: bool,
    /// BIND: set this machine up as a secondary server of the first name server in /etc/resolv.conf
    #[arg(short = 's', long = "slave")]
    slave: bool,
    /// Show what would be written without writing
    #[arg(long)]
    dry_run: bool,
    /// Nodes [default: all]
    #[arg(value_name = "NODERANGE")]
    noderange: Option<String>,
}

const USAGE: &str = "
  makedns - sets up domain name services (DNS).

  Usage:
    makedns [-h|--help]
    makedns [-n|--new] [-a|--all] [-s|--slave] [noderange]
    makedns -d|--delete noderange";

const EXTERNAL: &str = "makedns -e does not update a name server elsewhere";
const EXTERNAL_HINT: &str = "let that server ask this one for the cluster's zones (forward or stub zones), or transfer them: `servicenode.nameserver=2`";

impl Command for Args {
    const NAME: &'static str = "makedns";
    const KIND: Kind = Kind::Nodes;
    const WRITES: bool = true;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        if self.delete && self.noderange.is_none() {
            return out.usage(USAGE);
        }
        let addresses = address::of_this_machine().unwrap_or_default();
        let name = host_name();
        let host = Host { name: &name, addresses: &addresses };
        let frame = Frame::read(&ctx.snapshot, host);
        if frame.domains == 0 {
            return Err(Stop::conflict("domain not defined in site table"));
        }
        if frame.nets.is_empty() {
            return Err(Stop::conflict("Unable to enumerate networks, try to run makenetworks"));
        }
        let elsewhere = kept_elsewhere(&ctx.snapshot);
        if self.external || elsewhere == Some(Elsewhere::External) {
            return Err(CommandError::refused(EXTERNAL).hint(EXTERNAL_HINT).into());
        }
        if self.delete {
            return out.warning(
                "Nothing is deleted: names follow from the tables. A name goes when hosts.ip is cleared or the node is removed.",
            );
        }
        let bind = Bind { args: &self, ctx, host, frame: &frame };
        if self.dry_run {
            return if elsewhere.is_some() { bind.write(out) } else { out.heading(NOTHING) };
        }
        let nodes = self.noderange.as_ref().map(|_| ctx.nodes().to_vec());
        let found = Found::read(&ctx.snapshot, host, &frame, nodes.as_deref());
        found.report(nodes.is_some(), out)?;
        match elsewhere {
            Some(_) => bind.write(out)?,
            None => own_server(ctx, &self, out)?,
        }
        out.report(&Deed::new("set up", "name server", ctx.host).line("DNS setup is completed"))
    }
}

fn own_server(ctx: &Ctx<'_>, args: &Args, out: &mut Out<'_>) -> Done {
    if args.slave {
        let text = "makedns -s sets up BIND, and site.dnshandler leaves the names to Dawn's own name server";
        let hint = "give this machine a BIND with `chtab key=dnshandler site.value=ddns`";
        return Err(CommandError::conflict(text).hint(hint).into());
    }
    if ctx.boot.name_servers().is_empty() {
        let warning = Warning::new("the name server does not run");
        out.warning(warning.hint("the log of the daemon says why (docs/names.md)."))?;
    }
    Ok(())
}

/// A host with its address and aliases.
#[derive(Debug, serde::Serialize)]
struct Named {
    node: String,
    name: String,
    ip: IpAddr,
    aliases: Vec<String>,
}

impl Report for Named {
    fn print(&self, lines: &mut Lines<'_, '_>) -> Done {
        let aliases: String = self.aliases.iter().map(|alias| format!(" {alias}")).collect();
        lines.line(format!("{}: {} {}{aliases}", self.node, self.name, self.ip))
    }
}

/// How many names there are.
#[derive(Debug, serde::Serialize)]
struct Summary {
    hosts: usize,
    aliases: usize,
    zones: usize,
    left_out: usize,
}

impl Report for Summary {
    fn print(&self, lines: &mut Lines<'_, '_>) -> Done {
        let count = |number: usize, one: &str, several: &str| match number {
            1 => format!("1 {one}"),
            number => format!("{number} {several}"),
        };
        lines.line(format!(
            "{} and {} in {}; {} left out",
            count(self.hosts, "host", "hosts"),
            count(self.aliases, "alias", "aliases"),
            count(self.zones, "zone", "zones"),
            self.left_out
        ))
    }
}

/// What the tables say of names.
struct Found {
    hosts: Vec<Named>,
    aliases: usize,
    zones: usize,
    left_out: Vec<(String, Why)>,
    /// Names and addresses of several nodes.
    shared: Vec<String>,
}

impl Found {
    fn read(snapshot: &Snapshot, host: Host<'_>, frame: &Frame, nodes: Option<&[String]>) -> Self {
        let mut found = Self {
            hosts: Vec::new(),
            aliases: 0,
            zones: frame.zones.len(),
            left_out: Vec::new(),
            shared: Vec::new(),
        };
        let mut by_name: BTreeMap<DomainName, usize> = BTreeMap::new();
        let mut by_ip: BTreeMap<IpAddr, usize> = BTreeMap::new();
        records::walk(snapshot, host, frame, nodes, &mut |item| match item {
            Item::Address { node, name, ip } => {
                let at = found.hosts.len();
                let before = *by_name.entry(name.clone()).or_insert(at);
                if let Some(other) = found.hosts.get(before).filter(|other| other.node != *node) {
                    found.shared.push(format!("{node} and {} both have the name {name}", other.node));
                }
                let before = *by_ip.entry(ip).or_insert(at);
                if let Some(other) = found.hosts.get(before).filter(|other| other.node != *node) {
                    found.shared.push(format!("{node} and {} both have the address {ip}", other.node));
                }
                let (node, name) = (node.to_string(), name.to_string());
                found.hosts.push(Named { node, name, ip, aliases: Vec::new() });
            }
            Item::Alias { node, name, host } => {
                if by_name.contains_key(&name) {
                    found.left_out.push((node.to_string(), Why::Taken(name)));
                } else if let Some(named) = by_name.get(&host).and_then(|at| found.hosts.get_mut(*at)) {
                    found.aliases += 1;
                    named.aliases.push(name.to_string());
                }
            }
            Item::LeftOut { name, why } => found.left_out.push((name, why)),
        });
        found
    }

    fn report(&self, each: bool, out: &mut Out<'_>) -> Done {
        for (name, why) in &self.left_out {
            out.warning(match why {
                Why::NoNetwork(_) | Why::External(..) => format!(
                    "Ignoring host {name}, it does not belong to any nets defined in networks table or the net it belongs to \
                     is configured to use an external nameserver: {why}."
                ),
                _ => format!("Ignoring host {name}: {why}."),
            })?;
        }
        self.shared.iter().try_for_each(|text| out.warning(format!("{text}.")))?;
        if each {
            return self.hosts.iter().try_for_each(|host| out.report(host));
        }
        let (hosts, left_out) = (self.hosts.len(), self.left_out.len());
        out.report(&Summary { hosts, aliases: self.aliases, zones: self.zones, left_out })
    }
}

/// A file to write.
struct File {
    path: PathBuf,
    text: String,
    mode: u32,
}

/// BIND's files for one call.
struct Bind<'a> {
    args: &'a Args,
    ctx: &'a Ctx<'a>,
    host: Host<'a>,
    frame: &'a Frame,
}

impl Bind<'_> {
    fn write(&self, out: &mut Out<'_>) -> Done {
        self.ctx.require_root("write the files of BIND")?;
        let snapshot = &self.ctx.snapshot;
        let places = Places::read(snapshot)?;
        let key = Key::read(snapshot)?;
        let old = look(&places.conf, |path| std::fs::read_to_string(path))?.unwrap_or_default();
        if !old.is_empty() && !old.starts_with(bind::MARK.trim_end()) && !self.args.new {
            let conf = places.conf.display();
            let error =
                CommandError::conflict(format!("{conf} was not written by makedns and is left as it is"));
            let hint = format!(
                "`makedns -n` replaces it and keeps the old one as {conf}.xcatbak; put statements of your own \
                 into a file that site.namedincludes names."
            );
            return Err(error.hint(hint).into());
        }
        let secret = self.secret(&key, out)?;
        let files = self.files(&places, &key, &secret, out)?;
        let changed: Vec<&File> = files
            .iter()
            .filter(|file| std::fs::read_to_string(&file.path).ok().as_deref() != Some(file.text.as_str()))
            .collect();
        if self.args.dry_run {
            return match changed.as_slice() {
                [] => out.heading(NOTHING),
                files => files
                    .iter()
                    .try_for_each(|file| out.report(&FileDifference::of(written(&file.path), &file.path))),
            };
        }
        if changed.is_empty() {
            return Ok(());
        }
        out.heading("Updating zones.")?;
        // named writes its records into the zone files when it stops, so it stops before they are written.
        let unit = running(&UNITS);
        if let Some(unit) = unit {
            systemctl("stop", unit);
        }
        for file in &changed {
            put(file)?;
            out.report(&Deed::new("wrote", "file", file.path.display().to_string()))?;
        }
        out.heading("Completed updating zones.")?;
        match unit {
            Some(unit) => {
                out.heading(format!("Restarting {unit}"))?;
                if !systemctl("start", unit) {
                    return Err(Stop::unavailable("failed to start named."));
                }
                out.report(
                    &Deed::new("restarted", "service", unit).line(format!("Restarting {unit} complete")),
                )
            }
            None => {
                let warning = Warning::new("BIND does not run as a service of systemd here");
                out.warning(warning.hint("start it, or start it again."))
            }
        }
    }

    /// The secret of the key: in `passwd`, made if it is missing.
    fn secret(&self, key: &Key, out: &mut Out<'_>) -> Result<String, Stop> {
        let (of, username) = (col::passwd::KEY, col::passwd::USERNAME);
        let password = col::passwd::PASSWORD;
        let row = self.ctx.snapshot.find_row(&[(of, "omapi"), (username, key.name.as_str())]);
        if let Some(secret) = row.and_then(|row| row.get(password).cloned()) {
            return match bind::is_secret(&secret) {
                true => Ok(secret.to_string()),
                false => Err(Stop::conflict(format!(
                    "the password of passwd key=omapi, username={} is not a secret in base64",
                    key.name
                ))),
            };
        }
        let secret = new_secret()?;
        let Some(table) = schema().find("passwd") else { return Err(Stop::internal("no table passwd")) };
        let keys = vec![(of, "omapi".to_owned()), (username, key.name.clone())];
        let values = vec![(password, secret.clone())];
        transact(self.ctx, out, self.args.dry_run, |_, _| {
            let mut edits = Edits::new();
            edits.set(table, keys, values);
            Ok(edits)
        })?;
        Ok(secret)
    }

    fn files(&self, places: &Places, key: &Key, secret: &str, out: &mut Out<'_>) -> Result<Vec<File>, Stop> {
        let snapshot = &self.ctx.snapshot;
        let role = if self.args.slave { Role::Secondary(primary()?) } else { Role::Primary };
        let settings = Settings {
            places,
            key,
            secret,
            forwarders: records::forwarders(snapshot, self.host)
                .iter()
                .map(std::net::SocketAddr::ip)
                .collect(),
            secondaries: records::secondaries(snapshot),
            networks: self.frame.nets.iter().map(|net| net.prefix).collect(),
            listen: self.listen(),
            role,
        };
        let text = bind::named_conf(snapshot, self.frame, &settings)?;
        let mut files = vec![File { path: places.conf.clone(), text, mode: SECRET_MODE }];
        if let Some(data) = self.ctx.data {
            files.push(File { path: data.join("ddns.key"), text: bind::key_file(key, secret), mode: 0o600 });
        }
        if role == Role::Primary {
            let zones = records::zones(snapshot, self.host, self.frame, &mut |_| {});
            files.extend(self.zone_files(places, &zones, out)?);
        }
        Ok(files)
    }

    /// Addresses for `listen-on`; none without `site.dnsinterfaces`.
    fn listen(&self) -> Vec<IpAddr> {
        let snapshot = &self.ctx.snapshot;
        if snapshot.site("dnsinterfaces").is_none_or(|text| text.trim().is_empty()) {
            return Vec::new();
        }
        let ipv6 = listen::ipv6_of_this_machine();
        let addresses = listen::addresses(snapshot, self.host, self.frame, &ipv6, records::DNS_PORT);
        addresses.iter().map(std::net::SocketAddr::ip).collect()
    }

    fn zone_files(&self, places: &Places, zones: &Zones, out: &mut Out<'_>) -> Result<Vec<File>, Stop> {
        let today = jiff::Zoned::now().strftime("%Y%m%d").to_string().parse().unwrap_or(0);
        let (mut files, mut refused) = (Vec::new(), BTreeSet::new());
        for (number, zone) in (0_u32..).zip(zones.list()) {
            let path = places.directory.join(bind::file_name(&zone.apex)?);
            let before = std::fs::read_to_string(&path).ok();
            let serial = before.as_deref().and_then(bind::serial_of);
            let write = |serial| bind::zone_file(zones, number, serial);
            let same = write(serial.unwrap_or(0)).filter(|(text, _)| Some(text) == before.as_ref());
            let Some((text, odd)) = same.or_else(|| write(bind::next_serial(today, serial))) else {
                continue;
            };
            refused.extend(odd);
            files.push(File { path, text, mode: ZONE_MODE });
        }
        for name in refused.iter().take(REFUSED_SHOWN_MAX) {
            out.warning(format!("{name} is left out: BIND takes no host with '_' in its name"))?;
        }
        if refused.len() > REFUSED_SHOWN_MAX {
            out.warning(format!("{} more names with '_' are left out", refused.len() - REFUSED_SHOWN_MAX))?;
        }
        Ok(files)
    }
}

/// Writes a file with the group of named, the old named.conf kept next to it; the journal of a zone goes, as
/// it is about the file before. The file has its group before it has its name: named may write to the
/// directory, and could put a link there.
fn put(file: &File) -> Done {
    let failed = |error: std::io::Error| Stop::unavailable(format!("{}: {error}", file.path.display()));
    if file.mode == SECRET_MODE {
        keep_old(&file.path, SECRET_MODE).map_err(failed)?;
    }
    let group = Some(file.mode).filter(|mode| *mode != 0o600).and_then(|_| group_of_named());
    let fill = |new: &mut std::fs::File| {
        new.write_all(file.text.as_bytes())?;
        group.map_or(Ok(()), |group| fchown(new, None, Some(group)))
    };
    whole::write_with(&file.path, file.mode, fill).map_err(failed)?;
    match std::fs::remove_file(format!("{}.jnl", file.path.display())) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed(error)),
        _ => Ok(()),
    }
}

fn group_of_named() -> Option<u32> {
    let text = std::fs::read_to_string("/etc/group").ok()?;
    let mut groups = text.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let group = groups.find(|words| words.first().is_some_and(|name| GROUPS.contains(name)))?;
    group.get(2)?.parse().ok()
}

/// The first name server of /etc/resolv.conf.
fn primary() -> Result<IpAddr, Stop> {
    let first = name_servers().into_iter().next();
    first.ok_or_else(|| Stop::conflict(format!("{RESOLVER} names no name server to get the zones from")))
}

/// Random letters, in base64, as xCAT makes them.
fn new_secret() -> Result<String, Stop> {
    let mut bytes = [0_u8; KEY_LETTERS];
    getrandom::fill(&mut bytes).map_err(|error| Stop::internal(format!("no random numbers: {error}")))?;
    let letters: Vec<u8> = bytes.iter().map(|byte| b'a' + byte % 26).collect();
    Ok(base64(&letters))
}

/// RFC 4648 §4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit =
        |number: u32| DIGITS.get(usize::try_from(number & 63).unwrap_or(0)).map_or('=', |d| char::from(*d));
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let at = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let number = at(0) << 16 | at(1) << 8 | at(2);
        for place in 0..4 {
            text.push(if place <= chunk.len() { digit(number >> (18 - 6 * place)) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
#[path = "bind_tests.rs"]
mod tests;
