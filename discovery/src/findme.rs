//! The packet of an unknown machine: xCAT's `findme` request, XML, mostly compressed with gzip, one datagram.
//!
//! It comes from strangers, so every part of it is bounded: bytes before and after decompression, elements,
//! text, interfaces. Texts lose control characters. A document type, an entity of its own, a processing
//! instruction or a second root are refused. The signature is not verified, as in xCAT's release.
//! Elements that mean nothing here are kept for `discoverydata`.

use std::borrow::Cow;
use std::io::Read;
use std::net::IpAddr;

use dawn_cluster::MacAddr;
use flate2::read::GzDecoder;
use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesRef, Event};

use crate::limits::{
    ELEMENTS_MAX, NEIGHBOUR_ADDRESSES_MAX, NICS_MAX, OTHER_ELEMENTS_MAX, PACKET_BYTES_MAX, PCI_BYTES_MAX,
    PCI_DEVICES_MAX, TEXT_BYTES_MAX, XML_BYTES_MAX,
};
use crate::machine::{Kind, Machine, Neighbour, Nic};

/// The packet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packet {
    /// What the machine says of itself.
    pub machine: Machine,
    /// The machine asks for sequential discovery.
    pub is_sequential: bool,
}

/// Why bytes are not such a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FindmeError {
    /// More bytes than a datagram, or than [`XML_BYTES_MAX`] after decompression.
    #[error("it is larger than {0} bytes")]
    TooLarge(usize),
    /// The compression is damaged.
    #[error("it cannot be decompressed")]
    Compression,
    /// Not well formed, with the place, bytes.
    #[error("it is not well-formed XML at byte {0}")]
    Malformed(u64),
    /// A construct that the packet does not have.
    #[error("it has a document type, an unknown entity, or more than one root element")]
    Unsupported,
    /// More elements than [`ELEMENTS_MAX`].
    #[error("it has more than {ELEMENTS_MAX} elements")]
    TooMany,
    /// Another request, or none.
    #[error("it is not a findme request")]
    OtherCommand,
}

/// Reads a packet.
///
/// # Errors
/// [`FindmeError`].
pub fn parse(packet: &[u8]) -> Result<Packet, FindmeError> {
    let bytes = unpacked(packet)?;
    let text = String::from_utf8_lossy(&bytes);
    let elements = elements(&text)?;
    let mut builder = Builder::default();
    let mut nic = NicParts::default();
    for element in &elements {
        let path: Vec<&str> = element.path.iter().map(String::as_str).collect();
        match path.as_slice() {
            ["xcatrequest", "nic"] => builder.add_nic(std::mem::take(&mut nic)),
            ["xcatrequest", "nic", name] => nic.take(name, element.text.clone()),
            ["xcatrequest", name] => builder.take(name, element.text.clone()),
            _ => {}
        }
    }
    if builder.command != "findme" {
        return Err(FindmeError::OtherCommand);
    }
    Ok(builder.packet)
}

fn unpacked(packet: &[u8]) -> Result<Cow<'_, [u8]>, FindmeError> {
    if packet.len() > PACKET_BYTES_MAX {
        return Err(FindmeError::TooLarge(PACKET_BYTES_MAX));
    }
    if !packet.starts_with(&[0x1f, 0x8b]) {
        return Ok(Cow::Borrowed(packet));
    }
    let mut bytes = Vec::new();
    let limit = u64::try_from(XML_BYTES_MAX).unwrap_or(u64::MAX);
    let read = GzDecoder::new(packet).take(limit + 1).read_to_end(&mut bytes);
    if bytes.len() > XML_BYTES_MAX {
        return Err(FindmeError::TooLarge(XML_BYTES_MAX));
    }
    read.map_err(|_| FindmeError::Compression)?;
    Ok(Cow::Owned(bytes))
}

/// An element when it ends: its names from the root, and its text.
struct Element {
    path: Vec<String>,
    text: String,
}

/// Every element, in the order in which they end; those nested deeper than three are left out.
fn elements(xml: &str) -> Result<Vec<Element>, FindmeError> {
    let mut reader = Reader::from_str(xml);
    let (mut path, mut texts, mut done) = (Vec::new(), Vec::new(), Vec::new());
    let (mut count, mut is_over) = (0, false);
    loop {
        let event = reader.read_event().map_err(|_| FindmeError::Malformed(reader.error_position()))?;
        match event {
            Event::Start(_) | Event::Empty(_) if is_over => return Err(FindmeError::Unsupported),
            Event::Start(_) | Event::Empty(_) if count == ELEMENTS_MAX => return Err(FindmeError::TooMany),
            Event::Start(ref tag) | Event::Empty(ref tag) => {
                count += 1;
                path.push(String::from_utf8_lossy(tag.name().as_ref()).into_owned());
                texts.push(String::new());
                if matches!(event, Event::Empty(_)) {
                    end(&mut path, &mut texts, &mut done);
                }
            }
            Event::End(_) => end(&mut path, &mut texts, &mut done),
            Event::Text(text) => append(&mut texts, &String::from_utf8_lossy(&text)),
            Event::CData(text) => append(&mut texts, &String::from_utf8_lossy(&text)),
            Event::GeneralRef(name) => append(&mut texts, &resolved(&name)?),
            Event::Comment(_) => {}
            Event::Decl(_) if count == 0 => {}
            Event::Decl(_) | Event::PI(_) | Event::DocType(_) => return Err(FindmeError::Unsupported),
            Event::Eof if path.is_empty() && count > 0 => return Ok(done),
            Event::Eof => return Err(FindmeError::Malformed(reader.buffer_position())),
        }
        is_over = count > 0 && path.is_empty();
    }
}

fn end(path: &mut Vec<String>, texts: &mut Vec<String>, done: &mut Vec<Element>) {
    let text = texts.pop().unwrap_or_default();
    if path.len() <= 3 {
        done.push(Element { path: path.clone(), text: text.trim().to_owned() });
    }
    path.pop();
}

/// Appends to the innermost element what fits, without control characters.
fn append(texts: &mut [String], text: &str) {
    let Some(last) = texts.last_mut() else { return };
    for c in text.chars() {
        if last.len() + c.len_utf8() > TEXT_BYTES_MAX {
            return;
        }
        match c {
            '\n' | '\t' | '\r' => last.push(' '),
            c if c.is_control() => {}
            c => last.push(c),
        }
    }
}

fn resolved(name: &BytesRef<'_>) -> Result<String, FindmeError> {
    if let Ok(Some(character)) = name.resolve_char_ref() {
        return Ok(character.to_string());
    }
    let name = String::from_utf8_lossy(name);
    resolve_predefined_entity(&name).map(str::to_owned).ok_or(FindmeError::Unsupported)
}

#[derive(Default)]
struct Builder {
    command: String,
    packet: Packet,
}

/// The elements of a `nic`.
#[derive(Default)]
struct NicParts {
    mac: Option<MacAddr>,
    nic: Option<Nic>,
    neighbour: Neighbour,
}

impl NicParts {
    fn take(&mut self, name: &str, text: String) {
        if name == "hwaddr" {
            self.mac = usable_mac(&text);
            return;
        }
        let nic = self.nic.get_or_insert_with(|| Nic::new(MacAddr([0; 6])));
        match name {
            "devname" => nic.device = text,
            "driver" => nic.driver = text,
            "ip4address" => nic.address = text,
            "pcidev" => nic.pci = text,
            "location" => nic.location = text,
            "onboardeth" => nic.onboard = text,
            "firmdesc" => nic.firmware = text,
            "link" => nic.link = text,
            "switchname" => self.neighbour.name = text,
            "switchdesc" => self.neighbour.description = text,
            "switchport" => self.neighbour.port = text,
            "switchportname" => self.neighbour.port_name = text,
            "switchaddr" if self.neighbour.addresses.len() < NEIGHBOUR_ADDRESSES_MAX => {
                self.neighbour.addresses.extend(text.parse::<IpAddr>());
            }
            _ => {}
        }
    }
}

impl Builder {
    fn take(&mut self, name: &str, text: String) {
        let machine = &mut self.packet.machine;
        match name {
            "command" => self.command = text,
            "sequential" => self.packet.is_sequential = text == "1",
            "arch" => machine.arch = text,
            "nodetype" => {
                machine.kind = match text.as_str() {
                    "virtual" => Kind::Virtual,
                    "switch" => Kind::Switch,
                    _ => Kind::Physical,
                }
            }
            "cpucount" => machine.cpucount = text,
            "cputype" => machine.cputype = text,
            "memory" => machine.memory = text,
            "disksize" => machine.disksize = text,
            "uuid" => machine.uuid = text.to_ascii_lowercase(),
            "mtm" => machine.mtm = text,
            "serial" => machine.serial = text,
            "platform" => machine.platform = text,
            "bmc" => machine.bmc = text.parse().ok(),
            "bmcmac" => machine.bmc_mac = usable_mac(&text),
            "bmcinband" => machine.has_inband_bmc = text == "1",
            "mac" => self.add_mac(&text),
            "pci" if machine.pci.len() < PCI_DEVICES_MAX && text.len() <= PCI_BYTES_MAX => {
                machine.pci.push(text)
            }
            "pci" => {}
            "xcatpubkey" => machine.public_key = text,
            _ if machine.other.len() < OTHER_ELEMENTS_MAX => machine.other.push((name.to_owned(), text)),
            _ => {}
        }
    }

    /// `driver|device|MAC|address`; the address may be missing.
    fn add_mac(&mut self, text: &str) {
        let mut parts = text.split('|');
        let (driver, device) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let Some(mac) = parts.next().and_then(usable_mac).filter(|_| device != "usb0") else { return };
        let address = parts.next().unwrap_or_default();
        let nic = Nic {
            driver: driver.to_owned(),
            device: device.to_owned(),
            address: address.to_owned(),
            ..Nic::new(mac)
        };
        self.merge(nic);
    }

    fn add_nic(&mut self, parts: NicParts) {
        let (Some(mac), Some(nic)) = (parts.mac, parts.nic) else { return };
        if nic.device == "usb0" {
            return;
        }
        let neighbour = Some(parts.neighbour).filter(|found| *found != Neighbour::default());
        self.merge(Nic { mac, neighbour, ..nic });
    }

    /// The two elements of an interface are one.
    fn merge(&mut self, new: Nic) {
        let nics = &mut self.packet.machine.nics;
        let Some(old) = nics.iter_mut().find(|old| old.mac == new.mac) else {
            if nics.len() < NICS_MAX {
                nics.push(new);
            }
            return;
        };
        let fill = |to: &mut String, from: String| {
            if to.is_empty() {
                *to = from;
            }
        };
        fill(&mut old.device, new.device);
        fill(&mut old.driver, new.driver);
        fill(&mut old.address, new.address);
        fill(&mut old.pci, new.pci);
        fill(&mut old.location, new.location);
        fill(&mut old.onboard, new.onboard);
        fill(&mut old.firmware, new.firmware);
        fill(&mut old.link, new.link);
        old.neighbour = old.neighbour.take().or(new.neighbour);
    }
}

/// An address that can be one machine's: neither zero nor a group's.
fn usable_mac(text: &str) -> Option<MacAddr> {
    let mac: MacAddr = text.trim().parse().ok()?;
    let [first, ..] = mac.0;
    (first & 1 == 0 && mac.0 != [0; 6]).then_some(mac)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const PACKET: &str = "<xcatrequest>
<command>findme</command>
<sequential>1</sequential>
<arch>x86_64</arch>
<cpucount>32</cpucount>
<cputype>Intel(R) &amp; friends</cputype>
<uuid>03020100-0504-0706-0809-0A0B0C0D0E0F</uuid>
<mtm>8335GTA</mtm>
<serial>10ABCDE</serial>
<bmc>10.2.0.7</bmc>
<bmcmac>aa:bb:cc:00:11:22</bmcmac>
<bmcinband>1</bmcinband>
<mac>i40e|eno1|AA:BB:CC:DD:EE:00|10.1.255.17/16</mac>
<nic>
  <devname>eno1</devname>
  <hwaddr>AA:BB:CC:DD:EE:00</hwaddr>
  <pcidev>0000:18:00.0</pcidev>
  <switchname>sw1</switchname>
  <switchaddr>10.3.0.1</switchaddr>
  <switchaddr>fe80::1</switchaddr>
  <switchport>swp7</switchport>
</nic>
<mac>i40e|eno2|AA:BB:CC:DD:EE:02|</mac>
<mac>cdc|usb0|AA:BB:CC:DD:EE:04|</mac>
<mac>ib|ib0|80:00:00:00:fe:80:00:00:00:00:00:00:00:00:00:00:00:00:00:01|</mac>
<mac>x|y|ff:ff:ff:ff:ff:ff|</mac>
<sha512sig>
c2ln
bmF0
</sha512sig>
</xcatrequest>";

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn a_whole_packet() {
        let packet = parse(&gzip(PACKET.as_bytes())).unwrap();
        assert_eq!(packet, parse(PACKET.as_bytes()).unwrap());
        let machine = &packet.machine;
        assert!(packet.is_sequential && machine.has_inband_bmc);
        assert_eq!((machine.kind, machine.cputype.as_str()), (Kind::Physical, "Intel(R) & friends"));
        assert_eq!(machine.uuid, "03020100-0504-0706-0809-0a0b0c0d0e0f");
        let macs: Vec<String> = machine.macs().map(|mac| mac.to_string()).collect();
        assert_eq!(macs, ["aa:bb:cc:dd:ee:00", "aa:bb:cc:dd:ee:02"]);
        let nic = &machine.nics[0];
        assert_eq!((nic.pci.as_str(), nic.address.as_str()), ("0000:18:00.0", "10.1.255.17/16"));
        let neighbour = nic.neighbour.as_ref().unwrap();
        assert_eq!((neighbour.name.as_str(), neighbour.port.as_str()), ("sw1", "swp7"));
        assert_eq!(neighbour.addresses.len(), 2);
        assert_eq!(packet.machine.other, [("sha512sig".to_owned(), "c2ln bmF0".to_owned())]);
    }

    #[test]
    fn what_is_refused() {
        let bomb = gzip(&vec![b' '; XML_BYTES_MAX * 40]);
        assert!(bomb.len() < PACKET_BYTES_MAX);
        let many = format!("<xcatrequest>{}</xcatrequest>", "<a/>".repeat(ELEMENTS_MAX));
        for (bytes, error) in [
            (&b""[..], FindmeError::Malformed(0)),
            (&[0x1f, 0x8b, 1, 2, 3], FindmeError::Compression),
            (&bomb, FindmeError::TooLarge(XML_BYTES_MAX)),
            (&vec![b'x'; PACKET_BYTES_MAX + 1], FindmeError::TooLarge(PACKET_BYTES_MAX)),
            (many.as_bytes(), FindmeError::TooMany),
            (b"<xcatrequest><command>getdestiny</command></xcatrequest>", FindmeError::OtherCommand),
            (b"<other><command>findme</command></other>", FindmeError::OtherCommand),
            (b"<!DOCTYPE a [<!ENTITY x 'y'>]><xcatrequest>&x;</xcatrequest>", FindmeError::Unsupported),
            (b"<xcatrequest><command>&x;</command></xcatrequest>", FindmeError::Unsupported),
            (b"<xcatrequest/><xcatrequest/>", FindmeError::Unsupported),
        ] {
            assert_eq!(
                parse(bytes),
                Err(error),
                "{:?}",
                String::from_utf8_lossy(&bytes[..bytes.len().min(60)])
            );
        }
        assert!(matches!(parse(b"<xcatrequest><command>"), Err(FindmeError::Malformed(_))));
    }

    #[test]
    fn texts_are_cut_and_cleaned() {
        let xml = format!(
            "<xcatrequest><command>findme</command><memory>&#27;[31m1&#7;GB</memory><serial>{}</serial></xcatrequest>",
            "é".repeat(TEXT_BYTES_MAX)
        );
        let machine = parse(xml.as_bytes()).unwrap().machine;
        assert_eq!(machine.memory, "[31m1GB");
        assert_eq!(machine.serial.len(), TEXT_BYTES_MAX);
    }
}
