//! Packets as clients send them, from words: `discover mac=… arch=7 vendor=PXEClient…`.

use std::net::Ipv4Addr;

use dawn_dhcp::HwAddr;

/// What is wrong with a line of a conversation.
pub(crate) type Problem = Box<dyn std::error::Error>;

/// A request under construction.
#[derive(Debug, Clone, Default)]
pub(crate) struct Request {
    pub kind: Option<u8>,
    pub mac: Vec<u8>,
    pub htype: u8,
    pub xid: u32,
    pub flags: u16,
    pub ciaddr: Option<Ipv4Addr>,
    pub giaddr: Option<Ipv4Addr>,
    pub options: Vec<(u8, Vec<u8>)>,
}

/// How a packet travelled.
#[derive(Debug, Clone)]
pub(crate) struct Travel {
    pub interface: u32,
    pub local: Ipv4Addr,
    pub port: u16,
    pub source: Ipv4Addr,
    pub source_port: u16,
}

impl Request {
    pub(crate) fn new(kind: u8, mac: &[u8]) -> Self {
        Self { kind: (kind != 0).then_some(kind), mac: mac.to_vec(), htype: 1, ..Self::default() }
    }

    pub(crate) fn option(mut self, code: u8, value: &[u8]) -> Self {
        self.options.push((code, value.to_vec()));
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut out = vec![1, self.htype, self.mac.len() as u8, u8::from(self.giaddr.is_some())];
        out.extend(self.xid.to_be_bytes());
        out.extend([0, 0]);
        out.extend(self.flags.to_be_bytes());
        let zero = Ipv4Addr::UNSPECIFIED;
        for address in [self.ciaddr.unwrap_or(zero), zero, zero, self.giaddr.unwrap_or(zero)] {
            out.extend(address.octets());
        }
        let mut chaddr = self.mac.clone();
        chaddr.resize(16, 0);
        out.extend(chaddr);
        out.extend([0; 192]);
        out.extend([99, 130, 83, 99]);
        if let Some(kind) = self.kind {
            out.extend([53, 1, kind]);
        }
        for (code, value) in &self.options {
            for piece in value.chunks(255) {
                out.push(*code);
                out.push(piece.len() as u8);
                out.extend(piece);
            }
        }
        out.push(255);
        out.resize(out.len().max(300), 0);
        out
    }

    /// Reads `kind word=value…`.
    pub(crate) fn parse(line: &str) -> Result<(Self, Travel), Problem> {
        let mut words = line.split_whitespace();
        let kind = match words.next() {
            Some("bootp") => 0,
            Some("discover") => 1,
            Some("request") => 3,
            Some("decline") => 4,
            Some("release") => 7,
            Some("inform") => 8,
            other => return Err(format!("what is {other:?}?").into()),
        };
        let mut request = Self::new(kind, &[]);
        let mut travel = Travel {
            interface: 2,
            local: Ipv4Addr::BROADCAST,
            port: 67,
            source: Ipv4Addr::UNSPECIFIED,
            source_port: 68,
        };
        for word in words {
            let (name, value) = word.split_once('=').unwrap_or((word, ""));
            request.word(&mut travel, name, value).map_err(|error| format!("{word}: {error}"))?;
        }
        if request.mac.is_empty() && request.htype == 1 {
            return Err("no mac".into());
        }
        Ok((request, travel))
    }

    fn word(&mut self, travel: &mut Travel, name: &str, value: &str) -> Result<(), Problem> {
        let ip = || value.parse::<Ipv4Addr>();
        match name {
            "mac" => {
                let hw: HwAddr = value.parse().map_err(|_| "not a MAC")?;
                self.mac = hw.bytes().to_vec();
            }
            "htype" => self.htype = number(value)? as u8,
            "xid" => self.xid = number(value)?,
            "broadcast" => self.flags |= 0x8000,
            "ciaddr" => self.ciaddr = Some(ip()?),
            "giaddr" => {
                self.giaddr = Some(ip()?);
                (travel.source, travel.source_port) = (ip()?, 67);
            }
            "on" => travel.interface = number(value)?,
            "to" => travel.local = ip()?,
            "port" => travel.port = number(value)? as u16,
            "from" => travel.source = ip()?,
            "from-port" => travel.source_port = number(value)? as u16,
            _ => return self.option_word(name, value),
        }
        Ok(())
    }

    fn option_word(&mut self, name: &str, value: &str) -> Result<(), Problem> {
        let ip = || value.parse::<Ipv4Addr>().map(|ip| ip.octets().to_vec());
        let (code, bytes) = match name {
            "ask" => (50, ip()?),
            "server" => (54, ip()?),
            "name" => (12, value.as_bytes().to_vec()),
            "want" => (
                55,
                value.split(',').map(number).map(|n| n.map(|n| n as u8)).collect::<Result<_, Problem>>()?,
            ),
            "max" => (57, (number(value)? as u16).to_be_bytes().to_vec()),
            "vendor" => (60, value.as_bytes().to_vec()),
            "id" => (61, hex(value)?),
            "user" => (77, value.as_bytes().to_vec()),
            "user-counted" => (77, [&[value.len() as u8], value.as_bytes()].concat()),
            "agent" => (82, hex(value)?),
            "arch" => (93, (number(value)? as u16).to_be_bytes().to_vec()),
            "ndi" => (94, vec![1, 2, 1]),
            "uuid" => (97, [&[0][..], &hex(value)?].concat()),
            "subnet" => (118, ip()?),
            "ipxe" => (175, vec![0xb1, 5, 1, 0x80, 0x86, 0x10, 0x0e]),
            _ => (number(name)? as u8, hex(value)?),
        };
        self.options.push((code, bytes));
        Ok(())
    }
}

pub(crate) fn number(text: &str) -> Result<u32, Problem> {
    text.parse().map_err(|_| format!("{text:?} is not a number").into())
}

pub(crate) fn hex(text: &str) -> Result<Vec<u8>, Problem> {
    let digits: String = text.chars().filter(|c| *c != ':').collect();
    let pairs = digits.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap_or("?"));
    pairs
        .map(|pair| u8::from_str_radix(pair, 16).map_err(|_| format!("{text:?} is not hex").into()))
        .collect()
}
