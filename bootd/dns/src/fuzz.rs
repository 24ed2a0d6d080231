//! Entries for fuzzers: any bytes as questions and as answers of other servers.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::cache::Cache;
use crate::engine::{Engine, Origin, Verdict};
use crate::forward::{Action, Forwarder, TIME_MAX};
use crate::name::DomainName;
use crate::query::Transport;
use crate::transfer::{MESSAGE_BYTES_MAX, Transfer};
use crate::view::{Prefix, View};
use crate::zones::{Builder, Data, Zone};

/// A view with a zone of each kind and a forwarder.
#[must_use]
pub fn sample() -> View {
    let name = |text: &str| text.parse::<DomainName>().unwrap_or_else(|_| DomainName::reverse([0; 4].into()));
    let mut builder = Builder::new(7, 16);
    for apex in ["c", "ib.c", "1.10.in-addr.arpa"] {
        builder.zone(Zone { apex: name(apex), server: name("mn.c"), mailbox: name("root.mn.c") });
    }
    for (host, ip) in [("mn.c", [10, 1, 0, 1]), ("n1.c", [10, 1, 0, 11]), ("n1.ib.c", [10, 1, 1, 11])] {
        builder.record(&name(host), IpAddr::from(ip).into());
        builder.record(&DomainName::reverse(ip.into()), Data::Ptr(name(host)));
    }
    builder.record(&name("www.c"), Data::Cname(name("n1.c")));
    builder.record(&name("loop1.c"), Data::Cname(name("loop2.c")));
    builder.record(&name("loop2.c"), Data::Cname(name("loop1.c")));
    for number in 0..200_u8 {
        builder.record(&name("many.c"), Data::A([10, 2, 0, number].into()));
    }
    View {
        zones: builder.finish(),
        networks: Prefix::new([10, 1, 0, 0].into(), 16).into_iter().collect(),
        secondaries: vec![[10, 1, 0, 5].into()],
        forwarders: vec![SocketAddr::from(([192, 0, 2, 53], 53)), SocketAddr::from(([192, 0, 2, 54], 53))],
    }
}

/// Each message is: control byte, length byte, bytes. Some are questions, some answers of other servers with
/// a header and question that fit. Panics when a property does not hold.
pub fn fuzz_messages(mut bytes: &[u8]) {
    let view = Arc::new(sample());
    let cache = Arc::new(Cache::new(1 << 16));
    let mut engine = Engine::new(Arc::clone(&cache));
    let mut forwarder: Forwarder<()> = Forwarder::new(Arc::clone(&cache), 8);
    let (mut now, mut out, mut actions) = (Duration::ZERO, Vec::new(), Vec::new());
    let mut open: Vec<(u64, Vec<u8>)> = Vec::new();
    let (mut asked, mut answered) = (0, 0);
    while let [control, length, rest @ ..] = bytes {
        let (message, next) = rest.split_at(usize::from(*length).min(rest.len()));
        bytes = next;
        let ip: IpAddr = if control & 1 == 0 { [10, 1, 0, 5].into() } else { [192, 0, 2, 9].into() };
        let transport = if control & 2 == 0 { Transport::Udp } else { Transport::Tcp };
        if control & 4 == 0 {
            match engine.answer(now, &view, Origin { ip, transport }, message, &mut out) {
                Verdict::Reply => check_reply(message, transport, &out),
                Verdict::Silence => {}
                Verdict::Ask(query) => {
                    asked += 1;
                    forwarder.ask(now, 7, &view.forwarders, ip, query, (), &mut actions);
                }
                Verdict::Transfer(number) => check_transfer(&view, number, message),
            }
        } else if let Some((ticket, question)) = open.last() {
            let mut answer = question.clone();
            if let Some(head) = answer.get_mut(2..12) {
                let count = head.len().min(message.len());
                let (from, to) = (message.get(..count), head.get_mut(..count));
                if let (Some(from), Some(to)) = (from, to) {
                    to.copy_from_slice(from);
                }
            }
            answer.extend_from_slice(message.get(10..).unwrap_or_default());
            forwarder.received(now, 8, *ticket, &answer, &mut actions);
        }
        now += Duration::from_millis(u64::from(control >> 3) * 40);
        forwarder.tick(now, || 9, &mut actions);
        answered += take(&mut actions, &mut open, now);
    }
    for _ in 0..8 {
        now += TIME_MAX;
        forwarder.tick(now, || 9, &mut actions);
        answered += take(&mut actions, &mut open, now);
    }
    assert!(cache.young_bytes() <= 1 << 16, "the cache outgrows its limit");
    assert!(forwarder.is_empty() && open.is_empty(), "something waits for ever: {forwarder:?} {open:?}");
    assert_eq!(asked, answered, "each question is answered once");
}

fn take(actions: &mut Vec<Action<()>>, open: &mut Vec<(u64, Vec<u8>)>, now: Duration) -> usize {
    let (mut answered, mut out) = (0, Vec::new());
    for action in actions.drain(..) {
        match action {
            Action::Send { ticket, bytes, .. } => open.push((ticket, bytes)),
            Action::Close(ticket) => open.retain(|(other, _)| *other != ticket),
            Action::Answer(query, (), stored) => {
                answered += 1;
                stored.write(now, &query, &mut out);
                assert!(out.len() <= query.bytes_max, "{} > {}", out.len(), query.bytes_max);
            }
        }
    }
    answered
}

fn check_reply(message: &[u8], transport: Transport, out: &[u8]) {
    assert!(out.get(..2) == message.get(..2) && out.get(2).is_some_and(|flags| flags & 0x80 != 0));
    let most = if transport == Transport::Udp { 1232 } else { 65_535 };
    assert!(out.len() <= most, "{}", out.len());
}

fn check_transfer(view: &Arc<View>, number: u32, message: &[u8]) {
    let Some(mut transfer) = Transfer::new(Arc::clone(view), number, message) else { return };
    let mut out = Vec::new();
    let mut count = 0;
    while transfer.next_message(&mut out) {
        assert!(out.len() <= MESSAGE_BYTES_MAX);
        count += 1;
        assert!(count < 100, "a transfer without end");
    }
}
