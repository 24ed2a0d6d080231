//! Rules: a node's name made of an attribute of the machine (`site.discoveryrules`). One whose name is not a
//! node's says nothing.

use std::str::FromStr;

use dawn_cluster::{DiscoveryRule, RuleAttribute, RuleError, template};

use crate::machine::Machine;

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule(DiscoveryRule);

impl FromStr for Rule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        text.parse().map(Self)
    }
}

impl Rule {
    /// The names that it gives the machine.
    pub fn names(&self, machine: &Machine) -> Vec<String> {
        let values: Vec<String> = match self.0.attribute {
            RuleAttribute::Serial => vec![machine.serial.clone()],
            RuleAttribute::Mtm => vec![machine.mtm.clone()],
            RuleAttribute::MtmSerial if !machine.mtm.is_empty() && !machine.serial.is_empty() => {
                vec![format!("{}*{}", machine.mtm, machine.serial)]
            }
            RuleAttribute::MtmSerial => Vec::new(),
            RuleAttribute::Uuid => vec![machine.uuid.clone()],
            RuleAttribute::BmcMac => machine.bmc_mac.iter().map(ToString::to_string).collect(),
            RuleAttribute::Mac => machine.macs().map(|mac| mac.to_string()).collect(),
        };
        let name = |value: &String| {
            let name = template::expand(&self.0.template, value).ok()?.into_owned();
            // What the pattern does not match stays as it is.
            (!name.is_empty() && name != *value).then_some(name)
        };
        values.iter().filter_map(name).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules() {
        let machine = Machine { mtm: "8335GTA".into(), serial: "SN12".into(), ..Machine::default() };
        for (rule, expect) in [
            (r"serial=|^SN(\d+)$|cn($1)|", &["cn12"][..]),
            (r"serial=|^XX(\d+)$|cn($1)|", &[]),
            (r"mtm*serial=/^8335GTA\*SN/p9-/", &["p9-12"]),
            (r"uuid=/^x/y/", &[]),
            (r"mac=/^x/y/", &[]),
        ] {
            assert_eq!(rule.parse::<Rule>().unwrap().names(&machine), expect, "{rule}");
        }
        for (attribute, _) in RuleAttribute::ALL {
            assert!(format!("{attribute}=/a/b/").parse::<Rule>().is_ok(), "{attribute}");
        }
        for text in ["", "serial", "serial=cn1", "name=/a/b/", "serial=/(/b/", "serial=|a|($|"] {
            assert!(text.parse::<Rule>().is_err(), "{text}");
        }
    }
}
