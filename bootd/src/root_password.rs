//! The password of root on nodes.

use dawn_cluster::{Snapshot, col};
use dawn_imagebuilder::password::RootPassword;

/// `passwd` row of key `system`, user `root`, as a crypt hash.
pub fn root_hash(snapshot: &Snapshot, seed: &str) -> Option<String> {
    let (key, user) = (col::passwd::KEY, col::passwd::USERNAME);
    let row = snapshot.find_row(&[(key, "system"), (user, "root")])?;
    RootPassword::from_table(row.get(col::passwd::PASSWORD)?).shadow_field(seed)
}
