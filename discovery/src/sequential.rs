//! Sequential discovery: machines get the nodes of a range (`cn2` before `cn10`) in the order in which they
//! arrive, with addresses and a position in the rack. What is running is one text, that of xCAT's
//! `site.__SEQDiscover`.
//!
//! Only the reader of the options and the choice are here; what a node gets in the tables is the command's.

use std::collections::HashSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use dawn_cluster::{Noderange, NoderangeError, Snapshot, Text, col, natural_order, no_other_machine};

use crate::arrival::Surroundings;
use crate::directory::Losses;
use crate::evidence::{Grant, Miss};
use crate::limits::ADDRESSES_MAX;

/// Where the options of a sequential discovery that runs are kept (xCAT's place).
pub const SITE_KEY: &str = "__SEQDiscover";

/// What is given already, though it does not stand in the tables yet.
pub trait Taken {
    /// The node is held for a machine.
    fn has_node(&self, node: &str) -> bool;
    /// The addresses that are held for machines.
    fn addresses(&self) -> HashSet<Ipv4Addr>;
}

/// The options of `nodediscoverstart`, as they were given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Which nodes.
    pub noderange: String,
    /// Addresses of nodes.
    pub hostiprange: Option<String>,
    /// Addresses of BMCs.
    pub bmciprange: Option<String>,
    /// All others, in the order of [`NAMES`].
    pub others: Vec<(&'static str, String)>,
}

/// Options with a value besides the three with a field of their own.
pub const NAMES: [&str; 8] =
    ["groups", "rack", "chassis", "height", "unit", "osimage", "dns", "skipbmcsetup"];

/// Why words are not options.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// No noderange.
    #[error("For sequential discovery, the 'noderange' option must be specified.")]
    NoRange,
    /// An unknown option; the spelling is xCAT's.
    #[error("Invalid arguement \"{0}\".")]
    Unknown(String),
    /// An option without its value.
    #[error("The parameter \"{0}\" need a value.")]
    NoValue(String),
    /// Another option inside of a value.
    #[error("The value of \"{0}\" has \"{1}\" in it: give that as a word of its own.")]
    Inside(String, String),
    /// An image whose name would be several steps of a chain.
    #[error("The parameter \"osimage\" needs the name of one image.")]
    Image,
    /// A number that is not one.
    #[error("The parameter \"{0}\" needs a number.")]
    NotANumber(&'static str),
    /// A range of addresses.
    #[error(
        "{0}: an address range is 10.1.0.10-10.1.0.99 or 10.1.[0-1].[1-99], of {ADDRESSES_MAX} addresses at most"
    )]
    Addresses(&'static str),
    /// The noderange cannot be read.
    #[error("{0}")]
    Noderange(String),
}

impl Options {
    /// Reads `name=value` words.
    ///
    /// # Errors
    /// [`OptionError`].
    pub fn of_words<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Self, OptionError> {
        let mut options = Self::default();
        for word in words {
            let (name, value) = word.split_once('=').ok_or_else(|| OptionError::Unknown(word.to_owned()))?;
            if value.is_empty() {
                return Err(OptionError::NoValue(name.to_owned()));
            }
            check_value(name, value)?;
            let value = value.to_owned();
            match name {
                "noderange" => options.noderange = value,
                "hostiprange" => options.hostiprange = Some(value),
                "bmciprange" => options.bmciprange = Some(value),
                _ => {
                    let known = NAMES.into_iter().find(|known| *known == name);
                    let known = known.ok_or_else(|| OptionError::Unknown(name.to_owned()))?;
                    options.others.retain(|(name, _)| *name != known);
                    options.others.push((known, value));
                }
            }
        }
        options.others.sort_by_key(|(name, _)| NAMES.iter().position(|known| known == name));
        if options.noderange.is_empty() {
            return Err(OptionError::NoRange);
        }
        Ok(options)
    }

    /// Reads the text of `site.__SEQDiscover`. A value may contain commas: a part without a known name
    /// belongs to the value before it.
    ///
    /// # Errors
    /// [`OptionError`].
    pub fn of_site(text: &str) -> Result<Self, OptionError> {
        let mut words: Vec<String> = Vec::new();
        for part in text.split(',') {
            let name = part.split_once('=').map_or("", |(name, _)| name);
            match words.last_mut() {
                Some(last) if !is_name(name) => {
                    last.push(',');
                    last.push_str(part);
                }
                _ => words.push(part.to_owned()),
            }
        }
        Self::of_words(words.iter().map(String::as_str))
    }

    /// The value of one of [`NAMES`].
    pub fn get(&self, name: &str) -> Option<&str> {
        self.others.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    fn number(&self, name: &'static str) -> Result<Option<u32>, OptionError> {
        self.get(name).map(str::parse).transpose().map_err(|_| OptionError::NotANumber(name))
    }
}

fn is_name(name: &str) -> bool {
    NAMES.contains(&name) || ["noderange", "hostiprange", "bmciprange"].contains(&name)
}

/// A value is read back as it was written, and an image is one image: its name becomes a step of chains,
/// which not everybody may write (`ondiscover=`).
fn check_value(name: &str, value: &str) -> Result<(), OptionError> {
    let option = |part: &&str| part.split_once('=').is_some_and(|(name, _)| is_name(name));
    if let Some(other) = value.split(',').skip(1).find(option) {
        return Err(OptionError::Inside(name.to_owned(), other.to_owned()));
    }
    let ends_step = |c: char| matches!(c, ',' | ';' | '=') || c.is_whitespace() || c.is_control();
    if name == "osimage" && value.contains(ends_step) {
        return Err(OptionError::Image);
    }
    Ok(())
}

impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "noderange={}", self.noderange)?;
        let ranges = [("hostiprange", &self.hostiprange), ("bmciprange", &self.bmciprange)];
        for (name, value) in ranges.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?))) {
            write!(f, ",{name}={value}")?;
        }
        self.others.iter().try_for_each(|(name, value)| write!(f, ",{name}={value}"))
    }
}

/// A sequential discovery that is running.
#[derive(Clone, Debug)]
pub struct Run {
    options: Options,
    nodes: Vec<Text>,
    host_ips: Option<Vec<Ipv4Addr>>,
    bmc_ips: Option<Vec<Ipv4Addr>>,
    unit: Option<u32>,
    height: u32,
}

impl Run {
    /// Makes a run of options.
    ///
    /// # Errors
    /// [`OptionError`].
    pub fn new(snapshot: &Snapshot, options: Options) -> Result<Self, OptionError> {
        let nodes = Noderange::new(&options.noderange).unverified().expand(snapshot);
        let nodes = nodes.map_err(|error: NoderangeError| OptionError::Noderange(error.to_string()))?;
        let mut nodes = nodes.nodes;
        nodes.sort_by(|a, b| natural_order(a, b));
        let range = |text: &Option<String>, name| {
            text.as_deref().map(|text| addresses(text).ok_or(OptionError::Addresses(name))).transpose()
        };
        Ok(Self {
            nodes,
            host_ips: range(&options.hostiprange, "hostiprange")?,
            bmc_ips: range(&options.bmciprange, "bmciprange")?,
            unit: options.number("unit")?,
            height: options.number("height")?.unwrap_or(1).max(1),
            options,
        })
    }

    /// What it was started with.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The nodes of the range.
    pub fn nodes(&self) -> &[Text] {
        &self.nodes
    }

    /// What is free while no node is held: for people.
    pub fn free_now(&self, snapshot: &Snapshot) -> Free {
        let free = self.nodes.iter().filter(|node| snapshot.attr(node, col::mac::MAC).is_none());
        let used: HashSet<Ipv4Addr> = bmc_addresses(snapshot).collect();
        let no_machine = no_other_machine(snapshot);
        let of = |range: &Option<Vec<Ipv4Addr>>| {
            let is_free = |ip: &Ipv4Addr| {
                let address = IpAddr::V4(*ip);
                !used.contains(ip) && !no_machine(address) && snapshot.node_by_ip(address).is_none()
            };
            range.as_ref().map(|range| range.iter().copied().filter(is_free).collect())
        };
        Free {
            nodes: free.map(ToString::to_string).collect(),
            host_ips: of(&self.host_ips),
            bmc_ips: of(&self.bmc_ips),
        }
    }

    /// The next node: the first of the range that has no machine, neither in the tables nor since just now.
    ///
    /// # Errors
    /// [`Miss::Exhausted`], [`Miss::NoAddress`].
    pub(crate) fn next(
        &self,
        from: &mut Cursor,
        around: &Surroundings<'_>,
        taken: &dyn Taken,
    ) -> Result<Grant, Miss> {
        let (snapshot, directory) = (around.snapshot, around.directory);
        from.keep_up(directory.losses());
        let has_machine = |node: &Text| snapshot.attr(node, col::mac::MAC).is_some();
        advance(&mut from.nodes, &self.nodes, has_machine);
        let mut nodes = self.nodes.iter().enumerate().skip(from.nodes);
        let (at, node) =
            nodes.find(|(_, node)| !taken.has_node(node) && !has_machine(node)).ok_or(Miss::Exhausted)?;
        let mut held = taken.addresses();
        let no_machine = no_other_machine(snapshot);
        let is_given = |ip: &Ipv4Addr| {
            let address = IpAddr::V4(*ip);
            directory.is_bmc(*ip) || no_machine(address) || snapshot.node_by_ip(address).is_some()
        };
        let host_ip = match &self.host_ips {
            Some(range) if snapshot.attr(node, col::hosts::IP).is_none() => {
                Some(free_address(range, &mut from.host_ips, is_given, &held)?)
            }
            _ => None,
        };
        held.extend(host_ip);
        let bmc_ip = match &self.bmc_ips {
            Some(range) if snapshot.attr(node, col::ipmi::BMC).is_none() => {
                Some(free_address(range, &mut from.bmc_ips, is_given, &held)?)
            }
            _ => None,
        };
        let steps = u32::try_from(at).unwrap_or(u32::MAX).saturating_mul(self.height);
        let unit = self.unit.map(|unit| unit.saturating_add(steps));
        Ok(Grant { node: node.clone(), host_ip, bmc_ip, unit })
    }
}

/// What of a range no machine has yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Free {
    /// Nodes.
    pub nodes: Vec<String>,
    /// Addresses of nodes, if the discovery gives any.
    pub host_ips: Option<Vec<Ipv4Addr>>,
    /// Addresses of BMCs, if the discovery gives any.
    pub bmc_ips: Option<Vec<Ipv4Addr>>,
}

fn bmc_addresses(snapshot: &Snapshot) -> impl Iterator<Item = Ipv4Addr> + '_ {
    snapshot.node_names().filter_map(|node| snapshot.attr(node, col::ipmi::BMC)?.parse().ok())
}

/// Where a run goes on: everything before these places is given in the tables. A storm of machines would
/// otherwise have the whole range looked at for each of them. What the tables lose takes it to the start.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cursor {
    losses: Losses,
    nodes: usize,
    host_ips: usize,
    bmc_ips: usize,
}

impl Cursor {
    fn keep_up(&mut self, losses: Losses) {
        if self.losses != losses {
            *self = Self { losses, ..Self::default() };
        }
    }
}

/// Moves a place past what is given.
fn advance<T>(place: &mut usize, all: &[T], is_given: impl Fn(&T) -> bool) {
    *place += all.iter().skip(*place).take_while(|one| is_given(one)).count();
}

/// The first address that is neither given in the tables nor held for a machine.
fn free_address(
    range: &[Ipv4Addr],
    place: &mut usize,
    is_given: impl Fn(&Ipv4Addr) -> bool,
    held: &HashSet<Ipv4Addr>,
) -> Result<Ipv4Addr, Miss> {
    advance(place, range, &is_given);
    let mut rest = range.iter().skip(*place).copied();
    rest.find(|ip| !held.contains(ip) && !is_given(ip)).ok_or(Miss::NoAddress)
}

/// The addresses of a range: from the first to the last, or each part of the dotted form a number or `[a-b]`.
pub fn addresses(text: &str) -> Option<Vec<Ipv4Addr>> {
    if !text.contains('[')
        && let Some((first, last)) = text.split_once('-')
    {
        let (first, last): (Ipv4Addr, Ipv4Addr) = (first.parse().ok()?, last.parse().ok()?);
        let (first, last) = (u32::from(first), u32::from(last));
        let is_good = first <= last && usize::try_from(last - first).is_ok_and(|count| count < ADDRESSES_MAX);
        return is_good.then(|| (first..=last).map(Ipv4Addr::from).collect());
    }
    let parts: Vec<std::ops::RangeInclusive<u8>> = text.split('.').map(part).collect::<Option<_>>()?;
    let [a, b, c, d]: [_; 4] = parts.try_into().ok()?;
    let count: usize = [&a, &b, &c, &d].into_iter().map(ExactSizeIterator::len).product();
    if count > ADDRESSES_MAX {
        return None;
    }
    let mut found = Vec::with_capacity(count);
    for a in a {
        for b in b.clone() {
            for c in c.clone() {
                found.extend(d.clone().map(|d| Ipv4Addr::new(a, b, c, d)));
            }
        }
    }
    Some(found)
}

fn part(text: &str) -> Option<std::ops::RangeInclusive<u8>> {
    let Some(inside) = text.strip_prefix('[') else {
        let number = text.parse().ok()?;
        return Some(number..=number);
    };
    let (first, last) = inside.strip_suffix(']')?.split_once('-')?;
    let (first, last): (u8, u8) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some(first..=last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_and_written() {
        let options = Options::of_words(["unit=3", "noderange=cn1,cn[2-4]", "hostiprange=10.1.0.1-10.1.0.9"]);
        let text = options.unwrap().to_string();
        assert_eq!(text, "noderange=cn1,cn[2-4],hostiprange=10.1.0.1-10.1.0.9,unit=3");
        assert_eq!(Options::of_site(&text).unwrap().to_string(), text);
        for (words, error) in [
            (&["rack=1"][..], "For sequential discovery, the 'noderange' option must be specified."),
            (&["noderange=a", "color=red"], "Invalid arguement \"color\"."),
            (&["noderange="], "The parameter \"noderange\" need a value."),
            (
                &["noderange=a", "osimage=x,ondiscover=rpower:off"],
                "The parameter \"osimage\" needs the name of one image.",
            ),
            (&["noderange=a", "osimage=x;shell"], "The parameter \"osimage\" needs the name of one image."),
            (
                &["noderange=a", "groups=g,noderange=b"],
                "The value of \"groups\" has \"noderange=b\" in it: give that as a word of its own.",
            ),
        ] {
            assert_eq!(Options::of_words(words.iter().copied()).unwrap_err().to_string(), error);
        }
        let injected = "noderange=a,osimage=x,ondiscover=rpower:off,standby";
        assert_eq!(Options::of_site(injected).unwrap_err(), OptionError::Image);
        let options = Options::of_words(["noderange=a", "unit=top"]).unwrap();
        assert_eq!(Run::new(&Snapshot::empty(), options).unwrap_err(), OptionError::NotANumber("unit"));
    }

    proptest::proptest! {
        /// What is accepted is read back as it was given.
        #[test]
        fn accepted_options_are_read_back(
            groups in "[a-c=,;]{1,6}|[a-z]{1,3},(groups|noderange|unit)=[a-z0-9]{1,3}",
            image in "[a-z;,=]{1,5}",
        ) {
            let words = [format!("groups={groups}"), "noderange=cn[1-3]".into(), format!("osimage={image}")];
            if let Ok(options) = Options::of_words(words.iter().map(String::as_str)) {
                proptest::prop_assert_eq!(Options::of_site(&options.to_string()), Ok(options));
            }
        }
    }

    #[test]
    fn ranges_of_addresses() {
        let count = |text| addresses(text).map(|found| found.len());
        for (text, expect) in [
            ("10.1.0.10-10.1.0.99", Some(90)),
            ("10.1.[0-1].[1-99]", Some(198)),
            ("10.1.0.5", Some(1)),
            ("10.0.0.0-10.255.255.255", None),
            ("[0-255].[0-255].[0-255].[0-255]", None),
            ("10.1.0.9-10.1.0.1", None),
            ("10.1.[0-256].1", None),
            ("10.1.0", None),
            ("", None),
        ] {
            assert_eq!(count(text), expect, "{text}");
        }
    }
}
