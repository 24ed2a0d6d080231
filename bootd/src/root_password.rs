//! The password of root on nodes.

use dawn_cluster::{Col, Snapshot};
use dawn_imagebuilder::password::RootPassword;

/// `passwd` row of key `system`, user `root`, as a crypt hash.
pub fn root_hash(snapshot: &Snapshot, seed: &str) -> Option<String> {
    let (key, user) = (Col::known("passwd.key"), Col::known("passwd.username"));
    let row = snapshot.find_row(&[(key, "system"), (user, "root")])?;
    RootPassword::from_table(row.get(Col::known("passwd.password"))?).shadow_field(seed)
}
