//! A database that could not be opened when the daemon started, and is opened by the first question that it
//! answers.

use super::{Bell, IfMissing, Loaded, Store, StoreError};
use crate::cfgloc::StoreAddress;
use crate::effect::Effect;
use crate::log::LogEntry;

/// A store that opens its database at the first question.
pub(crate) struct Later {
    address: StoreAddress,
    opened: Option<Box<dyn Store>>,
}

impl Later {
    /// A database that is to be opened later; it must be there then.
    pub(crate) fn new(address: &StoreAddress) -> Self {
        Self { address: address.clone(), opened: None }
    }

    fn store(&mut self) -> Result<&mut dyn Store, StoreError> {
        let store = match self.opened.take() {
            Some(store) => store,
            None => super::open(&self.address, IfMissing::Refuse)?,
        };
        Ok(self.opened.insert(store).as_mut())
    }
}

impl Store for Later {
    fn engine(&self) -> &'static str {
        self.address.engine()
    }

    fn load(&mut self) -> Result<Loaded, StoreError> {
        self.store()?.load()
    }

    fn begin(&mut self) -> Result<u64, StoreError> {
        self.store()?.begin()
    }

    fn write(&mut self, entry: &LogEntry, effects: &[Effect]) -> Result<(), StoreError> {
        self.store()?.write(entry, effects)
    }

    fn is_open(&self) -> bool {
        self.opened.as_ref().is_some_and(|store| store.is_open())
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        self.store()?.commit()
    }

    fn rollback(&mut self) {
        if let Some(store) = &mut self.opened {
            store.rollback();
        }
    }

    fn last_seq(&mut self) -> Result<u64, StoreError> {
        self.store()?.last_seq()
    }

    fn changes_after(&mut self, after: u64, limit: usize) -> Result<Vec<LogEntry>, StoreError> {
        self.store()?.changes_after(after, limit)
    }

    fn changes_before(&mut self, before: u64, limit: usize) -> Result<Vec<LogEntry>, StoreError> {
        self.store()?.changes_before(before, limit)
    }

    fn bell(&self) -> Result<Option<Box<dyn Bell>>, StoreError> {
        self.opened.as_ref().map_or(Ok(None), |store| store.bell())
    }
}
