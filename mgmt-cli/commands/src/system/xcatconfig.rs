//! `xcatconfig`: default rows of the tables.

use crate::edits::{Edits, FileDifference, answers, transact, transact_part};
use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::output::{CommandError, Deed, Done, Out, Stop, Warning};
use dawn_cluster::{Edit, Installation, Snapshot, col};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Component, Path};

/// Pairs of old certificate directories that are kept, one less.
const OLD_CERTIFICATES_MAX: u32 = 100;

/// Add the default rows that are missing; rows that exist are kept, except with -f
///
/// `dawn init` does this too, and makes certificates and directories.
#[derive(Debug, clap::Args)]
#[allow(clippy::struct_excessive_bools)]
pub struct Args {
    /// Default rows of site, policy and postscripts
    #[arg(short = 'i')]
    initial: bool,
    /// The same
    #[arg(short = 'u')]
    update: bool,
    /// The same, and reset other values of site to their defaults (not domain, master and the like)
    #[arg(short = 'd')]
    database: bool,
    /// Reset site, policy and postscripts to their defaults, and make the certificates again
    ///
    /// Domain, master and directories stay unless they are given. The old certificates are kept next to the
    /// new ones; those of all users end with the restart of the daemon.
    #[arg(short = 'f', long)]
    force: bool,
    /// Define the management node
    #[arg(short = 'm')]
    management_node: bool,
    #[arg(short = 'k', hide = true)]
    ssh_keys: bool,
    #[arg(short = 's', hide = true)]
    host_keys: bool,
    /// Make the certificate authority and the server certificate again, for this machine's present name
    #[arg(short = 'c')]
    credentials: bool,
    #[arg(short = 't', hide = true)]
    tunables: bool,
    /// Directory of images and scripts (site.installdir); made if it is missing
    #[arg(long, value_name = "DIR")]
    installdir: Option<String>,
    /// Directory of boot loaders (site.tftpdir); made if it is missing, and the loaders are copied there
    #[arg(long, value_name = "DIR")]
    tftpdir: Option<String>,
    /// Show what would change without changing anything
    #[arg(long)]
    dry_run: bool,
}

impl Command for Args {
    const NAME: &'static str = "xcatconfig";
    const KIND: Kind = Kind::Words;
    const WRITES: bool = true;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        if self.ssh_keys || self.host_keys || self.tunables {
            return Err(Stop::refused("-k, -s and -t are not supported: dawn init makes keys"));
        }
        let rows = self.initial || self.update || self.database || self.force;
        let directories = [("installdir", &self.installdir), ("tftpdir", &self.tftpdir)];
        let directories: Vec<(&'static str, &str)> =
            directories.iter().filter_map(|(key, path)| Some((*key, path.as_deref()?))).collect();
        if let Some((key, path)) = directories.iter().find(|(_, path)| !is_plain(path)) {
            return Err(Stop::usage(format!("--{key}: '{path}' is not an absolute path without '..'")));
        }
        let directories = Directories(&directories);
        let certificates = self.force || self.credentials;
        if !rows && !certificates && !self.management_node && directories.0.is_empty() {
            let text = "No parameters were supplied on the xcatconfig command";
            return out.plain_error(CommandError::usage(text).hint("`xcatconfig -h` lists the parameters."));
        }
        if certificates || !directories.0.is_empty() {
            ctx.require_root("make certificates and directories")?;
        }
        if self.force {
            let text = "-f sets site, policy and postscripts to their defaults";
            out.warning(Warning::new(text).hint("`dawn undo` brings the rows back."))?;
        }
        if rows || self.management_node || !directories.0.is_empty() {
            let edits = |snapshot: &Snapshot, _: &mut Out<'_>| -> Result<Edits, Stop> {
                let mut edits = Edits::new();
                if rows {
                    let present = if self.force { &Snapshot::empty() } else { snapshot };
                    edits.extend(present.default_rows(&installation(snapshot, ctx.host))?);
                }
                if self.database {
                    edits.extend(site_defaults()?);
                }
                for (key, directory) in directories.0 {
                    edits.push(Edit::set_site(key, directory)?);
                }
                if self.management_node {
                    edits.extend(snapshot.management_node_rows(ctx.host)?);
                }
                Ok(edits)
            };
            if certificates {
                transact_part(ctx, out, self.dry_run, edits)?;
            } else {
                transact(ctx, out, self.dry_run, edits)?;
            }
        }
        if self.database && !self.dry_run {
            out.report(&Deed::new("updated", "table", "site").line("Updated cluster site definition"))?;
        }
        if !directories.0.is_empty() {
            directories.make(out, self.dry_run)?;
        }
        if certificates {
            certificates_again(ctx, out, self.dry_run)?;
        }
        if self.management_node && !self.dry_run {
            let defined = Deed::new("defined", "management node", ctx.host);
            out.report(&defined.line("Management Node defined in the database."))?;
        }
        Ok(())
    }
}

/// The rows of `site` that every cluster starts with on any machine.
fn site_defaults() -> Result<Vec<Edit>, Stop> {
    let key = col::site::KEY;
    let mut all = Snapshot::empty().default_rows(&Installation::default())?;
    all.retain(|edit| matches!(edit, Edit::Set { keys, .. } if keys.iter().any(|(col, _)| *col == key)));
    Ok(all)
}

fn is_plain(path: &str) -> bool {
    let path = Path::new(path);
    path.is_absolute() && path.components().all(|part| !matches!(part, Component::ParentDir))
}

/// What a change of the directories leaves to do.
const MOVE_FILES: &str =
    "Images and files in the old directories are not served any more: move them to the new ones.";

/// Directories to be used from the next start on: the key of `site` and the path.
#[derive(Clone, Copy)]
struct Directories<'a>(&'a [(&'static str, &'a str)]);

impl Directories<'_> {
    /// Made if missing, with the boot loaders in the TFTP directory.
    fn make(&self, out: &mut Out<'_>, dry_run: bool) -> Done {
        for (key, path) in self.0 {
            let path = Path::new(path);
            answers(path)?;
            if dry_run {
                if !path.is_dir() {
                    out.report(&FileDifference::directory(path))?;
                }
                continue;
            }
            let failed =
                |why: std::io::Error| Stop::unavailable(format!("cannot make {}: {why}", path.display()));
            std::fs::DirBuilder::new().recursive(true).mode(0o755).create(path).map_err(failed)?;
            if *key == "tftpdir" {
                dawn_bootd::loaders::install(path).map_err(|error| {
                    Stop::unavailable(format!("cannot copy boot loaders to {}: {error}", path.display()))
                })?;
            }
        }
        if dry_run {
            out.warning(MOVE_FILES)
        } else {
            out.notice("The new directories are served after a restart of the daemon.")?;
            out.warning(MOVE_FILES)
        }
    }
}

/// Puts the authority and the server certificate aside, and makes others for the present name of this
/// machine.
fn certificates_again(ctx: &Ctx<'_>, out: &mut Out<'_>, dry_run: bool) -> Done {
    let Some(data) = ctx.data else { return Err(Stop::conflict("the daemon has no data directory")) };
    let (ca, cert) = (data.join("ca"), data.join("cert"));
    let free =
        |number: &u32| ["ca", "cert"].iter().all(|name| !data.join(format!("{name}.{number}")).exists());
    let number = (1..OLD_CERTIFICATES_MAX).find(free).ok_or_else(|| {
        Stop::conflict(format!("remove old certificates (ca.1, cert.1 …) in {} first", data.display()))
    })?;
    if dry_run {
        let would = Deed::new("would replace", "certificates", data.display().to_string());
        let line = format!("~ certificates in {} and {}", ca.display(), cert.display());
        out.report(&would.line(line))?;
        let hint =
            "`dawn init` makes your own certificate again, `dawn init --client USER` that of another user.";
        return out.warning(Warning::new("All users lose their certificates").hint(hint));
    }
    let any = ca.exists() || cert.exists();
    for (from, name) in [(&ca, "ca"), (&cert, "cert")] {
        let to = data.join(format!("{name}.{number}"));
        match std::fs::rename(from, &to) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Stop::unavailable(format!(
                    "cannot rename {} to {}: {error}",
                    from.display(),
                    to.display()
                )));
            }
            _ => {}
        }
    }
    let master = ctx.snapshot.site("master").and_then(|text| text.parse().ok());
    dawn_bootd::certificates::server_certificate(data, &dawn_bootd::address::host_name(), master).map_err(
        |error| {
            Stop::unavailable(format!("{error:#}; the old certificates are in ca.{number} and cert.{number}"))
        },
    )?;
    if any {
        let kept = Deed::new("kept", "certificates", format!("{}/ca.{number}", data.display()));
        out.report(&kept.line(format!(
            "The old certificates are in {0}/ca.{number} and {0}/cert.{number}.",
            data.display()
        )))?;
    }
    out.report(&Deed::new("made", "certificates", data.display().to_string()))?;
    let hint = format!(
        "Restart it; then `dawn init --data {0}` makes your own certificate again, and `dawn init --data {0} \
         --client USER` that of another user.",
        data.display()
    );
    out.warning(Warning::new("The new certificates are used after a restart of the daemon").hint(hint))
}

/// What the tables say about this machine.
fn installation(snapshot: &Snapshot, host: &str) -> Installation {
    let site = |key: &str| snapshot.site(key).map(|text| text.to_string()).unwrap_or_default();
    Installation {
        master: site("master"),
        domain: site("domain"),
        forwarders: site("forwarders"),
        timezone: site("timezone"),
        installdir: site("installdir"),
        tftpdir: site("tftpdir"),
        server_name: host.to_owned(),
    }
}
