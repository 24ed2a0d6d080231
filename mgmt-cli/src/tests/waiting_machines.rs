//! Machines in the discovery system that wait: the daemon notifies them when there is something else to do.

use super::CLUSTER;
use super::ondiscover::alone_at;
use crate::testbed::Bed;
use dawn_bootd::services::Stop;
use dawn_xcatd::node_status::{NodeReport, NodeReports};
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

/// How long the word may take here; the wait ends with it.
const PATIENCE: Duration = Duration::from_secs(30);

/// A node waits in standby; `nodeset` and the chain of its group notify it, and what it was notified of is
/// what it gets. What the node moves itself does not.
#[test]
fn a_machine_that_waits_is_notified() {
    alone_at("10.66.0.1");
    let bed = Bed::new(&format!(
        "{CLUSTER}
        hosts node=cn1 ip=10.66.0.1
        chain node=cn1 currstate=standby currchain=standby"
    ));
    let listener = TcpListener::bind("10.66.0.1:3001").expect("port 3001");
    listener.set_nonblocking(true).expect("a listener");
    let asks = |done: Option<&str>| {
        let done = done.map(str::to_owned);
        bed.daemon.report("cn1", NodeReport::Destiny { done })
    };
    let stop = Stop::new();
    thread::scope(|scope| {
        scope.spawn(|| bed.discovery.work(&stop).expect("it works"));
        scope.spawn(|| bed.discovery.wake(&stop));
        let heard = || {
            let end = Instant::now() + PATIENCE;
            while Instant::now() < end {
                if let Ok((stream, _)) = listener.accept() {
                    stream.set_nonblocking(false).expect("a stream");
                    let mut line = String::new();
                    BufReader::new(stream).read_line(&mut line).expect("a line");
                    return line;
                }
                thread::park_timeout(Duration::from_millis(5));
            }
            String::new()
        };
        let seen = || {
            let mut seen = vec![asks(None)];
            bed.run("nodeset cn1 'runcmd=ls,shell'");
            seen.push(vec![heard()]);
            seen.push(asks(None));
            seen.push(asks(Some("runcmd=ls")));
            bed.run("chtab node=cn1 chain.currstate= chain.currchain= chain.chain=standby");
            seen.push(vec![heard()]);
            seen.push(asks(None));
            seen.concat()
        };
        let seen = seen();
        stop.cancel();
        assert_eq!(
            seen,
            [
                "destiny standby",
                "restart\n",
                "destiny runcmd=ls",
                "destiny shell",
                "restart\n",
                "destiny standby"
            ]
        );
        assert!(listener.accept().is_err(), "one word for each answer");
    });
}
