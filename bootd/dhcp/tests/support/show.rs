//! Answers as text. Reads the bytes by itself, so that order and placement of options are seen.

use std::net::Ipv4Addr;

use dawn_dhcp::engine::{Outgoing, Target};
use dawn_dhcp::wire::code;
use dhcproto::{Decodable, Decoder, v4};

/// One answer: a line with the fixed fields, and a line with the options in their order.
pub(crate) fn answer(outgoing: &Outgoing) -> String {
    let bytes = &outgoing.bytes;
    let decoded = v4::Message::decode(&mut Decoder::new(bytes)).expect("dhcproto reads every answer");
    assert_eq!(decoded.opcode(), v4::Opcode::BootReply);
    assert!(bytes.len() <= 1472 && bytes.len() >= 300, "{} bytes", bytes.len());
    let to = match outgoing.to {
        Target::Ip(to) => to.to_string(),
        Target::Hw(hw, to) => format!("{hw}/{to}"),
        Target::Broadcast(port) => format!("everyone:{port}"),
    };
    let kind = decoded.opts().msg_type().map_or("bootp".into(), |kind| format!("{kind:?}").to_lowercase());
    let port = if outgoing.from_port == 67 { String::new() } else { format!(":{}", outgoing.from_port) };
    let mut line = format!("< {kind} to {to} from {}{port}", outgoing.from);
    for (name, address) in
        [("yiaddr", decoded.yiaddr()), ("siaddr", decoded.siaddr()), ("ciaddr", decoded.ciaddr())]
    {
        if !address.is_unspecified() {
            line += &format!(" {name}={address}");
        }
    }
    if decoded.flags().broadcast() {
        line += " broadcast";
    }
    let overload = find(&bytes[240..], code::OVERLOAD).map_or(0, |value| value[0]);
    for (name, field, bit) in [("sname", &bytes[44..108], 2), ("file", &bytes[108..236], 1)] {
        match overload & bit {
            0 if field[0] != 0 => line += &format!(" {name}={}", text(field)),
            0 => (),
            _ => line += &format!(" {name}=[{}]", options(field)),
        }
    }
    if outgoing.durable {
        line += " (after the journal)";
    }
    format!("{line}\n    {}", options(&bytes[240..]))
}

fn options(area: &[u8]) -> String {
    let mut shown = Vec::new();
    let mut at = 0;
    while at + 1 < area.len() && area[at] != 255 {
        if area[at] == 0 {
            at += 1;
            continue;
        }
        let value = &area[at + 2..at + 2 + usize::from(area[at + 1])];
        shown.push(format!("{}={}", area[at], option(area[at], value)));
        at += 2 + value.len();
    }
    assert_eq!(area.get(at), Some(&255), "options end with 255");
    shown.join(" ")
}

fn find(area: &[u8], code: u8) -> Option<&[u8]> {
    dawn_dhcp::wire::options::Walk::find(area, code)
}

fn option(code: u8, value: &[u8]) -> String {
    match code {
        1 | 3 | 6 | 7 | 28 | 42 | 54 | 150 => value
            .chunks(4)
            .map(|ip| Ipv4Addr::from(<[u8; 4]>::try_from(ip).unwrap()).to_string())
            .collect::<Vec<_>>()
            .join(","),
        51 | 58 | 59 => format!("{}s", u32::from_be_bytes(value.try_into().unwrap())),
        26 => u16::from_be_bytes(value.try_into().unwrap()).to_string(),
        12 | 15 | 56 | 60 | 66 | 67 | 114 | 209 | 17 => format!("{:?}", text(value)),
        53 => format!("{:?}", v4::MessageType::from(value[0])).to_lowercase(),
        _ => value.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

fn text(field: &[u8]) -> String {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    String::from_utf8_lossy(&field[..end]).into_owned()
}
