//! Work for a node whose files are on NFS: everything POSIX promises of a file system, again and again,
//! against a model of what must be there.
//!
//! `nfs-work run DIR SECONDS SEED` works below DIR and ends with a line `done …`, or `FAILED …` at the first
//! difference; `nfs-work manifest DIR` prints what is in a tree, so that a node's view and the server's can
//! be compared. A third form, `nfs-work user DIR`, is the program's own: a child that is not root.
//!
//! The program is static and runs on the node; tests/qemu/tests/machines/soak.rs puts it there and kills the
//! server meanwhile.

mod manifest;
mod model;
mod posix;
mod random;
mod user;

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use random::Random;

/// Operations on the model between two rounds of the scenarios.
const OPERATIONS_PER_ROUND: u64 = 250;
/// Time between two lines about the state of affairs.
const REPORT_INTERVAL: Duration = Duration::from_secs(10);

#[expect(clippy::disallowed_methods, reason = "this is the main function of a program")]
fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match args.as_slice() {
        ["run", dir, seconds, seed] => work(dir, seconds, seed),
        ["manifest", dir] => manifest::of_tree(Path::new(dir)).map(|text| print!("{text}")),
        ["user", dir] => user::main(Path::new(dir)),
        _ => Err(anyhow::anyhow!("usage: nfs-work run DIR SECONDS SEED | nfs-work manifest DIR")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("FAILED {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn work(dir: &str, seconds: &str, seed: &str) -> Result<()> {
    let (seconds, seed): (u64, u64) = (seconds.parse()?, seed.parse()?);
    let top = Path::new(dir);
    // Modes arrive as they are asked for.
    rustix::process::umask(rustix::fs::Mode::empty());
    let mut random = Random::new(seed);
    let (tree, scenes) = (top.join("tree"), top.join("scenes"));
    std::fs::create_dir_all(&scenes).context("scenes")?;
    let mut model = model::Model::new(&tree)?;
    let (start, mut rounds) = (Instant::now(), 0u64);
    let mut reported = start;
    let mut slowest = Duration::ZERO;
    while start.elapsed() < Duration::from_secs(seconds) {
        for _ in 0..OPERATIONS_PER_ROUND {
            let before = Instant::now();
            model.step(&mut random).with_context(|| format!("seed {seed}, operation {}", model.steps))?;
            slowest = slowest.max(before.elapsed());
        }
        let before = Instant::now();
        posix::all(&scenes, rounds).with_context(|| format!("seed {seed}, round {rounds}"))?;
        slowest = slowest.max(before.elapsed());
        rounds += 1;
        if reported.elapsed() > REPORT_INTERVAL {
            reported = Instant::now();
            println!("{} s: {} operations, {rounds} rounds", start.elapsed().as_secs(), model.steps);
        }
    }
    model.verify().context("the whole tree, with caches")?;
    std::fs::write("/proc/sys/vm/drop_caches", "3").context("drop_caches")?;
    model.verify().context("the whole tree, without caches")?;
    if model.steps == 0 {
        bail!("nothing was done in {seconds} s");
    }
    let (steps, scenes, longest) = (model.steps, rounds * posix::SCENES, slowest.as_millis());
    println!("done {steps} operations, {scenes} scenarios, longest {longest} ms");
    Ok(())
}
