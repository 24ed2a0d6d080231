//! Boot loaders that may stand in `noderes.netboot` and that Dawn does not serve.

use dawn_cluster::{Snapshot, Text, col};

/// What Dawn serves; everything else may be stored, for xCAT and for scripts.
const SERVED: [&str; 7] = ["xnba", "pxe", "grub2", "grub2-http", "grub2-tftp", "petitboot", "onie"];

/// The node's `noderes.netboot`, if Dawn does not boot it.
pub fn not_served(snapshot: &Snapshot, node: &str) -> Option<Text> {
    snapshot.attr(node, col::noderes::NETBOOT).filter(|method| !SERVED.contains(&&**method))
}

/// What keeps a node from booting by `noderes.netboot`.
pub fn problem(snapshot: &Snapshot, node: &str) -> Option<String> {
    let method = not_served(snapshot, node)?;
    Some(format!(
        "noderes.netboot is '{method}', which Dawn does not boot. It boots {}. Set one with: chdef {node} netboot=xnba",
        SERVED.join(", ")
    ))
}
