//! `rsetboot`: what machines boot from next.

use super::jobs;
use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::output::{CommandError, Done, Lines, Out, Report};
use dawn_hardware::target::Deciding;
use dawn_hardware::{BootOverride, Device, Error, Links, Target};
use std::sync::Arc;

/// The words of DEVICE.
const DEVICES: &str = "DEVICE is one of net, hd, cd, floppy, setup, def and stat.";
/// What a service processor says that has no boot options.
const NO_BOOT_OPTION: u8 = 0x80;

/// Set what nodes boot from next, or show it
///
/// DEVICE is net, hd, cd, floppy, setup (the firmware's set-up), def or default (nothing special), or
/// stat. It counts for the next boot only, unless -p is given. What is printed is what the machine says
/// afterwards: Network, Hard Drive, CD/DVD, Floppy, BIOS Setup, BIOS default, or "boot override inactive"
/// if nothing is set.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Boot by UEFI
    #[arg(short = 'u')]
    uefi: bool,
    /// For all boots, not only the next one
    #[arg(short = 'p')]
    persistent: bool,
    /// Nodes
    #[arg(value_name = "NODERANGE", required = true)]
    noderange: String,
    /// net, hd, cd, floppy, setup, def or stat
    #[arg(value_name = "DEVICE")]
    device: Vec<String>,
}

/// What to do.
#[derive(Clone, Copy)]
enum Asked {
    Query,
    Set(Option<Device>),
}

fn parse(words: &[String]) -> Option<Asked> {
    let [word] = words else { return words.is_empty().then_some(Asked::Query) };
    Some(match word.as_str() {
        "net" => Asked::Set(Some(Device::Network)),
        "hd" => Asked::Set(Some(Device::Disk)),
        "cd" => Asked::Set(Some(Device::Optical)),
        "floppy" => Asked::Set(Some(Device::Floppy)),
        "setup" => Asked::Set(Some(Device::Setup)),
        "def" | "default" => Asked::Set(None),
        word if word.starts_with("stat") => Asked::Query,
        _ => return None,
    })
}

/// What a node boots from.
#[derive(serde::Serialize)]
struct Boots<'n> {
    node: &'n str,
    device: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    persistent: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    uefi: bool,
}

impl Report for Boots<'_> {
    fn print(&self, lines: &mut Lines<'_, '_>) -> Done {
        lines.node(self.node, &self.device)
    }
}

impl Command for Args {
    const NAME: &'static str = "rsetboot";
    const KIND: Kind = Kind::Nodes;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        let Some(asked) = parse(&self.device) else {
            let text = format!("unsupported command setboot {}", self.device.join(" "));
            let error = || CommandError::usage(text.clone()).hint(DEVICES);
            return ctx.nodes().iter().try_for_each(|node| out.node_error(node, error()));
        };
        let (persistent, uefi) = (self.persistent, self.uefi);
        let job = move |links: Arc<Links>, target: Target| async move {
            let driver = links.driver(&target).await?;
            let result = match asked {
                Asked::Query => driver.boot_device().await,
                Asked::Set(device) => {
                    let wanted = device.map(|device| BootOverride { device, persistent, uefi });
                    driver.set_boot_device(wanted).await
                }
            };
            of_result(result)
        };
        let targets = jobs::targets(ctx, Deciding::Mgt);
        jobs::run(ctx, out, jobs::fanout(ctx)?, targets, job, |out, node, answer| {
            let (device, set) = match answer {
                Answer::NoOptions => ("Unable to set boot param".to_owned(), None),
                Answer::Next(set) => (device_text(set.map(|set| set.device)), set),
            };
            let (persistent, uefi) = set.map_or((false, false), |set| (set.persistent, set.uefi));
            out.report(&Boots { node, device, persistent, uefi })
        })
    }
}

/// What a machine says.
pub(super) enum Answer {
    /// What it boots from next; `None` for what it always does.
    Next(Option<BootOverride>),
    /// It has no boot options.
    NoOptions,
}

/// A machine without boot options is not an error for scripts.
pub(super) fn of_result(result: Result<Option<BootOverride>, Error>) -> Result<Answer, Error> {
    match result {
        Err(error) if error.completion().is_some_and(|code| code.0 == NO_BOOT_OPTION) => {
            Ok(Answer::NoOptions)
        }
        Err(error) => Err(error),
        Ok(set) => Ok(Answer::Next(set)),
    }
}

fn device_text(device: Option<Device>) -> String {
    match device {
        None => "boot override inactive".to_owned(),
        Some(Device::Default) => "BIOS default".to_owned(),
        Some(Device::Network) => "Network".to_owned(),
        Some(Device::Disk) => "Hard Drive".to_owned(),
        Some(Device::Optical) => "CD/DVD".to_owned(),
        Some(Device::Setup) => "BIOS Setup".to_owned(),
        Some(Device::Floppy) => "Floppy".to_owned(),
        Some(Device::Other(number)) => format!("boot device {number}"),
    }
}
