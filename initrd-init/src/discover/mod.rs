//! The discovery system: a machine without a root asks what it is to do, says what it is while no node is
//! known for it, and carries out the tasks of its chain.
//!
//! Each round begins with a lease. A server that knows the address answers on its status port; then the
//! machine is a node and does what its chain says ([`task`]). Otherwise it sends its packet ([`packet`]) with
//! what [`facts`] and [`lldp`] found, until the server says `restart` ([`ear`]), also by HTTPS ([`post`])
//! while the server does not answer to datagrams. The server pushes, so the
//! pauses may be long; each has some chance in it, so that a rack that was switched on together does not ask
//! together.

mod bmc;
mod ear;
mod facts;
mod kexec;
mod lldp;
mod packet;
mod pause;
mod post;
mod program;
mod run_image;
mod task;
mod unheard;

pub(crate) use lldp::parse as parse_lldp;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use dawn_wire::status::port;

use crate::cmdline::Cmdline;
use crate::dhcp::Lease;
use crate::error::Result;
use crate::log;
use crate::modules::Loader;
use crate::network;
use crate::nic::{self, Nic};
use crate::resolve::resolve;
use crate::status::{self, Destiny, Question};
use crate::sys;
use ear::{Ear, Word};
use lldp::Listener;
use pause::Pauses;
use post::Post;
use unheard::Unheard;

/// The port that packets are sent from; servers take them from privileged ports only (xCAT uses this one).
const SOURCE_PORT: u16 = 301;
/// First pause between two packets, in seconds.
const SEND_SECONDS_MIN: u64 = 5;
/// Longest pause between two packets, in seconds.
const SEND_SECONDS_MAX: u64 = 60;
/// Packets by datagram without a word of the server, after which they are sent by HTTPS, too.
const UNANSWERED_DATAGRAMS: u32 = 2;
/// Time after which a machine that is still unknown asks for a lease again, in seconds.
const ROUND_SECONDS_MAX: u64 = 300;
/// Pause after `processing`: the server works on the packet, in seconds.
const PROCESSING_SECONDS: u64 = 60;

/// Whether the kernel line asks for the discovery system.
pub(crate) fn is_meant(line: &Cmdline) -> bool {
    line.discovery_server.is_some()
}

/// Asks and obeys until a task takes the machine away.
pub(crate) fn run(line: &Cmdline, loader: &mut Loader) -> Result<std::convert::Infallible> {
    facts::load_drivers(loader);
    let lldp = Listener::start();
    let ear = Ear::open();
    if let Err(cause) = &ear {
        log::problem(&format!("cannot listen on port {}: {cause}; the server cannot push", port::XCATD));
    }
    let mut ear = ear.ok();
    let post = Post::with_authority().unwrap_or_else(|cause| {
        log::problem(&format!("{cause}; this machine is not described to the server by HTTPS"));
        None
    });
    let mut unheard = Unheard::default();
    let mut pauses = Pauses::new(SEND_SECONDS_MIN, SEND_SECONDS_MAX);
    let mut has_had_lease = false;
    loop {
        let (nic, lease) = match network::bring_up(line, loader) {
            Ok(found) => found,
            // A server that is away; what was done here is not forgotten for that.
            Err(error) if has_had_lease => {
                log::problem(&error.to_string());
                sys::pause(pauses.next());
                continue;
            }
            Err(error) => return Err(error),
        };
        has_had_lease = true;
        bring_up_others(&nic);
        let session = Session::open(line, nic, lease)?;
        if let Some(ear) = &mut ear {
            ear.listen_to(session.server);
        }
        unheard.report(&|text| session.report_failure(text));
        let asked = unheard.ask(&|question| session.destiny(question));
        if asked.is_ok() {
            pauses = Pauses::new(SEND_SECONDS_MIN, SEND_SECONDS_MAX);
        }
        match asked {
            Ok(Destiny::Task(text, boot)) => {
                task::obey(&session, (text, boot), ear.as_ref(), &mut unheard);
            }
            Ok(Destiny::Unknown) => {
                unheard.release();
                session.make_known(&lldp, ear.as_ref(), post.as_ref());
            }
            Err(cause) => {
                log::problem(&format!("{}: {cause}; asking again", session.server));
                sys::pause(pauses.next());
            }
        }
    }
}

/// Switches are heard, and links seen, on interfaces that are up.
fn bring_up_others(boot: &Nic) {
    for other in nic::present().iter().filter(|other| other.name != boot.name) {
        if let Err(error) = other.up() {
            log::debug(&error.to_string());
        }
    }
}

/// One lease, and the server that it was got for.
struct Session {
    nic: Nic,
    lease: Lease,
    server: Ipv4Addr,
    status_port: u16,
}

impl Session {
    fn open(line: &Cmdline, nic: Nic, lease: Lease) -> Result<Self> {
        let host = line.discovery_server.as_deref().unwrap_or_default();
        let server = resolve(host, &lease)?;
        Ok(Self { nic, lease, server, status_port: line.status_port })
    }

    /// What the server wants of this machine.
    fn destiny(&self, question: Question<'_>) -> io::Result<Destiny> {
        status::destiny(self.server, self.status_port, question)
    }

    /// Reports what went wrong. Whether the server has heard it.
    fn report(&self, text: &str) -> bool {
        status::report_trouble(self.server, self.status_port, text)
    }

    /// Reports that a step failed. Whether the server has heard it.
    fn report_failure(&self, text: &str) -> bool {
        status::report_failure(self.server, self.status_port, text)
    }

    /// Reports the output of a step that is done.
    fn report_done(&self, text: &str) {
        status::report_done(self.server, self.status_port, text);
    }

    /// Sends packets until the server says that the machine is a node now, or the round is over.
    fn make_known(&self, lldp: &Listener, ear: Option<&Ear>, post: Option<&Post>) {
        log::step(&format!(
            "no node is known for this machine ({}); sending its description to {}",
            crate::cmdline::mac_text(&self.nic.mac),
            self.server
        ));
        let machine = facts::collect();
        for line in machine.summary() {
            log::step(&line);
        }
        let end = Instant::now() + Duration::from_secs(ROUND_SECONDS_MAX);
        let mut pauses = Pauses::new(SEND_SECONDS_MIN, SEND_SECONDS_MAX);
        let (mut said, mut sent, mut is_heard) = (0, 0, false);
        while Instant::now() < end {
            let neighbours = lldp.heard();
            if neighbours.len() != said {
                said = neighbours.len();
                neighbours.iter().for_each(|(name, neighbour)| log::step(&neighbour.line(name)));
            }
            let bytes = packet::encode(&machine, &self.own(), &neighbours);
            if let Err(cause) = self.send(&bytes) {
                log::problem(&format!("cannot send to {}: {cause}", self.server));
            }
            if let Some(post) = post.filter(|_| sent >= UNANSWERED_DATAGRAMS && !is_heard) {
                self.post(post, &bytes);
            }
            sent += 1;
            let mut wait = pauses.next();
            while let Some(word) = pause::for_word(ear, wait) {
                is_heard = true;
                match word {
                    Word::Restart => {
                        log::step("the server knows this machine now");
                        return;
                    }
                    Word::Processing => wait = Duration::from_secs(PROCESSING_SECONDS),
                    Word::Processed => {
                        log::step("the server found no node for this machine; waiting for its administrator");
                        wait = Duration::from_secs(SEND_SECONDS_MAX);
                    }
                }
            }
        }
    }

    /// The interface with the lease, as the packet names it.
    fn own(&self) -> packet::Own<'_> {
        packet::Own { nic: &self.nic.name, address: self.lease.address, prefix: self.lease.prefix }
    }

    fn send(&self, bytes: &[u8]) -> io::Result<()> {
        let socket = UdpSocket::bind((self.lease.address, SOURCE_PORT))?;
        socket.send_to(bytes, SocketAddr::from((self.server, port::XCATD))).map(drop)
    }

    /// Sends the packet by HTTPS, too: datagrams may be lost on this way.
    fn post(&self, post: &Post, bytes: &[u8]) {
        match post.send(self.lease.address, self.server, bytes) {
            Ok(()) => log::step("the server does not answer; it has the description by HTTPS"),
            Err(cause) => log::problem(&format!("cannot send to {} by HTTPS: {cause}", self.server)),
        }
    }

    fn resolve(&self, host: &str) -> Result<Ipv4Addr> {
        resolve(host, &self.lease)
    }
}
