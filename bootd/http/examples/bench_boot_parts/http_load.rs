//! HTTP load: wrk on a small file, several curls on a large one.

use std::process::{Command, Stdio};
use std::time::Instant;

use crate::servers::{HTTP_PORT, Server, http_servers};
use crate::{ADDRESS, Bench, Outcome};

/// Runs of each load; the servers take turns, and the best run counts.
const ROUNDS: usize = 3;
/// Large files at one time, and how often each is fetched.
const LARGE_PARALLEL: usize = 8;
const LARGE_BYTES: u64 = 512 << 20;

/// Runs every load against every server and prints tables.
pub(crate) fn measure(bench: &Bench) -> Outcome<()> {
    println!("\n### HTTP: 1 KiB file, wrk -t1 -c256, 5 s\n");
    println!("| server | req/s | server CPU µs/request | p99 |\n|---|---|---|---|");
    rounds(bench, small)?;
    println!("\n### HTTP: {LARGE_PARALLEL} curls at a time, 512 MiB each\n");
    println!("| server | MB/s | server CPU s/GB | MB per CPU s |\n|---|---|---|---|");
    rounds(bench, large)
}

fn rounds(bench: &Bench, load: fn(&Server) -> Outcome<()>) -> Outcome<()> {
    for _ in 0..ROUNDS {
        for start in http_servers(bench) {
            if let Some(server) = start()? {
                load(&server)?;
            }
        }
    }
    Ok(())
}

fn small(server: &Server) -> Outcome<()> {
    let cpu = server.cpu_s();
    let output = Command::new("wrk")
        .args(["-t1", "-c256", "-d5", "--latency"])
        .arg(format!("http://{ADDRESS}:{HTTP_PORT}/1k"))
        .output()?;
    let cpu = server.cpu_s() - cpu;
    let text = String::from_utf8_lossy(&output.stdout);
    let value = |label: &str| {
        text.lines().find_map(|line| line.trim().strip_prefix(label)).unwrap_or("?").trim().to_owned()
    };
    let rate: f64 = value("Requests/sec:").parse().unwrap_or(0.0);
    let requests: f64 = text
        .lines()
        .find_map(|line| line.split_once(" requests in"))
        .and_then(|(count, _)| count.trim().parse().ok())
        .unwrap_or(1.0);
    println!("| {} | {rate:.0} | {:.2} | {} |", server.name, cpu * 1e6 / requests, value("99%"));
    Ok(())
}

fn large(server: &Server) -> Outcome<()> {
    let (cpu, begun) = (server.cpu_s(), Instant::now());
    let url = format!("http://{ADDRESS}:{HTTP_PORT}/512m");
    let clients: Vec<_> = (0..LARGE_PARALLEL)
        .map(|_| Command::new("curl").args(["-s", "-o", "/dev/null", &url]).stdout(Stdio::null()).spawn())
        .collect::<Result<_, _>>()?;
    for mut client in clients {
        if !client.wait()?.success() {
            return Err("a curl failed".into());
        }
    }
    let gigabytes = (LARGE_BYTES * LARGE_PARALLEL as u64) as f64 / 1e9;
    let (seconds, cpu) = (begun.elapsed().as_secs_f64(), server.cpu_s() - cpu);
    println!(
        "| {} | {:.0} | {:.3} | {:.0} |",
        server.name,
        gigabytes * 1000.0 / seconds,
        cpu / gigabytes,
        gigabytes * 1000.0 / cpu.max(0.01)
    );
    Ok(())
}
