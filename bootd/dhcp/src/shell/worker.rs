//! The thread that answers: wait, read a batch, run the engine, send.

use std::io;
use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;

use super::committer::Committer;
use super::interfaces::{self, Found};
use super::ports::{Port, Ports, Senders, identity};
use super::udp::{BATCH_PACKETS, Receiver};
use super::wake::{Batch, CommitError, Verdict, Wake};
use super::{Clock, Config, ServeError, lock, raw};
use crate::engine::{Engine, Incoming, Outgoing, Output, Probe};
use crate::event::Observer;
use crate::lease::journal::Journal;
use crate::time::Time;

/// How often the machine's addresses are read again, in milliseconds.
const INTERFACES_REFRESH_MS: u64 = 5000;
/// Packets that come closer together than this are a crowd, in milliseconds.
const CROWD_MS: u64 = 6;
/// How long a crowd gathers before it is read, in microseconds: a wake-up costs more than a packet, and no
/// client minds.
const GATHER_US: u64 = 4000;
/// Batches read from one socket before the next socket, timers and probes get their turn.
const BATCHES_PER_TURN_MAX: usize = 8;
/// Identifier of our echo requests.
const ECHO_ID: u16 = 0xda37;

/// Starts the worker, and the committer if there is a journal.
pub(super) fn start(
    config: Config,
    ports: Ports,
    engine: Arc<Mutex<Engine>>,
    observer: Arc<dyn Observer>,
    journal: Option<Journal>,
    clock: Clock,
    stopped: watch::Sender<bool>,
) -> Result<Wake, ServeError> {
    let wake = Wake::new().map_err(ServeError::Thread)?;
    let ports = Arc::new(ports);
    let senders = Arc::new(Senders::new(ports.clone()));
    let committer = match journal {
        Some(journal) => {
            let started = Committer::start(journal, senders.clone(), wake.clone());
            Some(started.map_err(ServeError::Thread)?)
        }
        None => None,
    };
    let worker = Worker {
        polled: polled(&ports, &wake),
        config,
        ports,
        engine,
        observer,
        senders,
        committer,
        clock,
        wake: wake.clone(),
        out: Output::default(),
        refreshed: clock.now(),
    };
    let run = move || {
        worker.run();
        let _ = stopped.send(true);
    };
    std::thread::Builder::new().name("dhcp".into()).spawn(run).map_err(ServeError::Thread)?;
    Ok(wake)
}

struct Worker {
    config: Config,
    ports: Arc<Ports>,
    engine: Arc<Mutex<Engine>>,
    observer: Arc<dyn Observer>,
    senders: Arc<Senders>,
    committer: Option<Committer>,
    clock: Clock,
    wake: Wake,
    out: Output,
    refreshed: Time,
    /// What is waited for: UDP sockets, the wake-up, then the sockets of probes.
    polled: Vec<libc::pollfd>,
}

fn is_ready(fd: &libc::pollfd) -> bool {
    fd.revents != 0
}

fn polled(ports: &Ports, wake: &Wake) -> Vec<libc::pollfd> {
    let udp = ports.udp.iter().map(|port| port.fd.as_raw_fd());
    let arp = ports.arp.iter().map(AsRawFd::as_raw_fd);
    let all = udp.chain([wake.event.as_raw_fd()]).chain(arp).chain([ports.icmp.as_raw_fd()]);
    all.map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 }).collect()
}

#[allow(clippy::disallowed_methods, reason = "the worker's own thread; the wait is GATHER_US")]
fn gather() {
    std::thread::sleep(Duration::from_micros(GATHER_US));
}

/// Which descriptors have something.
#[derive(Debug, Default)]
struct Ready {
    udp: Vec<usize>,
    probes: bool,
    wake: bool,
}

impl Worker {
    fn run(mut self) {
        let mut receiver = Receiver::new();
        let mut last_packets = self.clock.now();
        let mut behind = false;
        while !self.wake.stop.load(Ordering::Acquire) {
            let ready = self.wait();
            let now = self.clock.now();
            if ready.wake {
                self.verdicts(now);
            }
            if ready.probes {
                self.probe_answers(now);
            }
            if !ready.udp.is_empty() {
                if now.millis_since(last_packets) <= CROWD_MS && !behind {
                    gather();
                }
                last_packets = self.clock.now();
            }
            behind = false;
            for n in ready.udp {
                behind |= self.receive(n, &mut receiver);
            }
            self.flush();
            self.timers();
            self.refresh(now);
        }
        // Leases that were promised must be on disk before the daemon says that it has stopped.
        if let Some(committer) = self.committer.take() {
            committer.finish();
        }
    }

    /// Waits for a packet, a timer or a wake-up.
    fn wait(&mut self) -> Ready {
        let now = self.clock.now();
        let timer = lock(&self.engine).next_timer().unwrap_or(now + INTERFACES_REFRESH_MS);
        let wait_ms = timer.millis_since(now).min(INTERFACES_REFRESH_MS);
        let polled = &mut self.polled;
        let count = libc::nfds_t::try_from(polled.len()).unwrap_or(0);
        // SAFETY: the pointer and count describe `polled`; its descriptors are owned by `self`.
        unsafe { libc::poll(polled.as_mut_ptr(), count, i32::try_from(wait_ms).unwrap_or(i32::MAX)) };
        let (udp, others) = polled.split_at(self.ports.udp.len());
        let (wake, probes) =
            others.split_first().map_or((false, others), |(wake, probes)| (is_ready(wake), probes));
        Ready {
            udp: udp.iter().enumerate().filter(|(_, fd)| is_ready(fd)).map(|(n, _)| n).collect(),
            probes: probes.iter().any(is_ready),
            wake,
        }
    }

    fn timers(&mut self) {
        let now = self.clock.now();
        let mut engine = lock(&self.engine);
        if engine.next_timer().is_some_and(|at| at <= now) {
            engine.tick(now, &mut self.out);
            drop(engine);
            self.flush();
        }
    }

    /// Answers what is waiting at a socket, a few batches at most so that the others get their turn. True
    /// when there may be more.
    fn receive(&mut self, n: usize, receiver: &mut Receiver) -> bool {
        for _ in 0..BATCHES_PER_TURN_MAX {
            if self.receive_batch(n, receiver) < BATCH_PACKETS {
                return false;
            }
        }
        true
    }

    fn receive_batch(&mut self, n: usize, receiver: &mut Receiver) -> usize {
        let Some(Port { fd, interface, port }) = self.ports.udp.get(n) else { return 0 };
        let (interface, port, now) = (*interface, *port, self.clock.now());
        let mut engine = lock(&self.engine);
        let out = &mut self.out;
        let result = receiver.receive(fd.as_raw_fd(), |got| {
            let incoming =
                Incoming { bytes: got.bytes, interface, local: got.local, port, source: got.source };
            engine.handle(now, &incoming, out);
        });
        drop(engine);
        self.flush();
        match result {
            Ok(packets) => packets,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => {
                tracing::debug!(%error, interface, "DHCP socket");
                0
            }
        }
    }

    /// Carries out what the engine said.
    fn flush(&mut self) {
        for event in &self.out.events {
            self.observer.event(event);
        }
        self.probe();
        let waiting = self.out.send.extract_if(.., |answer| answer.durable).collect::<Vec<_>>();
        self.senders.send(&self.out.send);
        self.commit(waiting);
        self.out.clear();
    }

    fn commit(&mut self, send: Vec<Outgoing>) {
        let Some(committer) = &self.committer else {
            return self.senders.send(&send);
        };
        if self.out.records.is_empty() && send.is_empty() {
            return;
        }
        let batch = Batch { records: std::mem::take(&mut self.out.records), send };
        if let Err(batch) = committer.submit(batch) {
            self.wake.report(Verdict::Failed(batch.records, CommitError::TooSlow));
            committer.tell_when_caught_up();
        }
    }

    fn probe(&self) {
        for Probe { address, interface, routed, .. } in &self.out.probes {
            match self.ports.macs.get(interface) {
                Some(mac) if !routed => {
                    raw::send_arp_probe(self.ports.direct.as_raw_fd(), *interface, *mac, *address);
                }
                _ => raw::send_echo(&self.ports.icmp, *address, ECHO_ID),
            }
        }
    }

    fn probe_answers(&mut self, now: Time) {
        let mut engine = lock(&self.engine);
        let out = &mut self.out;
        for fd in &self.ports.arp {
            raw::read_arp(fd.as_raw_fd(), |hw, address| engine.probe_answered(now, address, Some(hw), out));
        }
        raw::read_echo(self.ports.icmp.as_raw_fd(), ECHO_ID, |address| {
            engine.probe_answered(now, address, None, out);
        });
    }

    fn verdicts(&mut self, now: Time) {
        let mut engine = lock(&self.engine);
        for verdict in self.wake.take() {
            match verdict {
                Verdict::Failed(records, why) => {
                    engine.journal_failed(now, &records, &why.to_string(), &mut self.out);
                }
                Verdict::Recovered => engine.journal_recovered(now, &mut self.out),
            }
        }
    }

    /// Addresses and interfaces may come and go while we run.
    fn refresh(&mut self, now: Time) {
        if now.millis_since(self.refreshed) < INTERFACES_REFRESH_MS {
            return;
        }
        self.refreshed = now;
        let Ok(found) = interfaces::present(&self.config.interfaces) else { return };
        if identity(&found) != self.ports.interfaces {
            self.reopen(&found);
        }
        let known = found.into_iter().map(|found| found.interface).collect();
        lock(&self.engine).set_interfaces(known);
    }

    /// An interface that was made again has another number, and its old sockets receive nothing.
    fn reopen(&mut self, found: &[Found]) {
        match Ports::open(&self.config, found) {
            Ok(ports) => {
                tracing::info!(interfaces = ?ports.interfaces, "DHCP interfaces changed");
                self.ports = Arc::new(ports);
                self.senders.replace(self.ports.clone());
                self.polled = polled(&self.ports, &self.wake);
            }
            Err(error) => tracing::warn!(%error, "DHCP interfaces changed, and cannot be served"),
        }
    }
}
