//! `mysqlsetup`: the tables into a MySQL or MariaDB database.

use crate::dbsetup::{self, Place, Server};
use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::output::{Done, Out};
use dawn_cluster::StoreAddress;

/// Move the tables of the running daemon into a MySQL or MariaDB database, or back
///
/// Makes database and user on a server that runs, copies every table and switches the daemon to it; no change
/// is lost and no node waits. Pipe in two lines, the password of the new user and that of the admin account
/// (may be empty), or set XCATMYSQLADMIN_PW and XCATMYSQLROOT_PW.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    /// User of the tables
    #[arg(long, require_equals = true, default_value = "xcatadmin")]
    user: String,
    /// Account that may create users and databases
    #[arg(long, require_equals = true, default_value = "root")]
    admin: String,
    /// Host from which the user may come; can be repeated [default: localhost, 127.0.0.1 and site.master]
    #[arg(long = "from", require_equals = true, value_name = "HOST")]
    from_hosts: Vec<String>,
    #[command(flatten)]
    other: Elsewhere,
}

/// Options of xCAT that are done otherwise.
#[derive(Debug, clap::Args)]
#[allow(clippy::struct_excessive_bools)]
struct Elsewhere {
    #[arg(short = 'f', hide = true)]
    hosts_file: Option<String>,
    #[arg(short = 'u', hide = true)]
    update: bool,
    #[arg(short = 'o', hide = true)]
    odbc: bool,
    #[arg(short = 'L', hide = true)]
    trust_functions: bool,
}

impl Elsewhere {
    fn refuse(&self) -> Done {
        dbsetup::refuse(&[
            (
                self.hosts_file.is_some() || self.update,
                "-f and -u are not supported: `mysqlsetup -i --from=HOST` names the hosts of the user",
            ),
            (self.odbc, "-o: Dawn needs no ODBC files; make them with the tools of the distribution"),
            (
                self.trust_functions,
                "-L: Dawn stores no functions; log_bin_trust_function_creators is the server's",
            ),
        ])
    }
}

impl Command for Args {
    const NAME: &'static str = "mysqlsetup";
    const KIND: Kind = Kind::Words;
    const READS_STDIN: bool = true;
    const WRITES: bool = true;

    const INPUT_FROM: &'static [&'static str] = &["XCATMYSQLADMIN_PW", "XCATMYSQLROOT_PW"];

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        self.other.refuse()?;
        let mut from_hosts = self.from_hosts;
        if from_hosts.is_empty() {
            from_hosts = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
            from_hosts.extend(ctx.snapshot.site("master").map(|master| master.to_string()));
        }
        let server = Server {
            address: StoreAddress::Mysql,
            user: self.user,
            admin: (self.admin, ""),
            from_hosts,
            variable: "XCATMYSQLADMIN_PW",
            done: "xCAT is now running on the MySQL database.",
            only_made: None,
        };
        dbsetup::run(&self.place, server, ctx, out)
    }
}
