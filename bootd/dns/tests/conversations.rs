//! Conversations as text files. Lines of a file:
//!
//! | line | what it is |
//! |---|---|
//! | `# text` | a remark |
//! | `> ADDRESS NAME TYPE [tcp] [norec] [edns=N] [do]` | a client asks |
//! | `= RCODE [tc] [NAME LIFETIME TYPE DATA; …]` | the server that was asked last answers |
//! | `! SOMETHING` | the same, but the answer is wrong in this way: `id`, `name`, `refused` |
//! | `wait MS` | time passes |
//!
//! All other lines are what the server says; `UPDATE_EXPECT=1` writes them again.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use dawn_dns::cache::Cache;
use dawn_dns::engine::{Engine, Origin, Verdict};
use dawn_dns::forward::{Action, Forwarder};
use dawn_dns::fuzz::sample;
use dawn_dns::query::Transport;
use dawn_dns::transfer::Transfer;
use dawn_dns::view::View;
use dawn_texts::{Text, texts};
use domain::base::iana::Rcode;
use domain::base::{Message, MessageBuilder, Name, Rtype, Serial, Ttl};
use domain::rdata::{A, AllRecordData, Soa};
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

struct Talk {
    view: Arc<View>,
    engine: Engine,
    forwarder: Forwarder<()>,
    now: Duration,
    /// Attempts that wait: ticket, server, question.
    open: Vec<(u64, SocketAddr, Vec<u8>)>,
    said: String,
}

impl Talk {
    fn new() -> Self {
        let cache = Arc::new(Cache::default());
        Self {
            view: Arc::new(sample()),
            engine: Engine::new(Arc::clone(&cache)),
            forwarder: Forwarder::new(cache, 512),
            now: Duration::from_secs(1000),
            open: Vec::new(),
            said: String::new(),
        }
    }

    fn ask(&mut self, words: &[&str]) {
        let [ip, name, rtype, options @ ..] = words else { panic!("{words:?}") };
        let ip: IpAddr = ip.parse().unwrap();
        let mut builder = MessageBuilder::new_vec().question();
        builder.push((Name::<Vec<u8>>::from_str(name).unwrap(), Rtype::from_str(rtype).unwrap())).unwrap();
        builder.header_mut().set_id(77);
        builder.header_mut().set_rd(!options.contains(&"norec"));
        let mut builder = builder.additional();
        if let Some(size) = options.iter().find_map(|option| option.strip_prefix("edns=")) {
            let set = |opt: &mut domain::base::message_builder::OptBuilder<'_, Vec<u8>>| {
                opt.set_udp_payload_size(size.parse().unwrap());
                opt.set_dnssec_ok(options.contains(&"do"));
                Ok(())
            };
            builder.opt(set).unwrap();
        }
        let transport = if options.contains(&"tcp") { Transport::Tcp } else { Transport::Udp };
        let (question, mut out) = (builder.finish(), Vec::new());
        match self.engine.answer(self.now, &self.view, Origin { ip, transport }, &question, &mut out) {
            Verdict::Reply => self.show(&out),
            Verdict::Silence => self.said.push_str("silence\n"),
            Verdict::Ask(query) => {
                let mut actions = Vec::new();
                self.forwarder.ask(self.now, 1, &self.view.forwarders, ip, query, (), &mut actions);
                self.act(actions);
            }
            Verdict::Transfer(zone) => {
                let mut transfer = Transfer::new(Arc::clone(&self.view), zone, &question).unwrap();
                while transfer.next_message(&mut out) {
                    let message = Message::from_slice(&out).unwrap();
                    writeln!(self.said, "zone: {} records", message.header_counts().ancount()).unwrap();
                }
            }
        }
    }

    fn show(&mut self, bytes: &[u8]) {
        let message = Message::from_slice(bytes).unwrap();
        let header = message.header();
        assert!(header.qr());
        let flags = [("aa", header.aa()), ("tc", header.tc()), ("rd", header.rd()), ("ra", header.ra())];
        let flags: Vec<&str> = flags.iter().filter(|flag| flag.1).map(|flag| flag.0).collect();
        let edns = if message.opt().is_some() { " edns" } else { "" };
        let asked = message.sole_question().map_or_else(|_| "nothing".to_owned(), |q| q.qname().to_string());
        writeln!(self.said, "{} {}{edns} for {asked}", header.rcode(), flags.join(" ")).unwrap();
        for (section, name) in
            [(message.answer().unwrap(), ""), (message.authority().unwrap(), "authority: ")]
        {
            for record in section.limit_to::<AllRecordData<_, _>>() {
                let record = record.unwrap();
                let (owner, ttl, data) = (record.owner(), record.ttl().as_secs(), record.data());
                writeln!(self.said, "  {name}{owner} {ttl} {} {data}", record.rtype()).unwrap();
            }
        }
    }

    fn act(&mut self, actions: Vec<Action<()>>) {
        for action in actions {
            match action {
                Action::Send { ticket, server, tcp, bytes } => {
                    writeln!(self.said, "asks {server}{}", if tcp { " by TCP" } else { "" }).unwrap();
                    self.open.push((ticket, server, bytes));
                }
                Action::Close(ticket) => self.open.retain(|(other, ..)| *other != ticket),
                Action::Answer(query, (), stored) => {
                    let mut out = Vec::new();
                    stored.write(self.now, &query, &mut out);
                    self.show(&out);
                }
            }
        }
    }

    fn reply(&mut self, rcode: &str, rest: &str, wrong: Option<&str>) {
        let (ticket, _, question) = self.open.last().cloned().expect("nothing was asked");
        let question = Message::from_octets(question).unwrap();
        let mut builder =
            MessageBuilder::new_vec().start_answer(&question, Rcode::from_str(rcode).unwrap()).unwrap();
        let records = rest.strip_prefix("tc").inspect(|_| builder.header_mut().set_tc(true)).unwrap_or(rest);
        if wrong == Some("id") {
            builder.header_mut().set_id(999);
        }
        let mut soas = Vec::new();
        for record in records.split(';').map(str::trim).filter(|record| !record.is_empty()) {
            let words: Vec<&str> = record.split_whitespace().collect();
            let [owner, ttl, rtype, data] = words[..] else { panic!("{record}") };
            let (owner, ttl) = (Name::<Vec<u8>>::from_str(owner).unwrap(), ttl.parse::<u32>().unwrap());
            match rtype {
                "A" => builder.push((owner, ttl, A::from_str(data).unwrap())).unwrap(),
                _ => soas.push((owner, ttl, data.parse::<u32>().unwrap())),
            }
        }
        let mut builder = builder.authority();
        for (owner, ttl, least) in soas {
            let second = Ttl::from_secs(1);
            let data = Soa::new(
                owner.clone(),
                owner.clone(),
                Serial(1),
                second,
                second,
                second,
                Ttl::from_secs(least),
            );
            builder.push((owner, ttl, data)).unwrap();
        }
        let mut builder = builder.additional();
        let set = |opt: &mut domain::base::message_builder::OptBuilder<'_, Vec<u8>>| {
            opt.set_udp_payload_size(4096);
            Ok(())
        };
        builder.opt(set).unwrap();
        let mut bytes = builder.finish();
        if wrong == Some("name") {
            bytes[13] = b'z';
        }
        let mut actions = Vec::new();
        self.forwarder.received(self.now, 2, ticket, &bytes, &mut actions);
        self.act(actions);
    }

    fn line(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [">", words @ ..] => self.ask(words),
            ["=", rcode, rest @ ..] => self.reply(rcode, &rest.join(" "), None),
            ["!", "refused"] => self.reply("REFUSED", "", None),
            ["!", wrong] => self.reply("NOERROR", "", Some(wrong)),
            ["wait", ms] => {
                self.now += Duration::from_millis(ms.parse().unwrap());
                let mut actions = Vec::new();
                self.forwarder.tick(self.now, || 3, &mut actions);
                self.act(actions);
            }
            _ => panic!("{line}"),
        }
    }
}

fn is_ours(line: &str) -> bool {
    line.is_empty() || ["#", ">", "=", "!", "wait "].iter().any(|start| line.starts_with(start))
}

#[test]
fn conversations() {
    let texts = texts(env!("CARGO_MANIFEST_DIR"), "tests/conversations");
    assert!(texts.len() >= 4, "conversations are missing");
    for Text { path, text, .. } in texts {
        let mut talk = Talk::new();
        for line in text.lines().filter(|line| is_ours(line)) {
            writeln!(talk.said, "{line}").unwrap();
            if !line.is_empty() && !line.starts_with('#') {
                talk.line(line);
            }
        }
        expect_test::expect_file![path].assert_eq(&talk.said);
    }
}
