//! The form of the indexes that answer which node has an address. What is in them, [`crate::inherited`]
//! decides.

use crate::chunk::ChunkMap;
use crate::claim::Claim;
use crate::names::{Guid, MacAddr};
use crate::row::Text;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

/// Nodes that an index follows in one change; more are cheaper to index again.
pub(crate) const FOLLOWED_MAX: usize = 2000;

/// Who has which name and address.
pub(crate) type ClaimSlot = Arc<OnceLock<ChunkMap<(Claim, Text), ()>>>;

/// An index that may not have been made yet.
pub(crate) type Slot<K> = Arc<OnceLock<Index<K>>>;

/// The indexes of a snapshot.
#[derive(Debug, Default)]
pub(crate) struct AddressIndexes {
    pub(crate) ips: Slot<IpAddr>,
    pub(crate) macs: Slot<MacAddr>,
    pub(crate) guids: Slot<Guid>,
    pub(crate) claims: ClaimSlot,
}

/// Which node has which address. `None`: no row is shared or a template, so that the cells say all there is.
#[derive(Debug)]
pub(crate) struct Index<K>(pub(crate) Option<Map<K>>);

/// Addresses and who has them.
pub(crate) type Map<K> = ChunkMap<(K, Text), ()>;

impl<K: Ord + Clone> Index<K> {
    /// The nodes with this address, sorted.
    pub(crate) fn holders<'a>(&'a self, key: &K) -> impl Iterator<Item = &'a Text> + 'a {
        let (key, start) = (key.clone(), (key.clone(), Text::from("")));
        let entries = self.0.iter().flat_map(move |map| map.range_from(&start));
        entries.take_while(move |((found, _), ())| *found == key).map(|((_, node), ())| node)
    }

    /// No address is by a group's row or a template.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The node has the address.
    pub(crate) fn has(&self, key: &K, node: &Text) -> bool {
        self.0.as_ref().is_some_and(|map| map.get(&(key.clone(), node.clone())).is_some())
    }

    /// Every address and who has it, sorted.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &Text)> {
        self.0.iter().flat_map(|map| map.iter().map(|((key, node), ())| (key, node)))
    }
}
