//! Which client has mounted what: a courtesy for `showmount`, bounded, and forgotten at a restart.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

/// Most mounts listed.
pub(crate) const LISTED_MAX: usize = 4096;

/// Which client has mounted which export, as clients reported it.
#[derive(Debug, Default)]
pub(crate) struct MountList {
    mounts: Mutex<VecDeque<(IpAddr, String)>>,
}

impl MountList {
    pub(crate) fn change(&self, f: impl FnOnce(&mut VecDeque<(IpAddr, String)>)) {
        f(&mut self.mounts.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(crate) fn add(&self, client: IpAddr, path: &str) {
        self.change(|mounts| {
            mounts.retain(|(c, p)| (*c, p.as_str()) != (client, path));
            if mounts.len() >= LISTED_MAX {
                mounts.pop_front();
            }
            mounts.push_back((client, path.to_owned()));
        });
    }
}
