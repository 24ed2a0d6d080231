//! The poll set all workers wait on, and the two counters that wake them.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::event::{EventfdFlags, eventfd};

/// Token of [`Poll::wake`].
pub(super) const WAKE: u64 = u64::MAX;
/// Token of [`Poll::stop`].
pub(super) const STOP: u64 = u64::MAX - 1;

/// An epoll set.
#[derive(Debug)]
pub(super) struct Poll {
    epoll: OwnedFd,
    wake: OwnedFd,
    stop: OwnedFd,
}

impl Poll {
    /// A set that holds only its own counters.
    pub(super) fn new() -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let wake = eventfd(0, flags | EventfdFlags::SEMAPHORE)?;
        let stop = eventfd(0, flags)?;
        epoll::add(&epoll, &wake, EventData::new_u64(WAKE), EventFlags::IN)?;
        epoll::add(&epoll, &stop, EventData::new_u64(STOP), EventFlags::IN)?;
        Ok(Self { epoll, wake, stop })
    }

    /// Registers a descriptor.
    pub(super) fn add(&self, fd: BorrowedFd<'_>, token: u64, flags: EventFlags) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, fd, EventData::new_u64(token), flags)?)
    }

    /// Changes what a registered descriptor is waited on for.
    pub(super) fn change(&self, fd: BorrowedFd<'_>, token: u64, flags: EventFlags) -> io::Result<()> {
        Ok(epoll::modify(&self.epoll, fd, EventData::new_u64(token), flags)?)
    }

    /// Waits for one event.
    pub(super) fn wait(&self) -> io::Result<Option<(u64, EventFlags)>> {
        let mut events = [epoll::Event { flags: EventFlags::empty(), data: EventData::new_u64(0) }; 1];
        match epoll::wait(&self.epoll, &mut events, None) {
            Ok(0) | Err(rustix::io::Errno::INTR) => Ok(None),
            Ok(_) => Ok(events.first().map(|e| {
                let Event { token, flags } = Event::from(e);
                (token, flags)
            })),
            Err(other) => Err(other.into()),
        }
    }

    /// Wakes one worker to look at the run queue.
    pub(super) fn wake(&self) {
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }

    /// Takes one wake-up, unless another worker was faster.
    pub(super) fn take_wake(&self) {
        let _ = rustix::io::read(&self.wake, &mut [0u8; 8]);
    }

    /// Wakes all workers permanently.
    pub(super) fn stop(&self) {
        let _ = rustix::io::write(&self.stop, &1u64.to_ne_bytes());
    }
}

struct Event {
    token: u64,
    flags: EventFlags,
}

impl From<&epoll::Event> for Event {
    fn from(event: &epoll::Event) -> Self {
        // Copied out first: the kernel's structure is packed.
        let (data, flags) = (event.data, event.flags);
        Self { token: data.u64(), flags }
    }
}
