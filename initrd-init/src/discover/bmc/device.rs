//! The kernel's IPMI device: a request goes in by one ioctl, its answer comes out by another
//! (`linux/ipmi.h`, module `ipmi_devintf`).

use std::fs::{File, OpenOptions};
use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::message::Request;
use super::setup::{Bmc, BmcError};
use crate::sys;

const PATH: &str = "/dev/ipmi0";
/// Time for one answer, in seconds; the kernel gives a silent BMC up before that.
const ANSWER_SECONDS_MAX: u64 = 20;
/// Bytes of an answer, its completion code among them.
const ANSWER_BYTES_MAX: usize = 272;
/// The address of the BMC itself.
const SYSTEM_INTERFACE: libc::c_int = 0x0c;
const BMC_CHANNEL: libc::c_short = 0x0f;

#[repr(C)]
#[derive(Default)]
struct SystemAddress {
    kind: libc::c_int,
    channel: libc::c_short,
    lun: u8,
    /// The kernel's buffer for addresses is larger than this kind of them.
    room: [u8; 32],
}

#[repr(C)]
struct Message {
    netfn: u8,
    command: u8,
    length: u16,
    data: *mut u8,
}

#[repr(C)]
struct Sent {
    address: *mut SystemAddress,
    address_length: libc::c_uint,
    number: libc::c_long,
    message: Message,
}

#[repr(C)]
struct Received {
    kind: libc::c_int,
    address: *mut SystemAddress,
    address_length: libc::c_uint,
    number: libc::c_long,
    message: Message,
}

/// `_IOR('i', 13, struct ipmi_req)`.
const SEND: libc::Ioctl = code(2, size_of::<Sent>(), 13);
/// `_IOWR('i', 11, struct ipmi_recv)`: an answer that is too long is cut.
const RECEIVE: libc::Ioctl = code(3, size_of::<Received>(), 11);
/// The kind of a message that is an answer.
const ANSWER: libc::c_int = 1;

#[allow(clippy::cast_possible_wrap, clippy::cast_possible_truncation, reason = "the kernel's 32 bits")]
const fn code(direction: u32, size: usize, number: u32) -> libc::Ioctl {
    (direction << 30 | (size as u32) << 16 | (b'i' as u32) << 8 | number) as libc::Ioctl
}

/// The device of this machine's service processor.
pub(super) struct Device {
    file: File,
    /// Of the last request.
    number: libc::c_long,
}

impl Device {
    pub(super) fn open() -> Result<Self, BmcError> {
        let file = OpenOptions::new().read(true).write(true).open(PATH).map_err(BmcError::NoDevice)?;
        Ok(Self { file, number: 0 })
    }

    fn send(&self, request: &Request) -> io::Result<()> {
        let mut address =
            SystemAddress { kind: SYSTEM_INTERFACE, channel: BMC_CHANNEL, ..SystemAddress::default() };
        let mut data = request.data.clone();
        let mut sent = Sent {
            address: &raw mut address,
            // What the kernel calls struct ipmi_system_interface_addr.
            address_length: 8,
            number: self.number,
            message: Message {
                netfn: request.netfn,
                command: request.command,
                length: u16::try_from(data.len()).map_err(io::Error::other)?,
                data: data.as_mut_ptr(),
            },
        };
        // SAFETY: the structures are those of linux/ipmi.h; what they point to lives until the call returns.
        let result = unsafe { libc::ioctl(self.file.as_raw_fd(), SEND, &raw mut sent) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// An answer and the number of its request; `None` for a message that is not an answer.
    fn receive(&self) -> io::Result<Option<(libc::c_long, Vec<u8>)>> {
        let mut address = SystemAddress::default();
        let mut data = vec![0; ANSWER_BYTES_MAX];
        let mut received = Received {
            kind: 0,
            address: &raw mut address,
            address_length: size_of::<SystemAddress>() as libc::c_uint,
            number: 0,
            message: Message {
                netfn: 0,
                command: 0,
                length: ANSWER_BYTES_MAX as u16,
                data: data.as_mut_ptr(),
            },
        };
        // SAFETY: as above; the lengths are those of the buffers.
        let result = unsafe { libc::ioctl(self.file.as_raw_fd(), RECEIVE, &raw mut received) };
        let cause = io::Error::last_os_error();
        // A cut answer is there all the same.
        if result < 0 && cause.raw_os_error() != Some(libc::EMSGSIZE) {
            return Err(cause);
        }
        data.truncate(received.message.length.into());
        Ok((received.kind == ANSWER).then_some((received.number, data)))
    }

    /// The answer to the last request; older ones are dropped.
    fn answer(&self, what: &'static str) -> Result<Vec<u8>, BmcError> {
        let end = Instant::now() + Duration::from_secs(ANSWER_SECONDS_MAX);
        let failed = |cause: io::Error| BmcError::Device { what, cause };
        loop {
            let left = end.saturating_duration_since(Instant::now());
            // Messages that answer something else do not make it longer.
            if left.is_zero() {
                return Err(BmcError::Silent { what });
            }
            let time = Timespec::try_from(left).map_err(|error| failed(io::Error::other(error)))?;
            let mut wanted = [PollFd::from_borrowed_fd(self.file.as_fd(), PollFlags::IN)];
            match poll(&mut wanted, Some(&time)) {
                Ok(0) => return Err(BmcError::Silent { what }),
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => continue,
                Err(errno) => return Err(failed(errno.into())),
            }
            match self.receive() {
                Ok(Some((number, data))) if number == self.number => return Ok(data),
                Ok(_) => {}
                Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => {}
                Err(cause) => return Err(failed(cause)),
            }
        }
    }
}

impl Bmc for Device {
    fn ask(&mut self, request: &Request) -> Result<Vec<u8>, BmcError> {
        self.number += 1;
        self.send(request).map_err(|cause| BmcError::Device { what: request.what, cause })?;
        let answer = self.answer(request.what)?;
        match answer.split_first() {
            Some((0, data)) => Ok(data.to_vec()),
            Some((code, _)) => Err(BmcError::Refused { what: request.what, code: *code }),
            None => Err(BmcError::Short { what: request.what }),
        }
    }

    fn pause(&mut self, time: Duration) {
        sys::pause(time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers of `linux/ipmi.h` on x86_64.
    #[test]
    fn numbers_of_the_kernel() {
        assert_eq!((size_of::<Sent>(), size_of::<Received>()), (40, 48));
        assert_eq!(SEND as u32, 0x8028_690d);
        assert_eq!(RECEIVE as u32, 0xc030_690b);
    }
}
