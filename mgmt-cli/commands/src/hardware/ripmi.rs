//! `ripmi`: a raw request to service processors.

use super::jobs;
use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::output::{Done, Lines, Out, Report, Stop};
use dawn_hardware::target::Deciding;
use dawn_hardware::{Error, Links, Target};
use std::sync::Arc;

/// Send a raw IPMI request to the service processors of nodes and show what they answer
///
/// Numbers are decimal, or hexadecimal with 0x in front: `ripmi cn1 0 1` asks for the chassis status.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Nodes
    #[arg(value_name = "NODERANGE", required = true)]
    noderange: String,
    /// Network function, command, and the bytes of the request
    #[arg(value_name = "BYTE", required = true)]
    bytes: Vec<String>,
}

/// What a service processor answered.
#[derive(serde::Serialize)]
struct Answered<'n> {
    node: &'n str,
    bytes: Vec<u8>,
}

impl Report for Answered<'_> {
    fn print(&self, lines: &mut Lines<'_, '_>) -> Done {
        let bytes: Vec<String> = self.bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        lines.node(self.node, bytes.join(" "))
    }
}

impl Command for Args {
    const NAME: &'static str = "ripmi";
    const KIND: Kind = Kind::Nodes;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        let bytes = self.bytes.iter().map(|word| byte(word)).collect::<Result<Vec<u8>, Stop>>()?;
        let [netfn, command, data @ ..] = &bytes[..] else {
            return Err(Stop::usage("a network function and a command are needed"));
        };
        let (netfn, command, data) = (*netfn, *command, data.to_vec());
        let job = move |links: Arc<Links>, target: Target| {
            let data = data.clone();
            async move {
                let driver = links.driver(&target).await?;
                let unidentified = || Error::NoDriver(Deciding::Mgt.unidentified());
                driver.processor().ok_or_else(unidentified)?.raw(netfn, command, data).await
            }
        };
        let targets = jobs::targets(ctx, Deciding::Mgt);
        jobs::run(ctx, out, jobs::fanout(ctx)?, targets, job, |out, node, bytes| {
            out.report(&Answered { node, bytes })
        })
    }
}

fn byte(word: &str) -> Result<u8, Stop> {
    let parsed = match word.strip_prefix("0x") {
        Some(digits) => u8::from_str_radix(digits, 16),
        None => word.parse(),
    };
    parsed.map_err(|_| Stop::usage(format!("'{word}' is not a byte: 0 to 255, or 0x00 to 0xff")))
}
