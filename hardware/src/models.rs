//! Sensor records by model: machines of one model share them, so that only the first of many is read.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use dawn_ipmi::command::app::DeviceId;
use dawn_ipmi::command::sdr::Record;

use crate::limits::SDR_MODELS_MAX;

/// The identity of a model: the service processor's identity and the number of records.
pub(crate) type Model = (DeviceId, u16);

/// Records of models.
#[derive(Debug, Default)]
pub(crate) struct Models {
    known: Mutex<HashMap<Model, Arc<Vec<Record>>>>,
}

impl Models {
    /// Records of a model, if they are known.
    pub(crate) fn records(&self, model: &Model) -> Option<Arc<Vec<Record>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(model).cloned()
    }

    /// Remembers the records of a model. Too many models are forgotten together.
    pub(crate) fn remember(&self, model: Model, records: &Arc<Vec<Record>>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= SDR_MODELS_MAX {
            known.clear();
        }
        known.insert(model, Arc::clone(records));
    }
}
