//! One machine of the storm: firmware, loader and system as DHCP clients with their real patience, and the
//! firmware's TFTP.

use std::net::Ipv4Addr;
use std::time::Duration;

use dawn_tftp::client::{Client as TftpClient, Habit, State, Wish};
use dawn_tftp::outbox::PortId;
use dhcproto::{Decodable, Decoder, v4};

use super::client::Request;
use super::http::{Download, Wanted};
use super::storm::Random;

/// What runs on the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    Off,
    Firmware,
    Tftp,
    Loader,
    Http,
    System,
    Up,
}

impl Program {
    /// Waits for an answer in milliseconds, one after the other; then it gives up.
    fn patience_ms(self) -> &'static [u64] {
        match self {
            // PXE 2.1 §2.3.
            Self::Firmware => &[4000, 8000, 16_000, 32_000],
            Self::Loader => &[1000, 2000, 4000, 8000, 10_000],
            _ => &[4000, 8000, 16_000, 32_000, 64_000],
        }
    }
}

/// Actions that a machine asks for.
pub(crate) enum Action {
    Dhcp(Vec<u8>),
    Tftp(PortId, Vec<u8>),
    /// Connect, and send this request.
    Http(Vec<u8>),
    WakeAt(u64),
    StartedOver,
}

/// A machine.
#[derive(Debug)]
pub(crate) struct Machine {
    pub number: u32,
    pub known: bool,
    pub program: Program,
    pub address: Ipv4Addr,
    pub powered_us: u64,
    uefi: bool,
    xid: u32,
    tries: usize,
    /// Address and server of the offer taken.
    offer: Option<(Ipv4Addr, Ipv4Addr)>,
    wake_us: u64,
    tftp: Option<TftpClient>,
    tftp_port: PortId,
    download: Option<Download>,
    /// Paths of kernel and initramfs, from the script.
    files: Vec<String>,
    script_path: String,
}

/// Our scripts try again after ten seconds.
const SCRIPT_RETRY_US: u64 = 10_000_000;

impl Machine {
    pub(crate) fn new(number: u32, known: bool, uefi: bool) -> Self {
        Self {
            number,
            known,
            program: Program::Off,
            address: Ipv4Addr::UNSPECIFIED,
            powered_us: 0,
            uefi,
            xid: 0,
            tries: 0,
            offer: None,
            wake_us: 0,
            tftp: None,
            tftp_port: PortId::LISTEN,
            download: None,
            files: Vec::new(),
            script_path: String::new(),
        }
    }

    /// The number is in the last four bytes.
    pub(crate) fn mac(&self) -> [u8; 6] {
        let [a, b, c, d] = self.number.to_be_bytes();
        [2, 0, a, b, c, d]
    }

    pub(crate) fn power(&mut self, now_us: u64, random: &mut Random) -> Vec<Action> {
        self.powered_us = now_us;
        self.begin(Program::Firmware, now_us, random)
    }

    fn begin(&mut self, program: Program, now_us: u64, random: &mut Random) -> Vec<Action> {
        (self.program, self.tries, self.offer, self.tftp) = (program, 0, None, None);
        self.download = None;
        self.xid = u32::try_from(random.below(1 << 32)).unwrap_or(0);
        self.ask(now_us, random)
    }

    /// Sends DISCOVER or REQUEST and waits for the answer.
    fn ask(&mut self, now_us: u64, random: &mut Random) -> Vec<Action> {
        let Some(wait_ms) = self.program.patience_ms().get(self.tries).copied() else {
            // No server answered: the firmware tries its other devices and comes back; a loader or system
            // starts over.
            self.wake_us = now_us + 5_000_000;
            (self.program, self.tries) = (Program::Off, 0);
            return vec![Action::StartedOver, Action::WakeAt(self.wake_us)];
        };
        self.tries += 1;
        let jitter = random.below(1000) * 1000;
        self.wake_us = now_us + wait_ms * 1000 + jitter;
        vec![Action::Dhcp(self.request()), Action::WakeAt(self.wake_us)]
    }

    fn request(&self) -> Vec<u8> {
        let kind = if self.offer.is_some() { 3 } else { 1 };
        let mut request = Request { xid: self.xid, ..Request::new(kind, &self.mac()) };
        if let Some((address, server)) = self.offer {
            request = request.option(50, &address.octets()).option(54, &server.octets());
        }
        let arch: &[u8] = if self.uefi { &[0, 7] } else { &[0, 0] };
        let firmware = |request: Request| {
            request
                .option(60, b"PXEClient:Arch:00000:UNDI:002001")
                .option(93, arch)
                .option(55, &[1, 3, 66, 67])
        };
        match self.program {
            Program::Firmware => firmware(request).option(61, &[0, 1, 2, 3]),
            Program::Loader => firmware(request).option(77, b"iPXE").option(61, &[1, 9]),
            _ => request.option(55, &[1, 3, 6, 12, 15]).option(61, &[0xff, 4, 5]),
        }
        .bytes()
    }

    pub(crate) fn timer(&mut self, now_us: u64, random: &mut Random) -> Vec<Action> {
        if now_us < self.wake_us {
            return Vec::new();
        }
        match self.program {
            Program::Off => self.begin(Program::Firmware, now_us, random),
            Program::Up => Vec::new(),
            Program::Tftp => self.tftp_timer(now_us, random),
            // Only a script's pause has a timer; a connection has the kernel's.
            Program::Http if self.download.is_none() => self.http_get(Wanted::Kernel),
            Program::Http => Vec::new(),
            _ => {
                // After two REQUESTs without an answer the client goes back to DISCOVER.
                if self.tries > 2 {
                    self.offer = None;
                }
                self.ask(now_us, random)
            }
        }
    }

    pub(crate) fn dhcp_packet(&mut self, now_us: u64, bytes: &[u8], random: &mut Random) -> Vec<Action> {
        let Ok(message) = v4::Message::decode(&mut Decoder::new(bytes)) else { return Vec::new() };
        let asking = matches!(self.program, Program::Firmware | Program::Loader | Program::System);
        if !asking || message.xid() != self.xid {
            return Vec::new();
        }
        let server = match message.opts().get(v4::OptionCode::ServerIdentifier) {
            Some(v4::DhcpOption::ServerIdentifier(server)) => *server,
            _ => return Vec::new(),
        };
        match (message.opts().msg_type(), self.offer) {
            (Some(v4::MessageType::Offer), None) => {
                self.offer = Some((message.yiaddr(), server));
                self.tries = 0;
                self.ask(now_us, random)
            }
            (Some(v4::MessageType::Ack), Some(_)) => {
                self.address = message.yiaddr();
                self.acknowledged(message.fname().unwrap_or(b""), now_us)
            }
            (Some(v4::MessageType::Nak), Some(_)) => self.begin(self.program, now_us, random),
            _ => Vec::new(),
        }
    }

    fn acknowledged(&mut self, file: &[u8], now_us: u64) -> Vec<Action> {
        let file = String::from_utf8_lossy(file).trim_end_matches('\0').to_owned();
        match self.program {
            Program::Firmware => {
                let loader = if self.uefi { "snponly.efi" } else { "undionly.kpxe" };
                assert_eq!(file, loader, "machine {}", self.number);
                self.fetch(file, now_us)
            }
            Program::Loader => {
                let script =
                    if self.known { format!("nodes/cn{}", self.number) } else { "nets/10.0.0.0_8".into() };
                let suffix = if self.uefi { ".uefi" } else { "" };
                assert_eq!(file, format!("http://10.0.0.1/tftpboot/xcat/xnba/{script}{suffix}"));
                self.program = Program::Http;
                self.script_path = file.trim_start_matches("http://10.0.0.1/").to_owned();
                self.http_get(Wanted::Script)
            }
            _ => {
                assert_eq!(file, "", "a system has nothing to load");
                self.program = Program::Up;
                Vec::new()
            }
        }
    }

    fn http_get(&mut self, wanted: Wanted) -> Vec<Action> {
        let path = match wanted {
            Wanted::Script => &self.script_path,
            Wanted::Kernel => &self.files[0],
            Wanted::Initrd => &self.files[1],
        };
        let request = Download::request(path);
        self.download = Some(Download::new(wanted));
        vec![Action::Http(request)]
    }

    /// Something came on the connection: `text` and then `body` bytes.
    pub(crate) fn http_data(
        &mut self,
        now_us: u64,
        text: &[u8],
        body: u64,
        random: &mut Random,
    ) -> Vec<Action> {
        let Some(download) = &mut self.download else { return Vec::new() };
        if !text.is_empty() {
            download.text(text);
        }
        download.body(body);
        if !download.is_complete() {
            return Vec::new();
        }
        match download.wanted {
            Wanted::Script => {
                self.files = download.script().lines().map(str::to_owned).collect();
                assert_eq!(self.files.len(), 2, "machine {}", self.number);
                self.http_get(Wanted::Kernel)
            }
            Wanted::Kernel => self.http_get(Wanted::Initrd),
            Wanted::Initrd => self.begin(Program::System, now_us, random),
        }
    }

    /// The connection was refused or reset. Without its script a loader gives up; a script tries again.
    pub(crate) fn http_failed(&mut self, now_us: u64) -> Vec<Action> {
        let Some(download) = self.download.take() else { return Vec::new() };
        if download.wanted == Wanted::Script {
            self.program = Program::Off;
            self.wake_us = now_us + 5_000_000;
            return vec![Action::StartedOver, Action::WakeAt(self.wake_us)];
        }
        self.wake_us = now_us + SCRIPT_RETRY_US;
        vec![Action::WakeAt(self.wake_us)]
    }

    fn fetch(&mut self, name: String, now_us: u64) -> Vec<Action> {
        let wish = Wish {
            name,
            options: vec![("tsize", 0), ("blksize", 1456)],
            habit: if self.uefi { Habit::Everything } else { Habit::Same },
            patience: Duration::from_secs(4),
            repeats_max: 6,
        };
        let (client, request) = TftpClient::new(Duration::from_micros(now_us), wish);
        (self.program, self.tftp, self.tftp_port) = (Program::Tftp, Some(client), PortId::LISTEN);
        let mut actions = vec![Action::Tftp(PortId::LISTEN, request)];
        self.wake_for_tftp(&mut actions);
        actions
    }

    pub(crate) fn tftp_packet(
        &mut self,
        now_us: u64,
        port: PortId,
        bytes: &[u8],
        random: &mut Random,
    ) -> Vec<Action> {
        if self.program != Program::Tftp {
            return Vec::new();
        }
        let Some(client) = &mut self.tftp else { return Vec::new() };
        let packet = client.on_packet(Duration::from_micros(now_us), port, bytes);
        let mut actions = Vec::new();
        if let Some(packet) = packet {
            self.tftp_port = port;
            actions.push(Action::Tftp(port, packet));
        }
        actions.extend(self.after_tftp(now_us, random));
        actions
    }

    fn tftp_timer(&mut self, now_us: u64, random: &mut Random) -> Vec<Action> {
        let Some(client) = &mut self.tftp else { return Vec::new() };
        let mut actions = Vec::new();
        if let Some(packet) = client.on_timer(Duration::from_micros(now_us)) {
            let asks = packet.starts_with(&[0, 1]);
            actions.push(Action::Tftp(if asks { PortId::LISTEN } else { self.tftp_port }, packet));
        }
        actions.extend(self.after_tftp(now_us, random));
        self.wake_for_tftp(&mut actions);
        actions
    }

    /// The loader starts when it is complete; when the transfer failed, the machine starts over.
    fn after_tftp(&mut self, now_us: u64, random: &mut Random) -> Vec<Action> {
        match self.tftp.as_ref().map(TftpClient::state) {
            Some(State::Done) => self.begin(Program::Loader, now_us, random),
            Some(State::Failed(_)) => {
                (self.program, self.tftp) = (Program::Off, None);
                self.wake_us = now_us + 5_000_000;
                vec![Action::StartedOver, Action::WakeAt(self.wake_us)]
            }
            _ => Vec::new(),
        }
    }

    /// One timer is in the queue during a transfer; it moves with the transfer's deadline.
    fn wake_for_tftp(&mut self, actions: &mut Vec<Action>) {
        let deadline = self.tftp.as_ref().and_then(TftpClient::deadline);
        if let (Program::Tftp, Some(at)) = (self.program, deadline) {
            let at_us = u64::try_from(at.as_micros()).unwrap_or(u64::MAX);
            self.wake_us = 0;
            actions.push(Action::WakeAt(at_us));
        }
    }
}
