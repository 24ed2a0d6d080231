//! A DHCP server for one interface without the rest of the appliance: the server side of the DHCP bench, and
//! a way to try clients.
//!
//! `dhcp_server IFACE NETWORK/PREFIX FIRST-LAST [--journal FILE] [--no-probe] [--proxy] [--verbose]
//! [--node NAME=MAC=ADDRESS]…`
//!
//! Prints `ready`, serves until SIGTERM or SIGINT, then prints its counters and the CPU time it used.

use std::net::Ipv4Addr;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use dawn_dhcp::boot::BootRule;
use dawn_dhcp::directory::{Mode, Network, Range, Reservation};
use dawn_dhcp::event::Event;
use dawn_dhcp::fixed::FixedDirectory;
use dawn_dhcp::shell::{Config, serve};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

struct Options {
    config: Config,
    network: Network,
    nodes: Vec<Reservation>,
    macs: Vec<dawn_dhcp::HwAddr>,
    verbose: bool,
}

#[tokio::main]
async fn main() -> Result<()> {
    #[allow(clippy::disallowed_methods, reason = "an example is its own main")]
    let options = parse(std::env::args().skip(1))?;
    let verbose = options.verbose;
    let observer = move |event: &Event| {
        if verbose {
            print(event);
        }
    };
    let nodes = options.macs.into_iter().zip(options.nodes);
    let directory = FixedDirectory::new(vec![options.network], nodes);
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    let stop = CancellationToken::new();
    let signalled = stop.clone();
    tokio::spawn(async move {
        tokio::select! { _ = term.recv() => (), _ = int.recv() => () }
        signalled.cancel();
    });
    let server = serve(options.config, Arc::new(directory), Arc::new(observer), stop).await?;
    println!("ready");
    server.stopped().await;
    let counters = server.counters();
    println!("{counters:?} leases={} cpu_seconds={:.3}", server.leases().len(), cpu_seconds());
    Ok(())
}

fn print(event: &Event) {
    let show = |value: Option<String>| value.unwrap_or_else(|| "-".into());
    println!(
        "{} {} {} {} {} {}",
        event.what,
        show(event.hw.map(|hw| hw.to_string())),
        show(event.node.as_ref().map(|node| node.to_string())),
        show(event.client.map(|client| client.to_string())),
        show(event.address.map(|address| address.to_string())),
        show(event.file.as_ref().map(|file| file.to_string())),
    );
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Options> {
    let interface = args.next().context("no interface")?;
    let (address, prefix) = args.next().and_then(|net| split(&net, '/')).context("no network")?;
    let (first, last) = args.next().and_then(|range| split(&range, '-')).context("no range")?;
    let address: Ipv4Addr = address.parse()?;
    let mut network = Network::new("bench", address, prefix.parse()?);
    network.ranges = Range::new(first.parse()?, last.parse()?).into_iter().collect();
    network.routers = vec![(u32::from(address) + 1).into()];
    let config = Config { interfaces: vec![interface], ..Config::default() };
    let mut options = Options { config, network, nodes: Vec::new(), macs: Vec::new(), verbose: false };
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--journal" => options.config.journal = Some(args.next().context("--journal FILE")?.into()),
            "--no-probe" => options.config.settings.probe = false,
            "--proxy" => options.network.mode = Mode::Proxy,
            "--verbose" => options.verbose = true,
            "--http-port" => {
                options.config.settings.http_port = args.next().context("--http-port N")?.parse()?;
            }
            "--node" => add_node(&mut options, &args.next().context("--node NAME=MAC=ADDRESS")?)?,
            other => bail!("unknown argument {other}"),
        }
    }
    Ok(options)
}

fn add_node(options: &mut Options, text: &str) -> Result<()> {
    let mut parts = text.split('=');
    let (Some(name), Some(mac), Some(address)) = (parts.next(), parts.next(), parts.next()) else {
        bail!("a node is NAME=MAC=ADDRESS");
    };
    options.macs.push(mac.parse()?);
    options.nodes.push(Reservation {
        node: name.into(),
        hostname: name.into(),
        address: Some(address.parse()?),
        no_ip: false,
        next_server: None,
        boot: BootRule::Xnba { script: format!("nodes/{name}"), uefi: true },
        options: Vec::new(),
    });
    Ok(())
}

fn split(text: &str, at: char) -> Option<(String, String)> {
    text.split_once(at).map(|(a, b)| (a.to_owned(), b.to_owned()))
}

/// CPU seconds of this process, user and system.
fn cpu_seconds() -> f64 {
    // SAFETY: getrusage fills the struct it is given.
    let usage = unsafe {
        let mut usage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}
