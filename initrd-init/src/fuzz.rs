//! Entries for fuzzers: any bytes through the readers of what comes over the network or from the kernel line.
//! They panic when a property does not hold, which is what a fuzzer looks for.

use std::io::{self, BufReader, Read};

use crate::cmdline::Cmdline;
use crate::dhcp::{self, Kind};
use crate::discover;
use crate::http;
use crate::modules::{Index, fnmatch};
use crate::post;
use crate::resolve;
use crate::statelite;
use crate::status::Boot;
use crate::unpack::{Meta, Target, stream};
use crate::url::Url;

/// A DHCP reply, a DNS answer and an LLDP frame of any bytes.
pub fn packet(bytes: &[u8]) {
    let (mut mac, mut xid) = ([0; 6], [0; 4]);
    // The fields that must fit are taken from the packet, so that the rest of it is read.
    mac.iter_mut().zip(bytes.get(28..34).unwrap_or_default()).for_each(|(to, from)| *to = *from);
    xid.iter_mut().zip(bytes.get(4..8).unwrap_or_default()).for_each(|(to, from)| *to = *from);
    if let Some(reply) = dhcp::decode(bytes, mac, u32::from_be_bytes(xid)) {
        assert!(reply.lease.prefix <= 32);
        assert!(reply.kind == Kind::Nak || !reply.lease.address.is_unspecified());
    }
    let id = bytes.get(..2).and_then(|two| two.try_into().ok()).map_or(0, u16::from_be_bytes);
    let _ = resolve::decode(bytes, id);
    if let Some(neighbour) = discover::parse_lldp(bytes) {
        assert!(neighbour.addresses.len() <= 8 && !neighbour.name.chars().any(char::is_control));
    }
}

/// An HTTP answer of any bytes: its body is never longer than announced.
pub fn http_answer(bytes: &[u8]) {
    let mut source = BufReader::new(bytes);
    let Ok(head) = http::read_head(&mut source) else { return };
    let mut got = 0_u64;
    let result = http::read_body(&mut source, &head, &mut |part| {
        got += u64::try_from(part.len()).unwrap_or(u64::MAX);
        Ok(())
    });
    if let (false, Some(length)) = (head.chunked, head.length) {
        assert!(got <= length);
        assert!(result.is_err() || got == length);
    }
}

/// Texts of any bytes: kernel line, statelite list, address, module index and patterns, post scripts, pages
/// of names, set-up of service processors, the image that a machine may start itself.
pub fn text(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let _ = Cmdline::parse(&text);
    let _ = Boot::read(&text);
    statelite::fuzz_list(&text);
    post::fuzz(&text);
    if let Ok(all) = dawn_wire::bmc::parse(&text) {
        assert!((1..=dawn_wire::bmc::BMCS_MAX).contains(&all.len()));
        assert!(all.iter().all(|one| !one.user.is_empty() && one.vlan.is_none_or(|vlan| vlan < 4095)));
    }
    if let Some(url) = Url::parse(&text) {
        assert!(Url::parse(&url.to_string()).is_some_and(|again| again == url));
    }
    let index = Index::parse(&text, &text);
    let (pattern, subject) = text.split_once('\n').unwrap_or((&text, &text));
    let _ = fnmatch(pattern.as_bytes(), subject.as_bytes());
    for module in index.matching(subject) {
        let _ = index.load_order(module);
    }
}

/// An archive of any bytes: no path leads out, and no file gets more bytes than the archive has.
pub fn archive(bytes: &[u8]) {
    let _ = stream(bytes, &mut Nowhere);
}

struct Nowhere;

impl Target for Nowhere {
    fn add(&mut self, _meta: Meta, _target: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn file(&mut self, _meta: &Meta, source: &mut dyn Read, size: u64) -> io::Result<()> {
        match io::copy(&mut source.take(size), &mut io::sink())? {
            all if all == size => Ok(()),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn hard_link(&mut self, _meta: &Meta, _first: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn fill(&mut self, meta: &Meta, source: &mut dyn Read, size: u64) -> io::Result<()> {
        self.file(meta, source, size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dhcp::{Ask, encode};

    /// Mutations of good inputs, the same in every run.
    fn mutate(seeds: &[&[u8]], rounds: u32, check: fn(&[u8])) {
        let mut state = 0x9e37_79b9_u32;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            usize::try_from(state).unwrap()
        };
        for seed in seeds {
            for _ in 0..rounds {
                let mut bytes = seed.to_vec();
                bytes.truncate(next() % (bytes.len() + 1));
                for _ in 0..next() % 6 {
                    if !bytes.is_empty() {
                        let at = next() % bytes.len();
                        bytes[at] = u8::try_from(next() % 256).unwrap();
                    }
                }
                check(&bytes);
            }
        }
    }

    #[test]
    fn damaged_input_does_no_harm() {
        let mut reply = encode(Ask::Discover, [2, 0, 0, 0, 0, 1], 7, 0);
        reply[0] = 2;
        reply.splice(240.., [53, 1, 2, 52, 1, 3, 121, 5, 0, 10, 0, 0, 1, 1, 4, 255, 255, 0, 0, 255]);
        mutate(&[&reply], 20_000, packet);
        let answers = [
            &b"HTTP/1.1 206 x\r\nContent-Length: 4\r\nContent-Range: bytes 1-4/9\r\n\r\nabcd"[..],
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        ];
        mutate(&answers, 10_000, http_answer);
        let texts = [
            &b"imgurl=http://a:80/b BOOTIF=01-02-03-04-05-06-07 NFSROOT=s:/d"[..],
            b"file\tlink,persistent\t/a%20b/\ntree\ts:/d\tsoft\npersistent\ts:/p\n",
            b"A='x'\n# postscripts-start-here\na/b.sh 'c d'\n# postscripts-end-here\n<a href=\"b%20/\">",
            b"bmcip 10.2.0.1\nnetmask 255.0.0.0\nusername u\npassword p\ntaggedvlan 4\n#END OF BMC\n",
            b"alias pci:v*[0-9]?x* mod\npci:v12x",
            b"kernel/a.ko: kernel/b.ko\nkernel/b.ko: kernel/a.ko\n",
        ];
        mutate(&texts, 5_000, text);
        let mut tar = vec![0_u8; 1536];
        tar[..1].copy_from_slice(b"a");
        tar[257..263].copy_from_slice(b"ustar\0");
        mutate(&[&tar, b"07070100000001000081a4"], 5_000, archive);
    }
}
