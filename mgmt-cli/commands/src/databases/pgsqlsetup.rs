//! `pgsqlsetup`: the tables into a PostgreSQL database.

use crate::dbsetup::{self, Place, Server};
use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::output::{Done, Out};
use dawn_cluster::StoreAddress;

/// Move the tables of the running daemon into a PostgreSQL database, or back
///
/// Makes user and database on a running server, copies every table and switches the daemon to it; no change
/// is lost and no node waits. Pipe in two lines, the password of the new user and that of the admin account
/// (may be empty), or set XCATPGPW for the first. The server must let the user in (pg_hba.conf).
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    /// User of the tables
    #[arg(long, require_equals = true, default_value = "xcatadm")]
    user: String,
    /// Account that may create users and databases
    #[arg(long, require_equals = true, default_value = "postgres")]
    admin: String,
    /// Create the user and the database without moving the tables
    #[arg(short = 'N', conflicts_with_all = ["back", "no_create", "replace"])]
    only_make: bool,
    #[command(flatten)]
    other: Elsewhere,
}

/// Options of xCAT that are done otherwise.
#[derive(Debug, clap::Args)]
struct Elsewhere {
    #[arg(short = 'l', hide = true)]
    listen: Vec<String>,
    #[arg(short = 'a', hide = true)]
    access: Vec<String>,
    #[arg(short = 'o', hide = true)]
    odbc: bool,
    /// Accepted; without effect in xCAT, too.
    #[arg(short = 'P', hide = true)]
    _pcm: bool,
}

impl Elsewhere {
    fn refuse(&self) -> Done {
        let settings =
            "-l and -a: listen_addresses and pg_hba.conf are the server's; Dawn does not write them";
        dbsetup::refuse(&[
            (!self.listen.is_empty() || !self.access.is_empty(), settings),
            (self.odbc, "-o: Dawn needs no ODBC files; make them with the tools of the distribution"),
        ])
    }
}

impl Command for Args {
    const NAME: &'static str = "pgsqlsetup";
    const KIND: Kind = Kind::Words;
    const READS_STDIN: bool = true;
    const WRITES: bool = true;

    const INPUT_FROM: &'static [&'static str] = &["XCATPGPW"];

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        self.other.refuse()?;
        let server = Server {
            address: StoreAddress::Postgres,
            user: self.user,
            admin: (self.admin, "postgres"),
            from_hosts: Vec::new(),
            variable: "XCATPGPW",
            done: "xCAT is running on the PostgreSQL database.",
            only_made: self.only_make.then_some("xCAT PostgreSQL database is setup."),
        };
        dbsetup::run(&self.place, server, ctx, out)
    }
}
