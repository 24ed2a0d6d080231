//! The switches: SNMP agents of v2c with the tables of bridges, in a process of their own.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::UdpSocket;
use std::ops::Bound;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};

use dawn_snmp::message::{Message, write_community};
use dawn_snmp::pdu::{Kind, Pdu};
use dawn_snmp::{Oid, Value, VarBind};

use super::plan::{self, Plan};

const IF_NAME: &str = "1.3.6.1.2.1.31.1.1.1.1";
const BRIDGE_ADDRESS: &str = "1.3.6.1.2.1.17.1.1.0";
const BRIDGE_PORT: &str = "1.3.6.1.2.1.17.1.4.1.2";
const Q_PORT: &str = "1.3.6.1.2.1.17.7.1.2.2.1.2";
const Q_STATUS: &str = "1.3.6.1.2.1.17.7.1.2.2.1.3";
/// A row that was learnt.
const LEARNED: i64 = 3;

/// The process, seen from outside.
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn start(words: &[String]) -> Self {
        let this = std::env::current_exe().expect("this program");
        let mut command = Command::new(this);
        command.args(words).arg("--agents").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the agents");
        let mut ready = [0; 1];
        child.stdout.as_mut().unwrap().read_exact(&mut ready).expect("the agents are up");
        Self(child)
    }

    /// Ends it; how many requests came.
    pub(crate) fn end(mut self) -> u64 {
        drop(self.0.stdin.take());
        let mut text = String::new();
        self.0.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        self.0.wait().unwrap();
        text.trim().parse().expect("a number of requests")
    }
}

/// Answers until the standard input ends, then prints how many requests came.
pub(crate) fn run(plan: &Plan) {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let (up, is_up) = mpsc::channel();
    for number in 1..=plan.switches {
        let rows = Arc::new(rows(plan, number));
        let (time, up) = (plan.agent_time, up.clone());
        std::thread::spawn(move || {
            let socket = UdpSocket::bind((plan::switch(number), 161)).expect("the port of SNMP");
            up.send(()).unwrap();
            let mut buffer = [0; 2048];
            loop {
                let (length, from) = socket.recv_from(&mut buffer).unwrap();
                COUNT.fetch_add(1, Ordering::Relaxed);
                let Ok(Message::Community(version, asked)) = Message::read(&buffer[..length]) else {
                    continue;
                };
                std::thread::sleep(time);
                let answer = answer(&rows, &asked);
                let _ = socket.send_to(&write_community(version, b"public", &answer), from);
            }
        });
    }
    for _ in 0..plan.switches {
        is_up.recv().unwrap();
    }
    let mut out = std::io::stdout();
    out.write_all(b" ").and_then(|()| out.flush()).unwrap();
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    println!("{}", COUNT.load(Ordering::Relaxed));
}

fn rows(plan: &Plan, switch: u32) -> BTreeMap<Oid, Value> {
    let number = |number: u32| Value::Integer(number.into());
    let mut rows: BTreeMap<Oid, Value> = BTreeMap::new();
    let mut add = |name: String, value| drop(rows.insert(name.parse().unwrap(), value));
    let [c, d] = u16::try_from(switch).unwrap().to_be_bytes();
    add(BRIDGE_ADDRESS.to_owned(), Value::Octets(vec![6, 0, 0, 0, c, d]));
    for port in 1..=plan.uplink() {
        add(format!("{IF_NAME}.{}", port + 100), Value::Octets(format!("swp{port}").into_bytes()));
        add(format!("{BRIDGE_PORT}.{port}"), number(port + 100));
    }
    for machine in 0..plan.machines {
        let (at, port) = plan.place(machine);
        let port = if at == switch { port } else { plan.uplink() };
        let index = plan::mac(machine).map(|byte| byte.to_string()).join(".");
        add(format!("{Q_PORT}.1.{index}"), number(port));
        add(format!("{Q_STATUS}.1.{index}"), Value::Integer(LEARNED));
    }
    // A walk of the last table ends at a name that is not its own.
    add("1.3.6.1.2.1.99.1".to_owned(), number(0));
    rows
}

fn answer(rows: &BTreeMap<Oid, Value>, asked: &Pdu) -> Pdu {
    let mut bindings = Vec::new();
    for bind in &asked.bindings {
        let count = match asked.kind {
            Kind::GetBulk => usize::try_from(asked.index).unwrap_or(1),
            _ => 1,
        };
        let after = rows.range((Bound::Excluded(&bind.name), Bound::Unbounded));
        let mut found: Vec<VarBind> = after
            .take(count)
            .map(|(name, value)| VarBind { name: name.clone(), value: value.clone() })
            .collect();
        if found.len() < count {
            found.push(VarBind { name: bind.name.clone(), value: Value::EndOfMibView });
        }
        bindings.extend(found);
    }
    Pdu { kind: Kind::Response, request_id: asked.request_id, status: 0, index: 0, bindings }
}
