//! The snapshot after a change: its tables, and the indexes that the change has not made wrong.

use crate::address_index::AddressIndexes;
use crate::effect::Effect;
use crate::snapshot::Snapshot;
use crate::table::TableData;
use crate::{claims, inherited};
use std::sync::Arc;

impl Snapshot {
    /// The next snapshot; reuses the indexes that the change does not affect.
    pub(crate) fn successor(&self, seq: u64, tables: Box<[Arc<TableData>]>, effects: &[Effect]) -> Self {
        let templates = Arc::clone(&self.templates);
        let mut next = Self { seq, tables, templates, inherited: AddressIndexes::default() };
        next.inherited = AddressIndexes {
            ips: inherited::follow(self, &next, effects),
            macs: inherited::follow(self, &next, effects),
            guids: inherited::follow(self, &next, effects),
            claims: claims::follow(self, &next, effects),
        };
        next
    }
}
