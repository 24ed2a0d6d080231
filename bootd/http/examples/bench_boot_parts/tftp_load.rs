//! TFTP load: many curls, and our own client with and without windows.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use dawn_tftp::client::{Client, Habit, State, Wish};
use dawn_tftp::outbox::PortId;
use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::servers::{Server, tftp_servers};
use crate::{ADDRESS, Bench, Outcome};

/// One kind of load.
struct Load {
    title: &'static str,
    file: &'static str,
    bytes: u64,
    /// Transfers in all, and how many of them at one time.
    transfers: usize,
    parallel: usize,
    options: &'static [(&'static str, u64)],
    curl: bool,
}

const LOADS: &[Load] = &[
    Load {
        title: "100 curls at a time, 200 × 1 MiB, blksize 1468",
        file: "1m",
        bytes: 1 << 20,
        transfers: 200,
        parallel: 100,
        options: &[("blksize", 1468)],
        curl: true,
    },
    Load {
        title: "1,000 clients at one moment, 1 MiB each, blksize 1468",
        file: "1m",
        bytes: 1 << 20,
        transfers: 1000,
        parallel: 1000,
        options: &[("tsize", 0), ("blksize", 1468)],
        curl: false,
    },
    Load {
        title: "8 clients, 64 MiB each, blksize 1468, windowsize 16 (RFC 7440)",
        file: "64m",
        bytes: 64 << 20,
        transfers: 8,
        parallel: 8,
        options: &[("tsize", 0), ("blksize", 1468), ("windowsize", 16)],
        curl: false,
    },
];

/// What a load came to.
#[derive(Default)]
struct Result {
    done: usize,
    failed: usize,
    repeats: u64,
    bytes: u64,
    windowed: bool,
}

/// Runs every load against every server and prints tables.
pub(crate) fn measure(bench: &Bench, only: usize) -> Outcome<()> {
    for (_, load) in (1..).zip(LOADS).filter(|(number, _)| only == 0 || only == *number) {
        println!("\n### TFTP: {}\n", load.title);
        println!("| server | done | client repeats | s | MB/s | server CPU s/GB | against dawn |");
        println!("|---|---|---|---|---|---|---|");
        let mut ours = None;
        for start in tftp_servers(bench) {
            let Some(server) = start()? else { continue };
            one(load, &server, &mut ours)?;
        }
    }
    Ok(())
}

fn one(load: &Load, server: &Server, ours: &mut Option<f64>) -> Outcome<()> {
    let (cpu, begun) = (server.cpu_s(), Instant::now());
    let result = if load.curl { with_curl(load)? } else { with_clients(load)? };
    let seconds = begun.elapsed().as_secs_f64();
    // Children that serve a transfer end a little later.
    std::thread::sleep(Duration::from_millis(500));
    let gigabytes = result.bytes as f64 / 1e9;
    let per_gigabyte = (server.cpu_s() - cpu) / gigabytes.max(1e-9);
    let ours = *ours.get_or_insert(per_gigabyte);
    println!(
        "| {} | {}/{} | {} | {seconds:.2} | {:.0} | {per_gigabyte:.2} | {:.1}× |{}",
        server.name,
        result.done,
        result.done + result.failed,
        result.repeats,
        gigabytes * 1000.0 / seconds,
        per_gigabyte / ours,
        if load.options.len() > 2 && !result.windowed { " (no windows)" } else { "" },
    );
    Ok(())
}

fn with_curl(load: &Load) -> Outcome<Result> {
    let mut result = Result::default();
    let mut running = VecDeque::new();
    let mut left = load.transfers;
    while left > 0 || !running.is_empty() {
        while left > 0 && running.len() < load.parallel {
            left -= 1;
            let child = Command::new("curl")
                .args(["-s", "--tftp-blksize", "1468", "-o", "/dev/null", "-w", "%{size_download}"])
                .arg(format!("tftp://{ADDRESS}/{}", load.file))
                .stdout(Stdio::piped())
                .spawn()?;
            running.push_back(child);
        }
        if let Some(child) = running.pop_front() {
            let output = child.wait_with_output()?;
            let bytes: u64 = String::from_utf8_lossy(&output.stdout).parse().unwrap_or(0);
            result.bytes += bytes;
            if output.status.success() && bytes == load.bytes {
                result.done += 1;
            } else {
                result.failed += 1;
            }
        }
    }
    Ok(result)
}

fn with_clients(load: &Load) -> Outcome<Result> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let server: SocketAddr = format!("{ADDRESS}:69").parse()?;
    runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..load.transfers {
            let wish = Wish {
                name: load.file.to_owned(),
                options: load.options.to_vec(),
                habit: Habit::Once,
                patience: Duration::from_secs(2),
                repeats_max: 10,
            };
            tasks.spawn(async move { fetch(server, wish).await.map_err(|error| error.to_string()) });
        }
        let mut result = Result::default();
        while let Some(fetched) = tasks.join_next().await {
            match fetched? {
                Ok(client) => {
                    let whole = client.state() == State::Done && client.received_bytes() == load.bytes;
                    result.done += usize::from(whole);
                    result.failed += usize::from(!whole);
                    result.repeats += u64::from(client.repeats_in_all());
                    result.bytes += client.received_bytes();
                    result.windowed |= client.window() > 1;
                }
                Err(error) => {
                    eprintln!("{error}");
                    result.failed += 1;
                }
            }
        }
        Ok(result)
    })
}

/// One transfer over a new socket.
async fn fetch(server: SocketAddr, wish: Wish) -> std::io::Result<Client> {
    let socket = UdpSocket::bind("0.0.0.0:0").await?;
    let begun = Instant::now();
    let (mut client, request) = Client::new(Duration::ZERO, wish);
    socket.send_to(&request, server).await?;
    let mut peer = server;
    let mut buffer = vec![0; 65_536];
    while let Some(deadline) = client.deadline() {
        let wait = deadline.saturating_sub(begun.elapsed());
        let answer = match timeout(wait, socket.recv_from(&mut buffer)).await {
            Ok(received) => {
                let (length, from) = received?;
                peer = from;
                client.on_packet(begun.elapsed(), PortId(1), buffer.get(..length).unwrap_or_default())
            }
            Err(_) => client.on_timer(begun.elapsed()),
        };
        if let Some(packet) = answer {
            socket.send_to(&packet, peer).await?;
        }
    }
    Ok(client)
}
