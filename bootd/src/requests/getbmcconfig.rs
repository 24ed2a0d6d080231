//! `getbmcconfig`: a node asks how its service processor is to be configured.
//!
//! Addresses, user and password come from the node's `ipmi` (or `openbmc`) row, the password else from the
//! `passwd` table; mask and gateway from the network of the address. Names of service processors are looked
//! up in the `hosts` table.

use super::consent;
use crate::caller::calling_node;
use crate::command::{Command, Ctx, Kind};
use crate::node_edits;
use crate::output::{Done, Out, Stop};
use dawn_cluster::{Col, Edit, Snapshot, XCATMASTER, col};
use dawn_wire::bmc;
use dawn_wire::text::control_as_blanks;
use dawn_xcatd::{Element, Response};
use std::net::Ipv4Addr;

/// Where the node's root listens; xCAT uses only this port for the request.
const CONSENT_PORT: u16 = 300;
/// Characters of a password made here; service processors take 16 at least.
const PASSWORD_CHARS: usize = 15;

/// What is known of the service processors of a kind.
struct Processors {
    /// The table, which names their defaults in `passwd` too.
    table: &'static str,
    bmc: Col,
    username: Col,
    password: Col,
    port: Option<Col>,
    vlan: Col,
}

const IPMI: Processors = Processors {
    table: "ipmi",
    bmc: col::ipmi::BMC,
    username: col::ipmi::USERNAME,
    password: col::ipmi::PASSWORD,
    port: Some(col::ipmi::BMCPORT),
    vlan: col::ipmi::TAGGEDVLAN,
};
const OPENBMC: Processors = Processors {
    table: "openbmc",
    bmc: col::openbmc::BMC,
    username: col::openbmc::USERNAME,
    password: col::openbmc::PASSWORD,
    port: None,
    vlan: col::openbmc::TAGGEDVLAN,
};

/// Report to the calling node how to set up its BMC
#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

impl Command for Args {
    const NAME: &'static str = "getbmcconfig";
    const KIND: Kind = Kind::Words;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        let node = calling_node(&ctx.snapshot, ctx.call)?;
        if !ctx.call.peer.ip.is_some_and(|ip| consent::is_given(ip, CONSENT_PORT)) {
            return Err(Stop::refused("Unable to prove root on your IP approves of this request"));
        }
        let kind = if asks_openbmc(ctx) { &OPENBMC } else { &IPMI };
        let password = new_password(ctx, kind, &node)?;
        configurations(&ctx.snapshot, &node, kind, password.as_deref())?
            .into_iter()
            .try_for_each(|elements| out.elements(elements))
    }
}

fn asks_openbmc(ctx: &Ctx<'_>) -> bool {
    ctx.call.request.extra.iter().any(|element| element.name == "isopenbmc" && element.text.trim() == "1")
}

/// With `site.genpasswords` every request stores and gives a fresh password.
fn new_password(ctx: &Ctx<'_>, kind: &Processors, node: &str) -> Result<Option<String>, Stop> {
    if kind.table != IPMI.table || !ctx.snapshot.site_flag("genpasswords", false) {
        return Ok(None);
    }
    const LETTERS: &[u8] = b"abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789";
    let mut bytes = [0u8; PASSWORD_CHARS];
    getrandom::fill(&mut bytes).map_err(|error| Stop::unavailable(format!("no randomness: {error}")))?;
    let letter =
        |byte: &u8| LETTERS.get(usize::from(*byte) % LETTERS.len()).map(|letter| char::from(*letter));
    let password: String = bytes.iter().filter_map(letter).collect();
    let edit = Edit::set_node(node, kind.password, password.as_str())?;
    node_edits::for_node(ctx.model, node, "getbmcconfig", |_| Ok(vec![edit]))?;
    Ok(Some(password))
}

fn configurations(
    snapshot: &Snapshot,
    node: &str,
    kind: &Processors,
    password: Option<&str>,
) -> Result<Vec<Vec<Element>>, Stop> {
    let attr = |column: Col| snapshot.attr(node, column).map(|text| text.to_string());
    let bmcs = attr(kind.bmc).ok_or_else(|| {
        Stop::conflict(format!(
            "No value specified for '{node}.bmc'. Unable to configure the BMC, check the node definition."
        ))
    })?;
    let (default_user, default_password) = defaults(snapshot, kind.table);
    let user = attr(kind.username).or(default_user).unwrap_or_default();
    let password =
        password.map(str::to_owned).or_else(|| attr(kind.password)).or(default_password).unwrap_or_default();
    let ports = kind.port.and_then(attr).unwrap_or_default();
    let vlans = attr(kind.vlan).unwrap_or_default();
    let at =
        |list: &str, number: usize| list.split(',').nth(number).map(str::trim).unwrap_or_default().to_owned();
    let mut all = Vec::new();
    for (number, bmc) in bmcs.split(',').map(str::trim).enumerate() {
        let ip = address(snapshot, bmc);
        let network = ip.and_then(|ip| network_of(snapshot, ip));
        let (Some(ip), Some((mask, gateway))) =
            (ip, network.filter(|_| !user.is_empty() && !password.is_empty()))
        else {
            // xCAT prints the password into this message.
            let word = |set: bool| if set { "set" } else { "missing" };
            return Err(Stop::conflict(format!(
                "Invalid/Missing BMC related attributes in the node defintion (IP={bmc} Netmask={} User={user} Pass={}). \
                 Check the node, the passwd table and the networks table.",
                word(ip.and_then(|ip| network_of(snapshot, ip)).is_some()),
                word(!password.is_empty())
            )));
        };
        let mut elements = vec![
            Element::text("bmcip", ip.to_string()),
            Element::text("netmask", mask.to_string()),
            Element::text("gateway", gateway),
            Element::text("username", &user),
            Element::text("password", &password),
        ];
        for (name, value) in [("bmcport", at(&ports, number)), ("taggedvlan", at(&vlans, number))] {
            if !value.is_empty() {
                elements.push(Element::text(name, value));
            }
        }
        all.push(elements);
    }
    Ok(all)
}

/// The answer as the discovery system reads it on the status port ([`dawn_wire::bmc`]).
pub(crate) fn lines(responses: &[Response]) -> Vec<String> {
    let errors = responses.iter().flat_map(|response| &response.error);
    let errors = errors.map(|error| format!("{} {}", bmc::ERROR, control_as_blanks(error)));
    let values = responses.iter().flat_map(|response| &response.other);
    // A value of two lines would be two values.
    let values = values.map(|element| match element.text.contains(char::is_control) {
        true => format!("{} {} has a control character in the tables", bmc::ERROR, element.name),
        false => format!("{} {}", element.name, element.text),
    });
    errors.chain(values).chain([bmc::END.to_owned()]).collect()
}

/// User and password of all service processors of a kind.
fn defaults(snapshot: &Snapshot, key: &str) -> (Option<String>, Option<String>) {
    let row = snapshot.find_row(&[(col::passwd::KEY, key)]);
    let cell = |col: Col| Some(row.as_ref()?.get(col)?.to_string());
    (cell(col::passwd::USERNAME), cell(col::passwd::PASSWORD))
}

fn address(snapshot: &Snapshot, bmc: &str) -> Option<Ipv4Addr> {
    bmc.parse().ok().or_else(|| snapshot.attr(bmc, col::hosts::IP)?.parse().ok())
}

/// Mask and gateway of the smallest network that holds the address.
fn network_of(snapshot: &Snapshot, ip: Ipv4Addr) -> Option<(Ipv4Addr, String)> {
    let (net, row) = snapshot.network_of(ip)?;
    let gateway = match row.get(col::networks::GATEWAY).map(|text| &**text) {
        Some(XCATMASTER) => snapshot.site("master").map(|text| text.to_string()),
        gateway => gateway.map(str::to_owned),
    };
    Some((net.mask(), gateway.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(rows: &[(&str, &[(&str, &str)])]) -> String {
        let all = configurations(&Snapshot::from_rows(rows.iter().copied()), "cn1", &IPMI, None);
        match all {
            Err(error) => error.to_string(),
            Ok(all) => {
                let show = |list: Vec<Element>| {
                    list.iter().map(|e| format!("{}={}", e.name, e.text)).collect::<Vec<_>>().join(" ")
                };
                all.into_iter().map(show).collect::<Vec<_>>().join(" | ")
            }
        }
    }

    /// What the status port says is what the discovery system reads.
    #[test]
    fn answers_on_the_status_port() {
        let answer = |password: &str| {
            let pairs =
                [("bmcip", "10.2.0.1"), ("netmask", "255.255.0.0"), ("gateway", ""), ("username", "u")];
            let pairs = pairs.into_iter().chain([("password", password), ("taggedvlan", "7")]);
            let other = pairs.map(|(name, text)| Element::text(name, text)).collect();
            bmc::parse(&lines(&[Response { other, ..Response::default() }]).join("\n"))
        };
        let read = answer("two words").unwrap();
        assert_eq!((read[0].password.reveal().as_str(), read[0].vlan), ("two words", Some(7)));
        let error = answer("p\nbmcip 10.9.9.9").unwrap_err().to_string();
        assert_eq!(error, "the server says: password has a control character in the tables");
        let refused = lines(&[Response::error("no\nproof", Some(1))]).join("\n");
        assert_eq!(bmc::parse(&refused).unwrap_err().to_string(), "the server says: no proof");
    }

    #[test]
    fn from_node_passwd_and_networks() {
        let node: (&str, &[(&str, &str)]) = ("nodelist", &[("node", "cn1"), ("groups", "all")]);
        let net: (&str, &[(&str, &str)]) = (
            "networks",
            &[("netname", "b"), ("net", "10.2.0.0"), ("mask", "/16"), ("gateway", "10.2.0.254")],
        );
        let passwd: (&str, &[(&str, &str)]) =
            ("passwd", &[("key", "ipmi"), ("username", "ADMIN"), ("password", "hush")]);
        let two: (&str, &[(&str, &str)]) = (
            "ipmi",
            &[("node", "cn1"), ("bmc", "10.2.0.1,10.2.0.2"), ("bmcport", "0,1"), ("taggedvlan", "on")],
        );
        let user: (&str, &[(&str, &str)]) =
            ("ipmi", &[("node", "cn1"), ("bmc", "10.2.0.1"), ("username", "u"), ("password", "p")]);
        assert_eq!(
            told(&[node, net, passwd, two]),
            "bmcip=10.2.0.1 netmask=255.255.0.0 gateway=10.2.0.254 username=ADMIN password=hush bmcport=0 taggedvlan=on | \
             bmcip=10.2.0.2 netmask=255.255.0.0 gateway=10.2.0.254 username=ADMIN password=hush bmcport=1"
        );
        assert!(told(&[node, net, user]).contains("username=u password=p"));
        assert!(told(&[node, net, passwd]).contains("No value specified for 'cn1.bmc'"));
        let refused = told(&[node, passwd, user]);
        assert!(refused.contains("Netmask=missing") && !refused.contains("Pass=p"), "{refused}");
    }
}
