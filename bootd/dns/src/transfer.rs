//! A whole zone for a secondary server (AXFR, RFC 5936): messages made one by one, so that a slow secondary
//! costs one message and a list of names for a zone of any size.

use std::sync::Arc;

use domain::base::Message;
use domain::base::iana::Rcode;
use domain::base::message_builder::{AnswerBuilder, PushError};

use crate::engine::{Out, push_record, start};
use crate::name::DomainName;
use crate::view::View;
use crate::zones::{Data, Lookup, Zone};

/// Largest message, bytes: names are compressed within its first 16 KiB only.
pub const MESSAGE_BYTES_MAX: usize = 16 << 10;

/// A transfer that is under way.
#[derive(Debug)]
pub struct Transfer {
    view: Arc<View>,
    request: Vec<u8>,
    zone: Zone,
    names: std::vec::IntoIter<DomainName>,
    /// Records that did not fit the last message.
    pending: Vec<(DomainName, Data)>,
    begun: bool,
    done: bool,
}

impl Transfer {
    /// The transfer of the zone of this number for a request; `None` if there is no such zone.
    #[must_use]
    pub fn new(view: Arc<View>, number: u32, request: &[u8]) -> Option<Self> {
        let zone = view.zones.list().get(usize::try_from(number).ok()?)?.clone();
        let names: Vec<DomainName> = view.zones.names_of(number).map(|(name, _)| name.clone()).collect();
        let (names, request) = (names.into_iter(), request.to_vec());
        Some(Self { view, request, zone, names, pending: Vec::new(), begun: false, done: false })
    }

    /// The next message in `out`; `false` when the last one has been given.
    pub fn next_message(&mut self, out: &mut Vec<u8>) -> bool {
        !self.done && self.build(out).is_ok()
    }

    fn build(&mut self, out: &mut Vec<u8>) -> Result<(), PushError> {
        let request = std::mem::take(&mut self.request);
        let message = Message::from_slice(&request).map_err(|_| PushError::ShortBuf)?;
        let mut builder = start(message, Rcode::NOERROR, MESSAGE_BYTES_MAX, out)?;
        builder.header_mut().set_aa(true);
        if !std::mem::replace(&mut self.begun, true) {
            self.soa(&mut builder)?;
        }
        let full = self.records(&mut builder);
        if !full && self.soa(&mut builder).is_ok() {
            self.done = true;
        }
        *out = builder.finish().into_target();
        self.request = request;
        Ok(())
    }

    fn soa(&self, builder: &mut AnswerBuilder<Out>) -> Result<(), PushError> {
        push_record(builder, self.zone.apex.to_name(), &self.zone, self.view.zones.serial, &Data::Soa)
    }

    /// Writes records while they fit; whether some are left.
    fn records(&mut self, builder: &mut AnswerBuilder<Out>) -> bool {
        loop {
            while let Some((name, data)) = self.pending.last() {
                let serial = self.view.zones.serial;
                if push_record(builder, name.to_name(), &self.zone, serial, data).is_err() {
                    return true;
                }
                self.pending.pop();
            }
            let Some(name) = self.names.next() else { return false };
            if let Lookup::Name(_, entry) = self.view.zones.find(name.as_wire()) {
                let data = entry.data().iter().filter(|data| **data != Data::Soa);
                self.pending = data.map(|data| (name.clone(), data.clone())).collect();
            }
        }
    }
}
