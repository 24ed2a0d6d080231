//! The tables, and the daemon.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use super::plan::{self, Plan};
use super::served::{self, Namespaces, Served};

pub(crate) use super::served::SERVER;

const NAMESPACES: Namespaces = Namespaces("discover");
/// Ticks of the processor time in proc(5) that make a second.
const TICKS_PER_SECOND: u64 = 100;

/// Makes the namespaces and runs this program in the outer one.
pub(crate) fn run_outside(words: &[String]) -> ExitCode {
    let outside = [
        // Machines and switches: one process may be any of them.
        "route add local 10.78.0.0/16 dev lo",
        "route add local 10.79.0.0/24 dev lo",
        // A switch that does not answer is a network without machines.
        "route add blackhole 10.79.1.0/24",
    ];
    NAMESPACES.run(words, &["route add 10.78.0.0/15 via 10.77.0.2"], &outside)
}

/// The data directory.
pub(crate) struct World(Served);

impl World {
    pub(crate) fn new(plan: &Plan) -> Self {
        let served = Served::new(NAMESPACES, plan.dawn.as_ref().map(PathBuf::from));
        served.init();
        Self(served)
    }

    /// Networks, switches, and nodes with a port each and without a MAC, by templates of their groups.
    fn define(&self, plan: &Plan) {
        for (name, net) in [("machines", "10.78.0.0"), ("switches", "10.79.0.0")] {
            self.0.done(&["mkdef", "-t", "network", "-o", name, &format!("net={net}"), "mask=255.255.0.0"]);
        }
        let of_port = plan.per_switch();
        let nodes = format!("cn[{:04}-{:04}]", 1, plan.machines);
        self.0.done(&["mkdef", "-t", "node", "-o", &nodes, "groups=compute,all"]);
        let compute = [
            r"ip=|cn(\d+)|10.77.(($1-1)/200+1).(($1-1)%200+1)|".to_owned(),
            format!(r"switch=|cn(\d+)|sw(($1-1)/{of_port}+1)|"),
            format!(r"switchport=|cn(\d+)|(($1-1)%{of_port}+1)|"),
        ];
        let mut words = vec!["chdef", "-t", "group", "-o", "compute"];
        words.extend(compute.iter().map(String::as_str));
        self.0.done(&words);
        let last = plan.switches + plan.silent;
        self.0.done(&[
            "mkdef",
            "-t",
            "node",
            "-o",
            &format!("sw[1-{last}]"),
            "groups=switch,all",
            "nodetype=switch",
        ]);
        for number in 1..=last {
            let address = match number.checked_sub(plan.switches + 1) {
                None => plan::switch(number).to_string(),
                Some(silent) => format!("10.79.1.{}", silent + 1),
            };
            self.0.done(&["chdef", &format!("sw{number}"), &format!("ip={address}"), "snmpversion=2c"]);
        }
        // A node at each silent switch, or it would not be asked.
        for silent in 1..=plan.silent {
            let (name, at) = (format!("cx{silent}"), plan.switches + silent);
            self.0.done(&[
                "mkdef",
                "-t",
                "node",
                "-o",
                &name,
                "groups=all",
                &format!("switch=sw{at}"),
                "switchport=1",
            ]);
        }
    }

    /// Machines whose MAC is not the one of the node at their port.
    pub(crate) fn wrong_nodes(&self, plan: &Plan) -> usize {
        let table = self.0.done(&["tabdump", "mac"]);
        let is_right = |machine: &u32| {
            let start = format!("\"{}\",", plan::node(*machine));
            let mac = format!("\"{}\"", plan::mac_text(*machine));
            table.lines().filter(|line| line.contains(&mac)).count() == 1
                && table.lines().any(|line| line.starts_with(&start) && line.contains(&mac))
        };
        (0..plan.machines).filter(|machine| !is_right(machine)).count()
    }
}

/// The running daemon; ended when dropped.
pub(crate) struct Daemon(served::Daemon);

impl Daemon {
    /// Starts it and defines the cluster.
    pub(crate) fn start(world: &World, plan: &Plan) -> Self {
        let daemon = world.0.launch(&["--services", "xcatd"]);
        world.define(plan);
        Self(daemon)
    }

    /// Processor time of all threads, of user and system.
    pub(crate) fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(self.0.proc("stat")).expect("the daemon runs");
        let (_, after) = stat.rsplit_once(')').expect("proc(5)");
        let ticks: u64 =
            after.split_whitespace().skip(11).take(2).map(|text| text.parse::<u64>().unwrap()).sum();
        Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND)
    }
}
