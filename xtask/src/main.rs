//! `cargo xtask`: the project's chores, the same for people and for continuous integration.
//!
//! `demo` shows the appliance at work, `test` proves it. Both install what they need (`packages.txt`), build
//! what they need and say what they do. The other commands run a program that is next to the engine it
//! exercises.

mod check;
mod console;
mod demo;
mod dist;
mod elf;
mod metadata;
mod packages;
mod programs;
mod progress;
mod release;
mod shell;
mod suite;
mod tidy;
mod timeline;
mod tools;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Chores of the Dawn project.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Debug, Subcommand)]
enum Chore {
    /// Boot two real machines from nothing: one BIOS with its root in memory, one UEFI with its root on NFS
    Demo(demo::Demo),
    /// Everything that must hold: format, lints, unit and conversation tests, the static binary, machines
    Test(check::Test),
    /// What needs no build: imports, dependencies, documents against facts, unused items, comments
    Tidy(tidy::Tidy),
    /// Make the Debian and RPM packages, an archive, the list of components, digests and a signature
    Dist(dist::Dist),
    /// Ten minutes of work on a node's files while the server is killed every 20 s
    Soak(check::Soak),
    /// Attach to the console of a machine of a running demo
    Console(console::Console),
    /// Run a benchmark of an engine
    Bench(tools::Tool),
    /// Run the storm simulator
    Sim(tools::Tool),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().chore {
        Chore::Demo(demo) => demo.run(),
        Chore::Test(test) => test.run(),
        Chore::Tidy(tidy) => tidy.run(),
        Chore::Dist(dist) => dist.run(),
        Chore::Soak(soak) => soak.run(),
        Chore::Console(console) => console.run(),
        Chore::Bench(tool) => tool.run("bench"),
        Chore::Sim(tool) => tool.run("sim"),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
