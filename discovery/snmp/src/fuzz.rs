//! The entry of fuzzers: any bytes as answers to questions.

use std::time::Duration;

use crate::credentials::{Community, Credentials, User, Version};
use crate::limits::Settings;
use crate::message::{Body, Message, write_community};
use crate::session::{Session, Step, Task};
use crate::walk::Bounds;

/// Datagrams, each after its length in two bytes, arrive while a table is walked. The walk ends, whatever
/// comes; and what can be read can be written and read again.
pub fn fuzz_message(data: &[u8]) {
    let Some((first, mut rest)) = data.split_first() else { return };
    let Ok(root) = "1.3.6.1.2.1.17.4.3.1.2".parse() else { return };
    let credentials = match first % 3 {
        0 => Credentials::Community(Version::V1, Community::new("public")),
        1 => Credentials::Community(Version::V2c, Community::new("public")),
        _ => match User::new("dawn") {
            Ok(user) => Credentials::User(user),
            Err(_) => return,
        },
    };
    let mut session = Session::new(credentials, Settings::default(), u64::from(*first));
    let bounds = Bounds { rows_max: 100, time_max: Duration::from_secs(20) };
    let mut now = Duration::ZERO;
    let mut step = session.start(now, Task::Walk(root, bounds));
    while let Some((length, after)) = rest.split_first_chunk::<2>() {
        let length = usize::from(u16::from_be_bytes(*length)).min(after.len());
        let (datagram, after) = after.split_at(length);
        rest = after;
        round_trip(datagram);
        now += Duration::from_millis(100);
        step = session.on_datagram(now, datagram);
    }
    for _ in 0..100 {
        if matches!(step, Step::Done(_) | Step::Failed(_)) {
            return;
        }
        let Some(deadline) = session.deadline() else { return };
        now = now.max(deadline);
        step = session.on_timer(now);
    }
    unreachable!("a walk of 20 s goes on at {now:?}");
}

fn round_trip(datagram: &[u8]) {
    match Message::read(datagram) {
        Ok(Message::Community(version, pdu)) => {
            let written = write_community(version, b"public", &pdu);
            assert_eq!(Message::read(&written), Ok(Message::Community(version, pdu)));
        }
        Ok(Message::V3(message)) => {
            let (written, place) = message.write(1472, message.digest_at.len());
            let Ok(Message::V3(read)) = Message::read(&written) else { unreachable!("{message:?}") };
            assert_eq!(read.digest_at, place);
            assert_eq!(matches!(read.body, Body::Plain(_)), matches!(message.body, Body::Plain(_)));
            assert_eq!(
                (&read.engine, read.flags, &read.salt),
                (&message.engine, message.flags, &message.salt)
            );
        }
        Err(_) => {}
    }
}
