//! `xcatconfig`: default rows of the tables.

use crate::edits::{Edits, transact};
use crate::frame::{Command, Ctx, Kind};
use crate::output::{Done, Out, Stop};
use dawn_cluster::{Col, Edit, Installation, Snapshot};

/// Put missing default rows into the tables; rows that exist stay as they are
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
    /// The same, and defaults of site in place of other values (not of domain, master and the like)
    #[arg(short = 'd')]
    database: bool,
    /// The same
    #[arg(short = 'f', long)]
    force: bool,
    /// Define the management node
    #[arg(short = 'm')]
    management_node: bool,
    #[arg(short = 'k', hide = true)]
    ssh_keys: bool,
    #[arg(short = 's', hide = true)]
    host_keys: bool,
    #[arg(short = 'c', hide = true)]
    credentials: bool,
    #[arg(short = 't', hide = true)]
    tunables: bool,
    #[arg(long, hide = true, value_name = "DIR")]
    installdir: Option<String>,
    #[arg(long, hide = true, value_name = "DIR")]
    tftpdir: Option<String>,
    /// Show what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
}

impl Command for Args {
    const NAME: &'static str = "xcatconfig";
    const KIND: Kind = Kind::Words;
    const WRITES: bool = true;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        if self.ssh_keys || self.host_keys || self.credentials || self.tunables {
            return Err(Stop::message(
                "-k, -s, -c and -t are not supported: dawn init makes keys and certificates",
            ));
        }
        if self.installdir.is_some() || self.tftpdir.is_some() {
            return Err(Stop::message(
                "--installdir and --tftpdir are not supported: chdef -t site installdir=DIR tftpdir=DIR",
            ));
        }
        let rows = self.initial || self.update || self.database || self.force;
        if !rows && !self.management_node {
            out.line("No parameters were supplied on the xcatconfig command. Run xcatconfig -h")?;
            return Err(Stop::Code(1));
        }
        transact(ctx, out, self.dry_run, |snapshot, _| {
            let mut edits = Edits::new();
            if rows {
                edits.extend(snapshot.default_rows(&installation(snapshot, ctx.host))?);
            }
            if self.database {
                edits.extend(site_defaults()?);
            }
            if self.management_node {
                edits.extend(snapshot.management_node_rows(ctx.host)?);
            }
            Ok(edits)
        })?;
        if self.database && !self.dry_run {
            out.line("Updated cluster site definition")?;
        }
        if self.management_node && !self.dry_run {
            out.line("Management Node defined in the database.")?;
        }
        Ok(())
    }
}

/// The rows of `site` that every cluster starts with, whatever the machine.
fn site_defaults() -> Result<Vec<Edit>, Stop> {
    let key = Col::known("site.key");
    let mut all = Snapshot::empty().default_rows(&Installation::default())?;
    all.retain(|edit| matches!(edit, Edit::Set { keys, .. } if keys.iter().any(|(col, _)| *col == key)));
    Ok(all)
}

/// What the tables say about this machine.
fn installation(snapshot: &Snapshot, host: &str) -> Installation {
    let site = |key: &str| snapshot.site(key).map(|text| text.to_string()).unwrap_or_default();
    Installation {
        master: site("master"),
        domain: site("domain"),
        timezone: site("timezone"),
        installdir: site("installdir"),
        tftpdir: site("tftpdir"),
        server_name: host.to_owned(),
        ..Installation::default()
    }
}
