//! The zones of the cluster and every name in them.
//!
//! Made whole by [`Builder`], off the path of questions, and never changed afterwards; looking a name up
//! costs one hash for a name that exists and a few for one that does not.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use domain::base::Rtype;

use crate::name::{DomainName, ancestors};

/// How long clients may keep a record, seconds. Short: a changed address must not be believed for a day.
pub const TTL_SECONDS: u32 = 300;
/// How long clients may keep that a name does not exist, seconds: it may be given to a node the next minute.
pub const NEGATIVE_TTL_SECONDS: u32 = 30;
/// SOA: seconds until a secondary asks again, asks again after a failure, gives up.
pub const REFRESH_SECONDS: u32 = 900;
/// See [`REFRESH_SECONDS`].
pub const RETRY_SECONDS: u32 = 300;
/// See [`REFRESH_SECONDS`].
pub const EXPIRE_SECONDS: u32 = 604_800;
/// Records of one name at most; more are left out.
pub const RECORDS_OF_NAME_MAX: usize = 256;

/// The content of a record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Data {
    /// SOA of a zone.
    Soa,
    /// NS.
    Ns(DomainName),
    /// An IPv4 address.
    A(Ipv4Addr),
    /// An IPv6 address.
    Aaaa(Ipv6Addr),
    /// Another name for a host.
    Cname(DomainName),
    /// The name of an address.
    Ptr(DomainName),
}

impl Data {
    /// The record's type.
    #[must_use]
    pub fn rtype(&self) -> Rtype {
        match self {
            Self::Soa => Rtype::SOA,
            Self::Ns(_) => Rtype::NS,
            Self::A(_) => Rtype::A,
            Self::Aaaa(_) => Rtype::AAAA,
            Self::Cname(_) => Rtype::CNAME,
            Self::Ptr(_) => Rtype::PTR,
        }
    }
}

impl From<IpAddr> for Data {
    fn from(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => Self::A(ip),
            IpAddr::V6(ip) => Self::Aaaa(ip),
        }
    }
}

/// A zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    /// Its name.
    pub apex: DomainName,
    /// The server that the SOA and NS records name.
    pub server: DomainName,
    /// The mailbox of the SOA record.
    pub mailbox: DomainName,
}

/// A name in a zone.
#[derive(Clone, Debug, Default)]
pub struct Entry {
    zone: u32,
    data: Vec<Data>,
}

impl Entry {
    /// Records of the name; empty for one that only has names below it.
    #[must_use]
    pub fn data(&self) -> &[Data] {
        &self.data
    }
}

/// All zones.
#[derive(Debug, Default)]
pub struct Zones {
    /// Serial number of all zones.
    pub serial: u32,
    zones: Vec<Zone>,
    apexes: HashMap<DomainName, u32>,
    names: HashMap<DomainName, Entry>,
}

/// The zones' data about a name.
#[derive(Debug, Clone, Copy)]
pub enum Lookup<'a> {
    /// It exists.
    Name(&'a Zone, &'a Entry),
    /// It belongs to this zone and does not exist.
    Missing(&'a Zone),
    /// It is in none of our zones.
    Foreign,
}

impl Zones {
    /// Looks a name up, in lower case and wire form.
    #[must_use]
    pub fn find(&self, name: &[u8]) -> Lookup<'_> {
        if let Some(entry) = self.names.get(name) {
            return match self.zone(entry.zone) {
                Some(zone) => Lookup::Name(zone, entry),
                None => Lookup::Foreign,
            };
        }
        let number = ancestors(name).find_map(|above| self.apexes.get(above));
        number.and_then(|number| self.zone(*number)).map_or(Lookup::Foreign, Lookup::Missing)
    }

    /// The zone of this very name, and its number.
    #[must_use]
    pub fn at_apex(&self, name: &[u8]) -> Option<(u32, &Zone)> {
        let number = *self.apexes.get(name)?;
        Some((number, self.zone(number)?))
    }

    /// The zones in the order they were added.
    #[must_use]
    pub fn list(&self) -> &[Zone] {
        &self.zones
    }

    /// Names with records in the zone of this number, in no order.
    pub fn names_of(&self, zone: u32) -> impl Iterator<Item = (&DomainName, &Entry)> {
        self.names.iter().filter(move |(_, entry)| entry.zone == zone && !entry.data.is_empty())
    }

    /// Number of names.
    #[must_use]
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there is no name at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    fn zone(&self, number: u32) -> Option<&Zone> {
        self.zones.get(usize::try_from(number).ok()?)
    }
}

/// Makes [`Zones`]: first the zones, then the records.
#[derive(Debug, Default)]
pub struct Builder(Zones);

impl Builder {
    /// Zones with this serial number; `names` is how many are expected.
    #[must_use]
    pub fn new(serial: u32, names: usize) -> Self {
        Self(Zones { serial, names: HashMap::with_capacity(names), ..Zones::default() })
    }

    /// Adds a zone with its SOA and NS records; one that is there already stays as it is.
    pub fn zone(&mut self, zone: Zone) {
        let zones = &mut self.0;
        let Ok(number) = u32::try_from(zones.zones.len()) else { return };
        if zones.apexes.contains_key(&zone.apex) {
            return;
        }
        zones.apexes.insert(zone.apex.clone(), number);
        let entry = Entry { zone: number, data: vec![Data::Soa, Data::Ns(zone.server.clone())] };
        zones.names.insert(zone.apex.clone(), entry);
        zones.zones.push(zone);
    }

    /// Adds a record. `false` if the name is in no zone, has too many records, or a CNAME would coexist with
    /// others (RFC 1034 §3.6.2); the same record twice is one.
    pub fn record(&mut self, name: &DomainName, data: Data) -> bool {
        let zones = &mut self.0;
        if let Some(entry) = zones.names.get_mut(name) {
            return entry.add(data);
        }
        let Some(zone) = ancestors(name.as_wire()).find_map(|above| zones.apexes.get(above)).copied() else {
            return false;
        };
        zones.names.insert(name.clone(), Entry { zone, data: vec![data] });
        // Names above it exist too, without any records (RFC 8020).
        let mut above = name.without(1);
        while !zones.names.contains_key(&above) {
            let next = above.without(1);
            zones.names.insert(above, Entry { zone, data: Vec::new() });
            above = next;
        }
        true
    }

    /// The zones as they are now.
    #[must_use]
    pub fn finish(self) -> Zones {
        self.0
    }
}

impl Entry {
    fn add(&mut self, data: Data) -> bool {
        if self.data.contains(&data) {
            return true;
        }
        let alone = |data: &Data| matches!(data, Data::Cname(_));
        let clash = alone(&data) && !self.data.is_empty() || self.data.iter().any(alone);
        if clash || self.data.len() >= RECORDS_OF_NAME_MAX {
            return false;
        }
        self.data.push(data);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> DomainName {
        text.parse().unwrap()
    }

    fn zone(apex: &str) -> Zone {
        Zone { apex: name(apex), server: name("mn.c"), mailbox: name("root.mn.c") }
    }

    #[test]
    fn names_belong_to_the_nearest_zone() {
        let mut builder = Builder::new(7, 0);
        builder.zone(zone("c"));
        builder.zone(zone("ib.c"));
        for (host, ip) in [("a.b.c", "10.0.0.1"), ("n.ib.c", "10.0.0.2"), ("a.b.c", "10.0.0.1")] {
            assert!(builder.record(&name(host), ip.parse::<IpAddr>().unwrap().into()));
        }
        assert!(builder.record(&name("www.c"), Data::Cname(name("a.b.c"))));
        assert!(!builder.record(&name("www.c"), Data::A([10, 0, 0, 9].into())));
        assert!(!builder.record(&name("a.b.c"), Data::Cname(name("www.c"))));
        assert!(!builder.record(&name("n.elsewhere"), Data::A([10, 0, 0, 9].into())));
        let zones = builder.finish();
        for (text, expect) in [
            ("a.b.c", "c 1"),
            ("b.c", "c 0"),
            ("c", "c 2"),
            ("n.ib.c", "ib.c 1"),
            ("x.ib.c", "ib.c missing"),
            ("x.a.b.c", "c missing"),
            ("cc", "foreign"),
            ("", "foreign"),
        ] {
            let found = match zones.find(name(text).as_wire()) {
                Lookup::Name(zone, entry) => format!("{} {}", zone.apex, entry.data().len()),
                Lookup::Missing(zone) => format!("{} missing", zone.apex),
                Lookup::Foreign => "foreign".to_owned(),
            };
            assert_eq!(found, expect, "{text}");
        }
        assert_eq!(zones.names_of(1).count(), 2);
    }
}
