//! The packet of a machine without a node, as a row of `discoverydata`.

use dawn_cluster::{Change, Edit, Row, Snapshot, col};
use dawn_discovery::{Machine, assign};

use super::Discovery;

/// Least age of a record of a machine without a node before it is written again.
const RECORD_AGE_MIN: jiff::SignedDuration = jiff::SignedDuration::from_mins(1);
/// Rows of `discoverydata` that machines without a node may fill.
const RECORDS_MAX: usize = 4096;

impl Discovery {
    /// The packet of a machine without a node, for `nodediscoverls`: kept, and written again while the
    /// machine waits, at most every [`RECORD_AGE_MIN`]. There are no more of them than [`RECORDS_MAX`], of
    /// which the oldest makes place, though not for one that is not sure to be the sender's own.
    pub(super) fn keep_record(&self, snapshot: &Snapshot, machine: &Machine, is_own: bool) {
        let (uuid, node) = (col::discoverydata::UUID, col::discoverydata::NODE);
        let present = snapshot.find_row(&[(uuid, &assign::key(snapshot, machine))]);
        if present.as_ref().is_some_and(|row| row.get(node).is_some() || is_fresh(row)) {
            return;
        }
        let mut without_node = snapshot.rows("discoverydata").filter(|row| row.get(node).is_none());
        let oldest =
            without_node.next().filter(|_| present.is_none() && without_node.count() + 1 >= RECORDS_MAX);
        if oldest.is_some() && !is_own {
            return;
        }
        let gone =
            oldest.and_then(|row| row.get(uuid)).map(|key| Edit::delete("discoverydata", &[("uuid", key)]));
        let stored = assign::record(snapshot, machine, "", "undef", &record_time())
            .map_err(|error| error.to_string())
            .and_then(|edits| {
                let gone = gone.transpose().map_err(|error| error.to_string())?;
                let edits = gone.into_iter().chain(edits).collect();
                let change = Change::quiet("discovery", "discovery: a packet", edits);
                self.model.apply(change).map_err(|error| error.to_string())
            });
        if let Err(error) = stored {
            tracing::warn!(error, "the packet of an unknown machine cannot be stored");
        }
    }
}

/// The local time, as `discoverydata.discoverytime` has it.
pub(super) fn record_time() -> String {
    jiff::Zoned::now().strftime(assign::TIME_FORM).to_string()
}

/// A record is younger than [`RECORD_AGE_MIN`]; one whose time cannot be read is not.
fn is_fresh(record: &Row) -> bool {
    let time = record.get(col::discoverydata::DISCOVERYTIME);
    let time = time.and_then(|text| jiff::civil::DateTime::strptime(assign::TIME_FORM, &**text).ok());
    let age = time.map(|time| jiff::Zoned::now().datetime().duration_since(time));
    age.is_some_and(|age| !age.is_negative() && age < RECORD_AGE_MIN)
}
