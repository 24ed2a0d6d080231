//! Plays a conversation to the engine and writes down what happened.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

use dawn_dhcp::boot::BootRule;
use dawn_dhcp::directory::{Mode, Network, Range, Reservation};
use dawn_dhcp::engine::{Engine, Incoming, Interface, Output, Settings};
use dawn_dhcp::event::Event;
use dawn_dhcp::fixed::FixedDirectory;
use dawn_dhcp::lease::record::Record;
use dawn_dhcp::{HwAddr, Time};

use super::client::{Problem, Request, Travel, hex, number};
use super::show;

/// When every conversation begins.
pub(crate) const START: Time = Time::from_millis(1_700_000_000_000);

#[derive(Default)]
pub(crate) struct Stage {
    settings: Settings,
    interfaces: Vec<Interface>,
    networks: Vec<Network>,
    nodes: Vec<(HwAddr, Reservation)>,
    engine: Option<Engine>,
    now_ms: u64,
    out: Output,
    written: String,
    records: Vec<Record>,
}

impl Stage {
    /// Plays the input lines of `text`; returns the whole text as it should be.
    pub(crate) fn play(text: &str) -> Result<String, Problem> {
        let mut stage = Self::default();
        let output = |line: &&str| !line.starts_with(['<', '!', '?', '+', ' ']);
        for (n, line) in text.lines().enumerate().filter(|(_, line)| output(line)) {
            stage.written += line;
            stage.written.push('\n');
            stage.line(line).map_err(|error| format!("line {}: {error}", n + 1))?;
        }
        Ok(stage.written)
    }

    fn line(&mut self, line: &str) -> Result<(), Problem> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "" | "#" => Ok(()),
            "interface" => self.interface(rest),
            "network" => self.network(rest),
            "node" => self.node(rest),
            "setting" => self.setting(rest),
            ">" => self.packet(rest),
            "broken" => self.broken(rest),
            "counters" => self.counters(),
            "wait" => self.wait(rest),
            "answered" => self.answered(rest),
            "journal" => self.journal(rest),
            "restart" => self.restart(),
            other => Err(format!("what is {other:?}?").into()),
        }
    }

    fn interface(&mut self, text: &str) -> Result<(), Problem> {
        let mut words = text.split_whitespace();
        let index = number(words.next().unwrap_or(""))?;
        let name = words.next().ok_or("no name")?.to_owned();
        let addresses = words.map(cidr).collect::<Result<_, Problem>>()?;
        self.interfaces.push(Interface { index, name, addresses });
        Ok(())
    }

    fn network(&mut self, text: &str) -> Result<(), Problem> {
        let mut words = text.split_whitespace();
        let name = words.next().ok_or("no name")?;
        let (address, prefix) = cidr(words.next().ok_or("no address")?)?;
        let mut network = Network::new(name, address, prefix);
        for word in words {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            let list = || value.split(',').map(ip).collect::<Result<Vec<_>, _>>();
            match key {
                "on" => network.interface = Some(value.into()),
                "routers" => network.routers = list()?,
                "dns" => network.dns = list()?,
                "ntp" => network.ntp = list()?,
                "log" => network.log_servers = list()?,
                "domain" => network.domain = Some(value.into()),
                "search" => network.search = value.split(',').map(str::to_owned).collect(),
                "mtu" => network.mtu = Some(number(value)? as u16),
                "lease" => network.lease_seconds = number(value)?,
                "next" => network.next_server = Some(ip(value)?),
                "range" => {
                    let (first, last) = value.split_once('-').ok_or("FIRST-LAST")?;
                    network.ranges.push(Range::new(ip(first)?, ip(last)?).ok_or("backwards")?);
                }
                "proxy" => network.mode = Mode::Proxy,
                "off" => network.mode = Mode::Off,
                _ => network.options.push((number(key)? as u8, hex(value)?)),
            }
        }
        self.networks.push(network);
        Ok(())
    }

    fn node(&mut self, text: &str) -> Result<(), Problem> {
        let mut words = text.split_whitespace();
        let name = words.next().ok_or("no name")?;
        let hw: HwAddr = words.next().unwrap_or("").parse().map_err(|_| "not a MAC")?;
        let address = match words.next().unwrap_or("-") {
            "-" => None,
            text => Some(ip(text)?),
        };
        let mut reservation = Reservation {
            node: name.into(),
            hostname: name.into(),
            address,
            no_ip: address.is_none(),
            next_server: None,
            boot: BootRule::Xnba { script: format!("nodes/{name}"), uefi: true },
            options: Vec::new(),
        };
        for word in words {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            match key {
                "next" => reservation.next_server = Some(ip(value)?),
                "host" => reservation.hostname = value.into(),
                "unresolved" => reservation.no_ip = false,
                "xnba-bios-only" => {
                    reservation.boot = BootRule::Xnba { script: format!("nodes/{name}"), uefi: false };
                }
                "pxe" => reservation.boot = BootRule::Pxe,
                "grub2" => {
                    let file = format!("/boot/grub2/grub2-{name}");
                    reservation.boot = BootRule::Grub2 { file, suffix: "x86_64".into(), shim: None };
                }
                "petitboot" => reservation.boot = BootRule::Petitboot { config: format!("petitboot/{name}") },
                "onie" => reservation.boot = BootRule::Onie { path: value.into() },
                "disk" => reservation.boot = BootRule::Disk,
                "elsewhere" => reservation.boot = BootRule::ElsewhereByProxy,
                _ => reservation.options.push((number(key)? as u8, hex(value)?)),
            }
        }
        self.nodes.push((hw, reservation));
        Ok(())
    }

    fn setting(&mut self, text: &str) -> Result<(), Problem> {
        match text.split_once(' ').unwrap_or((text, "")) {
            ("probe", "no") => self.settings.probe = false,
            ("http-port", port) => self.settings.http_port = number(port)? as u16,
            ("burst", n) => self.settings.client_burst = number(n)?,
            other => return Err(format!("no setting {other:?}").into()),
        }
        Ok(())
    }

    fn engine(&mut self) -> &mut Engine {
        self.engine.get_or_insert_with(|| {
            let directory = FixedDirectory::new(self.networks.clone(), self.nodes.clone());
            Engine::new(self.settings.clone(), Arc::new(directory), self.interfaces.clone())
        })
    }

    fn now(&self) -> Time {
        START + self.now_ms
    }

    /// `N× discover …` sends the packet N times.
    fn packet(&mut self, text: &str) -> Result<(), Problem> {
        let (times, text) = match text.split_once("× ") {
            Some((times, text)) => (number(times)?, text),
            None => (1, text),
        };
        let (request, travel) = Request::parse(text)?;
        self.arrive(times, &request.bytes(), &travel);
        Ok(())
    }

    /// `broken cut=N discover …` loses the end, `broken N=HEX discover …` has other bytes at N.
    fn broken(&mut self, text: &str) -> Result<(), Problem> {
        let (damage, text) = text.split_once(' ').ok_or("broken DAMAGE PACKET")?;
        let (request, travel) = Request::parse(text)?;
        let mut bytes = request.bytes();
        match damage.split_once('=').ok_or("cut=N or N=HEX")? {
            ("cut", length) => bytes.truncate(number(length)? as usize),
            (at, value) => {
                let (at, value) = (number(at)? as usize, hex(value)?);
                bytes.splice(at..at + value.len(), value);
            }
        }
        self.arrive(1, &bytes, &travel);
        Ok(())
    }

    fn counters(&mut self) -> Result<(), Problem> {
        let counted = self.engine().counters();
        self.written += &format!(
            "! received {}, malformed {}, sent {}\n",
            counted.received, counted.malformed, counted.sent
        );
        Ok(())
    }

    fn arrive(&mut self, times: u32, bytes: &[u8], travel: &Travel) {
        let (now, mut out) = (self.now(), std::mem::take(&mut self.out));
        let incoming = Incoming {
            bytes,
            interface: travel.interface,
            local: travel.local,
            port: travel.port,
            source: SocketAddrV4::new(travel.source, travel.source_port),
        };
        for _ in 0..times {
            self.engine().handle(now, &incoming, &mut out);
        }
        self.out = out;
        self.write();
    }

    fn wait(&mut self, text: &str) -> Result<(), Problem> {
        let ms = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
            (Some(ms), _) => u64::from(number(ms)?),
            (_, Some(s)) => u64::from(number(s)?) * 1000,
            _ => return Err("wait Nms or Ns".into()),
        };
        let end = self.now_ms + ms;
        let mut out = std::mem::take(&mut self.out);
        while let Some(timer) = self.engine().next_timer().filter(|timer| *timer <= START + end) {
            self.now_ms = self.now_ms.max(timer.millis_since(START));
            let now = self.now();
            self.engine().tick(now, &mut out);
        }
        self.now_ms = end;
        self.out = out;
        self.write();
        Ok(())
    }

    /// `answered ADDRESS [MAC]`: someone answered the probe.
    fn answered(&mut self, text: &str) -> Result<(), Problem> {
        let (address, by) = text.split_once(' ').unwrap_or((text, ""));
        let (address, by) = (ip(address)?, by.parse().ok());
        let (now, mut out) = (self.now(), std::mem::take(&mut self.out));
        self.engine().probe_answered(now, address, by, &mut out);
        self.out = out;
        self.write();
        Ok(())
    }

    /// `journal fails` takes the last record back; `journal works`.
    fn journal(&mut self, text: &str) -> Result<(), Problem> {
        let (now, mut out) = (self.now(), std::mem::take(&mut self.out));
        let records: Vec<Record> = self.records.pop().into_iter().collect();
        match text {
            "fails" => self.engine().journal_failed(now, &records, "no space left on device", &mut out),
            "works" => self.engine().journal_recovered(now, &mut out),
            _ => return Err("journal fails, or works".into()),
        }
        self.out = out;
        self.write();
        Ok(())
    }

    /// The daemon starts again with what the journal held.
    fn restart(&mut self) -> Result<(), Problem> {
        self.engine = None;
        let leases: Vec<_> = self
            .records
            .iter()
            .filter_map(|record| match record {
                Record::Lease(lease) => Some(lease.clone()),
                Record::Forget(_) => None,
            })
            .collect();
        self.engine().restore(leases);
        Ok(())
    }

    fn write(&mut self) {
        let out = &mut self.out;
        let mut lines: Vec<String> = out.events.iter().map(event).collect();
        lines.extend(out.probes.iter().map(|probe| {
            format!(
                "? {} {} on {}",
                if probe.routed { "echo" } else { "arp" },
                probe.address,
                probe.interface
            )
        }));
        lines.extend(out.records.iter().map(|record| record_line(record, START + self.now_ms)));
        lines.extend(out.send.iter().map(show::answer));
        self.records.append(&mut out.records);
        out.clear();
        let stamp = format!("{:.3}", self.now_ms as f64 / 1000.0);
        for line in lines {
            // Each line says when, right after its mark.
            let (mark, rest) = line.split_at(1);
            self.written += &format!("{mark} {stamp}{rest}\n");
        }
    }
}

fn event(event: &Event) -> String {
    let mut line = format!("! {}", event.what);
    let words = [
        event.hw.map(|hw| hw.to_string()),
        event.node.as_ref().map(|node| format!("node={node}")),
        event.client.map(|client| client.to_string()),
        event.network.as_ref().map(|network| format!("on={network}")),
        event.address.map(|address| address.to_string()),
        event.file.as_ref().map(|file| format!("file={file}")),
    ];
    for word in words.into_iter().flatten() {
        line += " | ";
        line += &word;
    }
    line
}

fn record_line(record: &Record, now: Time) -> String {
    match record {
        Record::Forget(address) => format!("+ forget {address}"),
        Record::Lease(lease) => {
            let name = lease.node.as_deref().or(lease.hostname.as_deref()).unwrap_or("-");
            let left = lease.expires.seconds_from(now);
            format!("+ {:?} {} {} {left}s {name}", lease.state, lease.address, lease.hw).to_lowercase()
        }
    }
}

fn ip(text: &str) -> Result<Ipv4Addr, Problem> {
    text.parse().map_err(|_| format!("{text:?} is not an address").into())
}

fn cidr(text: &str) -> Result<(Ipv4Addr, u8), Problem> {
    let (address, prefix) = text.split_once('/').ok_or("ADDRESS/PREFIX")?;
    Ok((ip(address)?, number(prefix)? as u8))
}
