//! Rules: an attribute of the machine, and a template that makes a node's name of it.
//!
//! ```text
//! serial=|^SN(\d+)$|cn($1)|      the machine with the serial number SN12 is cn12
//! mtm*serial=/^8335GTA\*/p9-/    machine type and serial number together
//! ```
//!
//! The template is the one that cells of tables have. A rule whose name is not a node's says nothing.

use std::str::FromStr;

use dawn_cluster::template;

use crate::machine::Machine;

/// Which attribute a rule looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attribute {
    /// The serial number.
    Serial,
    /// The machine type and model.
    Mtm,
    /// Both, joined by `*`.
    MtmSerial,
    /// The UUID.
    Uuid,
    /// The MAC of the BMC.
    BmcMac,
    /// Any MAC of its interfaces.
    Mac,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    attribute: Attribute,
    template: String,
}

/// Why a text is not a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// Not of the form.
    #[error("a rule is attribute=template, as serial=|^SN(\\d+)$|cn($1)|")]
    Form,
    /// An attribute that does not exist.
    #[error("a rule looks at serial, mtm, mtm*serial, uuid, bmcmac or mac")]
    Attribute,
    /// The template.
    #[error("{0}")]
    Template(template::TemplateError),
}

impl FromStr for Rule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let (name, template) = text.split_once('=').ok_or(RuleError::Form)?;
        let attribute = match name.trim() {
            "serial" => Attribute::Serial,
            "mtm" => Attribute::Mtm,
            "mtm*serial" => Attribute::MtmSerial,
            "uuid" => Attribute::Uuid,
            "bmcmac" => Attribute::BmcMac,
            "mac" => Attribute::Mac,
            _ => return Err(RuleError::Attribute),
        };
        let template = template.trim();
        if !template::is_template(template) {
            return Err(RuleError::Form);
        }
        template::check(template).map_err(RuleError::Template)?;
        Ok(Self { attribute, template: template.to_owned() })
    }
}

impl Rule {
    /// The names that it gives the machine.
    pub fn names(&self, machine: &Machine) -> Vec<String> {
        let values: Vec<String> = match self.attribute {
            Attribute::Serial => vec![machine.serial.clone()],
            Attribute::Mtm => vec![machine.mtm.clone()],
            Attribute::MtmSerial if !machine.mtm.is_empty() && !machine.serial.is_empty() => {
                vec![format!("{}*{}", machine.mtm, machine.serial)]
            }
            Attribute::MtmSerial => Vec::new(),
            Attribute::Uuid => vec![machine.uuid.clone()],
            Attribute::BmcMac => machine.bmc_mac.iter().map(ToString::to_string).collect(),
            Attribute::Mac => machine.macs().map(|mac| mac.to_string()).collect(),
        };
        let name = |value: &String| {
            let name = template::expand(&self.template, value).ok()?.into_owned();
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
        for attribute in dawn_cluster::RULE_ATTRIBUTES {
            assert!(format!("{attribute}=/a/b/").parse::<Rule>().is_ok(), "{attribute}");
        }
        for text in ["", "serial", "serial=cn1", "name=/a/b/", "serial=/(/b/", "serial=|a|($|"] {
            assert!(text.parse::<Rule>().is_err(), "{text}");
        }
    }
}
