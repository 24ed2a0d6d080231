//! How the service processor (BMC) of a node is to be set up: the server's answer to
//! [`GET_BMC`](crate::status::GET_BMC), a name and a value a line, until [`END`].
//!
//! The names are those of xCAT's request `getbmcconfig`; `bmcip` begins a processor. A server that gives
//! nothing says why in a line `error`.

use std::fmt;
use std::net::Ipv4Addr;

use crate::Secret;

/// The last line: an answer without it was cut off.
pub const END: &str = "#END OF BMC";
/// Begins the line that says why there is nothing.
pub const ERROR: &str = "error";
/// Service processors of one node.
pub const BMCS_MAX: usize = 8;
/// Lines that are looked at.
const LINES_MAX: usize = 128;

/// One service processor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BmcSetup {
    /// Its address.
    pub address: Ipv4Addr,
    /// Its netmask.
    pub netmask: Ipv4Addr,
    /// Its router.
    pub gateway: Option<Ipv4Addr>,
    /// The name of its administrator.
    pub user: String,
    /// The administrator's password.
    pub password: Secret,
    /// 802.1q, 1 to 4094.
    pub vlan: Option<u16>,
    /// Which network port it shares, as vendors count; empty for the one it has.
    pub port: String,
}

/// Why there is nothing to set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoSetup {
    /// The server says why.
    Refused(String),
    /// The last line is missing.
    CutOff,
    /// A value is missing, or is not one.
    Value(&'static str),
    /// Too many lines or processors.
    TooMany,
}

impl fmt::Display for NoSetup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(reason) => write!(f, "the server says: {reason}"),
            Self::CutOff => f.write_str("the server's answer is cut off"),
            Self::Value(name) => write!(f, "the server's answer has no usable {name}"),
            Self::TooMany => write!(f, "the server's answer has more than {LINES_MAX} lines"),
        }
    }
}

impl std::error::Error for NoSetup {}

/// Reads an answer; a good one has one processor at least.
///
/// # Errors
/// [`NoSetup`].
pub fn parse(text: &str) -> Result<Vec<BmcSetup>, NoSetup> {
    let mut all: Vec<Lines<'_>> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line == END {
            let read: Result<Vec<BmcSetup>, NoSetup> = all.iter().map(Lines::read).collect();
            return read.and_then(|all| if all.is_empty() { Err(NoSetup::Value("bmcip")) } else { Ok(all) });
        }
        if number >= LINES_MAX {
            return Err(NoSetup::TooMany);
        }
        let (name, value) = line.split_once(' ').unwrap_or((line, ""));
        match name {
            ERROR => return Err(NoSetup::Refused(value.to_owned())),
            "bmcip" if all.len() == BMCS_MAX => return Err(NoSetup::TooMany),
            "bmcip" => all.push(Lines(vec![(name, value)])),
            _ => all.iter_mut().last().into_iter().for_each(|lines| lines.0.push((name, value))),
        }
    }
    Err(NoSetup::CutOff)
}

/// The lines of one processor.
struct Lines<'a>(Vec<(&'a str, &'a str)>);

impl Lines<'_> {
    fn value(&self, wanted: &str) -> &str {
        self.0.iter().find(|(name, _)| *name == wanted).map_or("", |(_, value)| value)
    }

    fn read(&self) -> Result<BmcSetup, NoSetup> {
        let address = |name: &'static str| self.value(name).parse().map_err(|_| NoSetup::Value(name));
        let text = |name: &'static str| match self.value(name) {
            "" => Err(NoSetup::Value(name)),
            value => Ok(value.to_owned()),
        };
        Ok(BmcSetup {
            address: address("bmcip")?,
            netmask: address("netmask")?,
            gateway: self.value("gateway").parse().ok(),
            user: text("username")?,
            password: Secret::new(text("password")?),
            vlan: self.value("taggedvlan").parse().ok().filter(|vlan| (1..=4094).contains(vlan)),
            port: self.value("bmcport").to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str =
        "bmcip 10.2.0.1\nnetmask 255.255.0.0\ngateway 10.2.0.254\nusername ADMIN\npassword two words\n";

    #[test]
    fn answers() {
        let all = parse(&format!("{GOOD}taggedvlan 12\nbmcport 1\n{GOOD}#END OF BMC\n")).unwrap();
        let expected = BmcSetup {
            address: Ipv4Addr::new(10, 2, 0, 1),
            netmask: Ipv4Addr::new(255, 255, 0, 0),
            gateway: Some(Ipv4Addr::new(10, 2, 0, 254)),
            user: "ADMIN".into(),
            password: Secret::new("two words"),
            vlan: Some(12),
            port: "1".into(),
        };
        let second = BmcSetup { vlan: None, port: String::new(), ..expected.clone() };
        assert_eq!(all, [expected, second]);
        assert!(!format!("{all:?}").contains("two words"));
        for (text, error) in [
            (GOOD, NoSetup::CutOff),
            ("#END OF BMC", NoSetup::Value("bmcip")),
            ("bmcip x\n#END OF BMC", NoSetup::Value("bmcip")),
            ("bmcip 10.2.0.1\nnetmask 255.0.0.0\n#END OF BMC", NoSetup::Value("username")),
            ("error no proof of consent\n#END OF BMC", NoSetup::Refused("no proof of consent".into())),
        ] {
            assert_eq!(parse(text), Err(error), "{text}");
        }
        assert_eq!(parse(&format!("{}#END OF BMC", GOOD.repeat(BMCS_MAX + 1))), Err(NoSetup::TooMany));
        assert_eq!(parse(&format!("{}#END OF BMC", "x\n".repeat(LINES_MAX + 1))), Err(NoSetup::TooMany));
        for vlan in ["off", "on", "0", "4095", "-1"] {
            let text = format!("{GOOD}taggedvlan {vlan}\n#END OF BMC");
            assert_eq!(parse(&text).unwrap()[0].vlan, None, "{vlan}");
        }
    }
}
