//! `pgsqlsetup`: the tables into a PostgreSQL database.

use crate::dbsetup::{self, Place, Server};
use crate::frame::{Command, Ctx, Kind};
use crate::output::{Done, Out};
use dawn_cluster::StoreAddress;

/// Move the tables of the running daemon into a PostgreSQL database, or back
///
/// Makes user and database on a server that runs, copies every table and goes on there; no change is lost and no node
/// waits. Pipe in two lines: the password of the new user, and that of the admin account (may be empty). The
/// server must let the user in (pg_hba.conf).
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    /// User of the tables
    #[arg(long, require_equals = true, default_value = "xcatadm")]
    user: String,
    /// Account that may make users and databases
    #[arg(long, require_equals = true, default_value = "postgres")]
    admin: String,
}

impl Command for Args {
    const NAME: &'static str = "pgsqlsetup";
    const KIND: Kind = Kind::Words;
    const READS_STDIN: bool = true;
    const WRITES: bool = true;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        let server = Server {
            address: StoreAddress::Postgres,
            user: self.user,
            admin: (self.admin, "postgres"),
            from_hosts: Vec::new(),
            done: "xCAT is running on the PostgreSQL database.",
        };
        dbsetup::run(&self.place, server, ctx, out)
    }
}
