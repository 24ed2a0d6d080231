//! Moving the tables of a running daemon to a database server and back, for `pgsqlsetup` and `mysqlsetup`.
//!
//! Passwords come as piped lines, or by the environment of the client, never as words: words appear in
//! process lists and logs. While the rows are copied writers wait, readers do not; a failure at any point
//! leaves the daemon where it was.

use dawn_bootd::command::{Ctx, number};
use dawn_bootd::output::{Deed, Done, Out, Stop};
use dawn_cluster::{
    DatabaseHost, ModelError, Secret, ServerAddress, StoreAddress, first_table_with_rows, set_up_server,
};

/// What both commands understand. Values follow `=`, because a separate word would stop the client from
/// reading its input.
#[derive(Debug, clap::Args)]
pub struct Place {
    /// Set up and move the tables: always done, accepted for scripts
    #[arg(short = 'i', long)]
    init: bool,
    /// Server: a name, an address, or the path of its socket (PostgreSQL: of the socket's directory)
    #[arg(long, require_equals = true, default_value = "127.0.0.1")]
    host: String,
    /// TCP port [default: the usual one]
    #[arg(long, require_equals = true, value_parser = number::within::<u16>(number::PORTS))]
    port: Option<u16>,
    /// Database
    #[arg(long, require_equals = true, default_value = "xcatdb")]
    dbname: String,
    /// Create no user and no database; only move the tables
    #[arg(long)]
    no_create: bool,
    /// Replace rows that the database already has
    #[arg(long)]
    replace: bool,
    /// Move the tables back to SQLite in the data directory
    #[arg(long, conflicts_with_all = ["no_create", "replace"])]
    back: bool,
    /// Show where the tables would go without changing anything or asking the server
    #[arg(long)]
    dry_run: bool,
}

/// The names that differ between the servers.
pub struct Server {
    /// Makes an address of the kind.
    pub address: fn(ServerAddress) -> StoreAddress,
    /// Our user.
    pub user: String,
    /// The account that may make users and databases, and the database it connects to.
    pub admin: (String, &'static str),
    /// From where our user may come (MySQL).
    pub from_hosts: Vec<String>,
    /// The variable with the password of the user.
    pub variable: &'static str,
    /// The last line of a success.
    pub done: &'static str,
    /// Only user and database are made, and this is the last line.
    pub only_made: Option<&'static str>,
}

/// Refuses the first of xCAT's options that was given and is done otherwise here.
pub fn refuse(options: &[(bool, &str)]) -> Done {
    match options.iter().find(|(given, _)| *given) {
        Some((_, text)) => Err(Stop::refused(*text)),
        None => Ok(()),
    }
}

/// Carries a set-up out.
pub fn run(place: &Place, server: Server, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
    ctx.require_root("take the tables with all their secrets elsewhere")?;
    let who = ctx.change_head().who;
    if place.dry_run {
        return show(place, &server, ctx, out);
    }
    if place.back {
        let directory =
            ctx.model.directory().ok_or_else(|| Stop::conflict("this daemon has no data directory"))?;
        let here = StoreAddress::Sqlite(directory.to_owned());
        if ctx.model.address().as_ref() == Some(&here) {
            return Err(Stop::conflict("the tables are in the SQLite database already; nothing was changed"));
        }
        ctx.model.move_to(&here, &who, true)?;
        let moved = Deed::new("moved", "tables", "SQLite");
        return out.report(&moved.line("The tables are in the SQLite database again."));
    }
    let mut passwords = ctx.call.request.stdin.as_deref().unwrap_or_default().lines();
    let password = passwords.next().filter(|line| !line.is_empty());
    let password = password.ok_or_else(|| {
        Stop::usage(format!("no password: pipe it in as the first line, or set {}", server.variable))
    })?;
    let at = |user: &str, dbname: &str, password: &str| {
        let host = DatabaseHost { name: place.host.clone(), port: place.port };
        (server.address)(ServerAddress::on(host, dbname, user, Secret::new(password)))
    };
    let wanted = at(&server.user, &place.dbname, password);
    refuse_own(ctx.model.address().as_ref(), &wanted)?;
    if !place.no_create {
        let (user, dbname) = &server.admin;
        let admin = at(user, dbname, passwords.next().unwrap_or_default());
        // Before anything is made: setting the password of a user whom another daemon uses would cut that one
        // off.
        if !place.replace
            && let Some(table) = first_table_with_rows(&admin, &place.dbname).map_err(ModelError::from)?
        {
            let dbname = &place.dbname;
            return Err(Stop::conflict(format!(
                "the database {dbname} is not empty: table {table} has rows; nothing was changed (--replace overwrites \
                 them; to share them with another daemon, write its cfgloc line into this data directory)"
            )));
        }
        set_up_server(&admin, &wanted, &server.from_hosts).map_err(ModelError::from)?;
        let made = Deed::new("made", "database", place.dbname.as_str()).with("user", server.user.as_str());
        let line = format!("The database {} and its user {} are there.", place.dbname, server.user);
        out.report(&made.line(server.only_made.map_or(line, str::to_owned)))?;
        if server.only_made.is_some() {
            return Ok(());
        }
    }
    ctx.model.move_to(&wanted, &who, place.replace)?;
    out.report(&Deed::new("moved", "tables", place.dbname.as_str()).line(server.done))
}

/// Refuses the database that is in use, and another password for the user by whom it is used.
fn refuse_own(current: Option<&StoreAddress>, wanted: &StoreAddress) -> Done {
    let (Some(here), Some(there)) = (current.and_then(StoreAddress::server), wanted.server()) else {
        return Ok(());
    };
    let same_user = here.user == there.user && here.hosts.iter().any(|host| there.hosts.contains(host));
    if !same_user {
        return Ok(());
    }
    if here.dbname == there.dbname {
        return Err(Stop::conflict("the tables are in this database already; nothing was changed"));
    }
    if here.password != there.password {
        let text = "the user is the one of the database in use, with another password; give that one or another --user";
        return Err(Stop::usage(text));
    }
    Ok(())
}

/// The address that would be written, and the rows that would go there.
fn show(place: &Place, server: &Server, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
    let to = match (place.back, ctx.model.directory()) {
        (true, Some(directory)) => StoreAddress::Sqlite(directory.to_owned()),
        (true, None) => return Err(Stop::conflict("this daemon has no data directory")),
        (false, _) => {
            let host = DatabaseHost { name: place.host.clone(), port: place.port };
            (server.address)(ServerAddress::on(host, &place.dbname, &server.user, Secret::new("")))
        }
    };
    if !place.back && !place.no_create {
        let would = |kind, name: &str| Deed::new("would make", kind, name).with("host", place.host.as_str());
        let (user, database) = (server.user.as_str(), place.dbname.as_str());
        out.report(&would("user", user).line(format!("+ user {user} of {}", place.host)))?;
        out.report(&would("database", database).line(format!("+ database {database} of {}", place.host)))?;
    }
    let would = Deed::new("would write", "cfgloc", to.to_string());
    out.report(&match place.port.filter(|_| !place.back) {
        Some(port) => would.with("port", port).line(format!("~ cfgloc {to}, port {port}")),
        None => would.line(format!("~ cfgloc {to}")),
    })?;
    if server.only_made.is_some() {
        return Ok(());
    }
    for table in dawn_cluster::schema().tables_by_name() {
        let rows = ctx.snapshot.row_count(table.id);
        if rows > 0 {
            let would = Deed::new("would copy", "table", table.name).with("rows", rows);
            let unit = if rows == 1 { "row" } else { "rows" };
            out.report(&would.line(format!("+ {}: {rows} {unit}", table.name)))?;
        }
    }
    Ok(())
}
