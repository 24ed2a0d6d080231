//! Names and addresses that a caller limited to some nodes gives to them: none that anything else has.
//!
//! What the tables use is asked of the model ([`Snapshot::taken`]). What this machine uses is read here,
//! and only if a change brings a name or address at all: its name, its addresses, its database server, and
//! the lines of `/etc/hosts` that are not those of the caller's nodes. A file that cannot be read refuses the
//! change.

use crate::address;
use crate::command::Ctx;
use crate::hosts_record::{self, Record};
use crate::output::{Done, Stop};
use dawn_cluster::{Claim, MachineFacts, RowChange, Snapshot, StoreAddress};
use std::collections::BTreeSet;
use std::fmt::Display;
use std::path::Path;

/// Refuses a change that gives a node of the caller a name or address that something else has.
pub(crate) fn keep_to_free(
    ctx: &Ctx<'_>,
    (snapshot, next): (&Snapshot, &Snapshot),
    rows: &[RowChange],
    covers: &dyn Fn(&str) -> bool,
) -> Done {
    let claims = snapshot.new_claims(next, rows);
    if claims.is_empty() {
        return Ok(());
    }
    let facts = facts(ctx, snapshot, covers)?;
    let wanted: BTreeSet<Claim> = claims.iter().map(|new| new.claim.clone()).collect();
    let Some((claim, why)) = snapshot.taken(&wanted, &facts, covers) else { return Ok(()) };
    let node = claims.into_iter().find(|new| new.claim == claim).map(|new| new.node).unwrap_or_default();
    let text = match &claim {
        Claim::Address(address) => format!("{node} may not have the address {address}: {why}"),
        Claim::Name(name) => format!("{node} may not be called {name}: {why}"),
    };
    Err(Stop::refused(format!("Permission denied: {text}")))
}

fn facts(ctx: &Ctx<'_>, snapshot: &Snapshot, covers: &dyn Fn(&str) -> bool) -> Result<MachineFacts, Stop> {
    let failed = |what: &str, error: &dyn Display| Stop::unavailable(format!("{what}: {error}"));
    let own = address::all_of_this_machine();
    let own = own.map_err(|error| failed("the addresses of this machine cannot be read", &error))?;
    let mut facts = MachineFacts::default();
    facts.taken.extend(Claim::read(ctx.host));
    facts.taken.extend(ctx.model.address().iter().flat_map(database_servers));
    facts.taken.extend(own.into_iter().map(|address| Claim::Address(address.to_canonical())));
    let text =
        hosts_record::text(Path::new(ctx.hosts_file)).map_err(|error| failed(ctx.hosts_file, &error))?;
    let record = Record::read(ctx.model.directory()).map_err(|error| failed(hosts_record::FILE, &error))?;
    let own_lines = record.lines(covers);
    for line in text.lines().filter(|line| !own_lines.contains(line)) {
        let claims: Vec<Claim> = hosts_record::words(line).filter_map(Claim::read).collect();
        let is_own = claims.iter().any(|claim| match claim {
            Claim::Name(name) => snapshot.has_node(name) && covers(name),
            Claim::Address(_) => false,
        });
        if !is_own {
            facts.taken.extend(claims);
        }
    }
    Ok(facts)
}

/// The machines that keep the tables.
fn database_servers(address: &StoreAddress) -> Vec<Claim> {
    let hosts = address.server().map(|server| server.hosts.as_slice()).unwrap_or_default();
    hosts.iter().filter_map(|host| Claim::read(&host.name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_of_the_tables() {
        for (cfgloc, expected) in [
            ("Pg:dbname=xcatdb;host=10.0.0.9|xcatadm|pw", &["10.0.0.9"][..]),
            ("mysql:dbname=xcatdb;host=DB1.example,10.0.0.8|xcatadm|pw", &["db1", "10.0.0.8"]),
            ("SQLite:/etc/xcat", &[]),
        ] {
            let address = StoreAddress::parse(cfgloc).unwrap();
            let expected: Vec<Claim> = expected.iter().filter_map(|host| Claim::read(host)).collect();
            assert_eq!(database_servers(&address), expected, "{cfgloc}");
        }
    }
}
