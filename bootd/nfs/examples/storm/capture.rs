//! Calls and replies out of a capture: Ethernet, IPv4, TCP, record marks. For files that QEMU's `filter-dump`
//! wrote.

use std::collections::HashMap;

/// Port of the server.
const PORT: u16 = 2049;

/// A call and its reply, each without record mark.
pub(crate) type Pair = (Vec<u8>, Vec<u8>);

/// One direction of a connection.
#[derive(Default)]
struct Stream {
    next: Option<u32>,
    bytes: Vec<u8>,
}

/// All answered calls, by connection, in the order of the calls; up to the first death of the server.
pub(crate) fn read(pcap: &[u8]) -> Vec<Pair> {
    let mut streams: HashMap<(u16, bool), Stream> = HashMap::new();
    let mut order = Vec::new();
    let word = |at: usize| Some(u32::from_le_bytes(*pcap.get(at..)?.first_chunk::<4>()?) as usize);
    assert_eq!(word(0), Some(0xa1b2_c3d4), "no capture with microseconds in this machine's byte order");
    let mut at = 24;
    while let Some(len) = word(at + 8) {
        let Some(frame) = pcap.get(at + 16..at + 16 + len) else { break };
        at += 16 + len;
        let Some(segment) = Segment::of(frame) else { continue };
        let key = (segment.client, segment.from_server);
        // A client that connects from the same port again has lost its server.
        let again = segment.first && streams.get(&key).is_some_and(|stream| !stream.bytes.is_empty());
        if again || (segment.reset && segment.from_server) {
            break;
        }
        if segment.first {
            streams.insert(key, Stream::default());
            order.extend((!segment.from_server).then_some(segment.client));
        }
        streams.entry(key).or_default().take(&segment);
    }
    let mut pairs = Vec::new();
    for client in order {
        let records = |server| streams.get(&(client, server)).map(|s| records(&s.bytes)).unwrap_or_default();
        let xid = |record: &Vec<u8>| record.first_chunk::<4>().copied();
        let replies: HashMap<_, _> = records(true).into_iter().map(|r| (xid(&r), r)).collect();
        let answered = |call: Vec<u8>| Some((replies.get(&xid(&call))?.clone(), call));
        pairs.extend(records(false).into_iter().filter_map(answered).map(|(reply, call)| (call, reply)));
    }
    pairs
}

struct Segment<'a> {
    client: u16,
    from_server: bool,
    sequence: u32,
    first: bool,
    reset: bool,
    data: &'a [u8],
}

impl<'a> Segment<'a> {
    fn of(frame: &'a [u8]) -> Option<Self> {
        // A tap with offloading puts twelve extra bytes before the frame.
        let frame = [0, 12].iter().filter_map(|skip| frame.get(*skip..));
        let ip =
            frame.filter(|frame| frame.get(12..14) == Some(&[8, 0])).find_map(|frame| frame.get(14..))?;
        let header = usize::from(ip.first()? & 15) * 4;
        let tcp = ip.get(header..).filter(|_| ip.get(9) == Some(&6))?;
        // Packets that were never cut for the wire say nothing of their length.
        let total = usize::from(u16::from_be_bytes([*ip.get(2)?, *ip.get(3)?]));
        let tcp = if total == 0 { tcp } else { tcp.get(..total - header)? };
        let port = |at: usize| Some(u16::from_be_bytes([*tcp.get(at)?, *tcp.get(at + 1)?]));
        let (from, to) = (port(0)?, port(2)?);
        let flags = *tcp.get(13)?;
        (from == PORT || to == PORT).then_some(())?;
        Some(Self {
            client: if from == PORT { to } else { from },
            from_server: from == PORT,
            sequence: u32::from_be_bytes(*tcp.get(4..)?.first_chunk()?),
            first: flags & 2 != 0,
            reset: flags & 4 != 0,
            data: tcp.get(usize::from(tcp.get(12)? >> 4) * 4..)?,
        })
    }
}

impl Stream {
    fn take(&mut self, segment: &Segment<'_>) {
        let start = segment.sequence.wrapping_add(u32::from(segment.first));
        let next = self.next.get_or_insert(start);
        if segment.data.is_empty() {
            return;
        }
        // Sent again, whole or in part: only what is new counts. Nothing is lost between QEMU and its tap.
        let known = next.wrapping_sub(start) as usize;
        if let Some(fresh) = segment.data.get(known..) {
            self.bytes.extend(fresh);
            *next = next.wrapping_add(fresh.len() as u32);
        }
    }
}

fn records(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let (mut all, mut record) = (Vec::new(), Vec::new());
    while let Some((mark, rest)) = bytes.split_first_chunk::<4>() {
        let mark = u32::from_be_bytes(*mark);
        let Some(fragment) = rest.get(..(mark & 0x7fff_ffff) as usize) else { break };
        record.extend(fragment);
        bytes = &rest[fragment.len()..];
        if mark >> 31 == 1 {
            all.push(std::mem::take(&mut record));
        }
    }
    all
}
