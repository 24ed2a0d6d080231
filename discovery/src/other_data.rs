//! `discoverydata.otherdata`: what a machine says that no column is for, as XML without a declaration.
//!
//! The column holds [`OTHER_DATA_BYTES_MAX`] bytes. Elements that do not fit are left out, the last ones
//! first.

use quick_xml::escape::escape;

use crate::limits::OTHER_DATA_BYTES_MAX;
use crate::machine::{Kind, Machine};

/// The signature of a packet, which takes the place of everything else.
const SIGNATURE: &str = "sha512sig";
/// The root of the text (xCAT's name).
const ROOT: &str = "discoveryotherdata";

/// The text; empty for a machine that says nothing of the kind.
pub(crate) fn of(machine: &Machine) -> String {
    let mut text = Text { text: format!("<{ROOT}>"), is_full: false };
    match machine.kind {
        Kind::Physical => {}
        Kind::Virtual => text.add("nodetype", "virtual"),
        Kind::Switch => text.add("nodetype", "switch"),
    }
    text.add("bmc", &machine.bmc.map(|ip| ip.to_string()).unwrap_or_default());
    text.add("bmcmac", &machine.bmc_mac.map(|mac| mac.to_string()).unwrap_or_default());
    for nic in machine.nics.iter().filter(|nic| !nic.link.is_empty()) {
        text.add("link", &format!("{}!{}", nic.device, nic.link));
    }
    machine.pci.iter().for_each(|device| text.add("pci", device));
    let others = machine.other.iter().filter(|(name, _)| is_kept(name));
    others.for_each(|(name, value)| text.add(name, value));
    text.finish()
}

/// A name that is one everywhere, of an element that is for people: not a signature.
fn is_kept(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    let begins_well = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    name != SIGNATURE && begins_well && name.bytes().all(is_plain)
}

struct Text {
    text: String,
    is_full: bool,
}

impl Text {
    fn add(&mut self, name: &str, value: &str) {
        let element = format!("<{name}>{}</{name}>", escape(value));
        self.is_full |= self.text.len() + element.len() + ROOT.len() + "</>".len() > OTHER_DATA_BYTES_MAX;
        if !value.is_empty() && !self.is_full {
            self.text.push_str(&element);
        }
    }

    fn finish(self) -> String {
        if self.text.ends_with(&format!("<{ROOT}>")) { String::new() } else { self.text + "</" + ROOT + ">" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Nic;
    use dawn_cluster::MacAddr;

    #[test]
    fn texts() {
        let mut machine = Machine::default();
        assert_eq!(of(&machine), "");
        let nic =
            Nic { device: "eno1".into(), link: "up 10000".into(), ..Nic::new(MacAddr([2, 0, 0, 0, 0, 1])) };
        machine.nics.push(nic);
        machine.bmc_mac = Some(MacAddr([2, 0, 0, 0, 0, 9]));
        machine.pci.push("0000:00:1f.0 <&>".into());
        let element = |name: &str| (name.to_owned(), "a<b".to_owned());
        machine.other = ["location", "sha512sig", "a:b", "1st", "x><y"].map(element).to_vec();
        assert_eq!(
            of(&machine),
            "<discoveryotherdata><bmcmac>02:00:00:00:00:09</bmcmac><link>eno1!up 10000</link>\
             <pci>0000:00:1f.0 &lt;&amp;&gt;</pci><location>a&lt;b</location></discoveryotherdata>"
        );
        machine.pci = (0..1000).map(|number| format!("{number:04}:00:00.0 8086:1572 020000")).collect();
        let text = of(&machine);
        assert!(
            text.len() <= OTHER_DATA_BYTES_MAX && text.len() > OTHER_DATA_BYTES_MAX - 60,
            "{}",
            text.len()
        );
        assert!(text.ends_with("</pci></discoveryotherdata>"));
    }
}
