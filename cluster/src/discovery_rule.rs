//! Rules of `site.discoveryrules`: an attribute of a machine, and a template that makes a node's name of it.
//!
//! ```text
//! serial=|^SN(\d+)$|cn($1)|      the machine with the serial number SN12 is cn12
//! mtm*serial=/^8335GTA\*/p9-/    machine type and serial number together
//! ```
//!
//! The template is the one that cells of tables have. Which machine has which attribute is known to
//! `dawn-discovery`.

use std::str::FromStr;

use crate::template::{self, TemplateError, is_template};

/// Which attribute a rule looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleAttribute {
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

impl RuleAttribute {
    /// All, with the words for them.
    pub const ALL: [(&str, Self); 6] = [
        ("serial", Self::Serial),
        ("mtm", Self::Mtm),
        ("mtm*serial", Self::MtmSerial),
        ("uuid", Self::Uuid),
        ("bmcmac", Self::BmcMac),
        ("mac", Self::Mac),
    ];
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiscoveryRule {
    /// What it looks at.
    pub attribute: RuleAttribute,
    /// What makes the name of it.
    pub template: String,
}

/// Why a text is not a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// Not of the form.
    #[error("'{0}' is not attribute=template, as serial=|^SN(\\d+)$|cn($1)|")]
    Form(String),
    /// An attribute that does not exist.
    #[error("it must be one of {}", RuleAttribute::ALL.map(|(word, _)| word).join(", "))]
    Attribute,
    /// The template.
    #[error(transparent)]
    Template(#[from] TemplateError),
}

impl FromStr for DiscoveryRule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let parts = text.split_once('=').filter(|(_, template)| is_template(template));
        let (word, template) = parts.ok_or_else(|| RuleError::Form(text.to_owned()))?;
        let attribute = RuleAttribute::ALL.into_iter().find(|(known, _)| *known == word);
        let (_, attribute) = attribute.ok_or(RuleError::Attribute)?;
        template::check(template)?;
        Ok(Self { attribute, template: template.to_owned() })
    }
}
