//! A job for each node of a call: started together, shown in order of completion.
//!
//! A caller that goes away stops what has not begun. Nodes without a driver get an error, and the others are
//! not affected.

use dawn_bootd::command::Ctx;
use dawn_bootd::output::{CommandError, Done, Out, Stop};
use dawn_fanout::Fanout;
use dawn_hardware::limits::{LOOK_PERIOD, WIDTH};
use dawn_hardware::target::{Bmc, Deciding, target};
use dawn_hardware::{Answer, Error, Links, Next, Processor, Target, Way};
use std::future::Future;
use std::sync::Arc;

/// How many nodes are worked on together: `site.ipmimaxp`, else as many as a fan-out can.
pub(super) fn fanout(ctx: &Ctx<'_>) -> Result<Fanout, Stop> {
    let wanted = ctx.snapshot.site("ipmimaxp").and_then(|text| text.trim().parse::<usize>().ok());
    let width = wanted.unwrap_or(WIDTH).clamp(1, WIDTH);
    Fanout::default().width(width).map_err(|error| Stop::internal(error.to_string()))
}

/// The way to each node of the call.
pub(super) fn targets(ctx: &Ctx<'_>, deciding: Deciding) -> Vec<Target> {
    targets_of(ctx, ctx.nodes(), deciding)
}

/// The way to each of these nodes.
pub(super) fn targets_of(ctx: &Ctx<'_>, nodes: &[String], deciding: Deciding) -> Vec<Target> {
    nodes.iter().map(|node| target(&ctx.snapshot, node, deciding)).collect()
}

/// Runs a job for each target and shows each result as it comes. The command's exit code is 1 if one failed.
pub(super) fn run<T, F>(
    ctx: &Ctx<'_>,
    out: &mut Out<'_>,
    fanout: Fanout,
    targets: Vec<Target>,
    job: impl Fn(Arc<Links>, Target) -> F + Send + 'static,
    mut show: impl FnMut(&mut Out<'_>, &str, T) -> Done,
) -> Done
where
    T: Send + 'static,
    F: Future<Output = Result<T, Error>> + Send + 'static,
{
    let results =
        ctx.hardware.run(fanout, targets, job).map_err(|error| Stop::internal(error.to_string()))?;
    loop {
        match results.next(LOOK_PERIOD) {
            Next::Result(node, Ok(value)) => show(out, &node, value)?,
            Next::Result(node, Err(error)) => fail(ctx, out, &node, &error)?,
            // Results that have arrived are shown before the next wait.
            Next::Nothing => out.go_on()?,
            Next::End => return Ok(()),
        }
    }
}

/// Why a node has no result: the words that scripts know, then the reason.
pub(super) fn fail(ctx: &Ctx<'_>, out: &mut Out<'_>, node: &str, error: &Error) -> Done {
    let text = error.to_string();
    let shown = match error {
        Error::NoDriver(_) | Error::Unsupported(_) => CommandError::refused(text),
        Error::Credentials(_) => CommandError::conflict(text),
        _ => CommandError::unavailable(text),
    };
    let lacks_method =
        matches!(error, Error::NoDriver(_)) && Deciding::Mgt.method(&ctx.snapshot, node).is_none();
    let shown = match lacks_method {
        true => shown.hint(format!("`chdef {node} mgt=ipmi` if the machine has a BMC.")),
        false => shown,
    };
    match error.detail() {
        Some(detail) => out.node_error(node, shown.cause(detail)),
        None => out.node_error(node, shown),
    }
}

/// What one of a machine's service processors answered: its number from 1 on, and that.
pub(super) type Part<T> = (usize, Result<T, Error>);

/// Asks all service processors of a machine, one after the other.
pub(super) async fn of_all<T>(
    links: Arc<Links>,
    target: Target,
    ask: impl for<'a> Fn(&'a dyn Processor) -> Answer<'a, T>,
) -> Result<Vec<Part<T>>, Error> {
    let mut parts = Vec::new();
    for (number, bmc) in (1..).zip(processors(target)?) {
        let answer = match links.bmc(&bmc).await {
            Ok(machine) => ask(&machine).await,
            Err(error) => Err(error),
        };
        parts.push((number, answer));
    }
    Ok(parts)
}

/// The service processors of a machine; one without any has no driver for the command.
fn processors(target: Target) -> Result<Vec<Bmc>, Error> {
    match target.way? {
        Way::Ipmi(bmcs) => Ok(bmcs),
        Way::Qemu(_) | Way::Kvm { .. } => Err(Error::NoDriver(Deciding::Mgt.unidentified())),
    }
}

/// Shows what the service processors of a machine answered.
pub(super) fn show_parts<T>(
    ctx: &Ctx<'_>,
    out: &mut Out<'_>,
    node: &str,
    parts: Vec<Part<T>>,
    mut show: impl FnMut(&mut Out<'_>, usize, T) -> Done,
) -> Done {
    for (number, part) in parts {
        match part {
            Ok(value) => show(out, number, value)?,
            Err(error) => fail(ctx, out, node, &error)?,
        }
    }
    Ok(())
}

/// What follows each line of a service processor other than the first.
pub(super) fn suffix(number: usize) -> String {
    if number < 2 { String::new() } else { format!(" on BMC {number}") }
}

/// Refuses words before any machine is asked: a line for each node, exit code 1. `sign` is what xCAT puts
/// before the text.
pub(super) fn refuse_words(
    ctx: &Ctx<'_>,
    out: &mut Out<'_>,
    (deciding, sign): (Deciding, &str),
    text: impl Fn(&str) -> String,
) -> Done {
    for node in ctx.nodes() {
        let method = deciding.method(&ctx.snapshot, node);
        let error = CommandError::usage(text(method.as_deref().unwrap_or("ipmi")));
        out.plain_node_error(node, sign, error)?;
    }
    Err(Stop::Code(1))
}

/// Reports for each node that no driver of its kind knows the command; `instead` is what to do with a machine
/// that has a driver.
pub(super) fn not_for_these(
    ctx: &Ctx<'_>,
    out: &mut Out<'_>,
    deciding: Deciding,
    instead: impl Fn(&str) -> String,
) -> Done {
    for Target { node, way } in targets(ctx, deciding) {
        match way {
            Ok(_) => {
                let error = CommandError::refused(deciding.unidentified()).hint(instead(&node));
                out.node_error(&node, error)?;
            }
            Err(error) => fail(ctx, out, &node, &error)?,
        }
    }
    Ok(())
}
