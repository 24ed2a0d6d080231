//! `rpower --wait booted`: follows the boots of nodes to their end.

use dawn_bootd::command::Ctx;
use dawn_bootd::output::{CommandError, Done, Lines, Out, Report};
use dawn_events::{Event, Step, now_ms};
use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// How often the timeline is looked at.
const LOOK_PERIOD: Duration = Duration::from_secs(1);
/// Most events of one node that are looked at together.
const EVENTS_MAX: usize = 256;

/// Boots since a moment.
pub(super) struct Boots {
    started: Instant,
    start_ms: u64,
}

/// A step of a boot.
#[derive(serde::Serialize)]
struct Seen<'e> {
    node: &'e str,
    step: String,
    seconds: f64,
    #[serde(skip_serializing_if = "str::is_empty")]
    detail: &'e str,
}

impl Report for Seen<'_> {
    fn print(&self, lines: &mut Lines<'_, '_>) -> Done {
        let text = format!("{:7.1} s  {:<8} {}", self.seconds, self.step, self.detail);
        lines.node(self.node, text.trim_end())
    }
}

impl Boots {
    /// From now on.
    pub(super) fn now() -> Self {
        Self { started: Instant::now(), start_ms: now_ms() }
    }

    /// Shows what the nodes do until each has booted, or the time is over.
    pub(super) fn wait(&self, ctx: &Ctx<'_>, out: &mut Out<'_>, nodes: &[String], limit: Duration) -> Done {
        // For each node that has not booted: the number of its steps that were shown, and the last.
        let mut waiting: BTreeMap<&str, (usize, Option<Step>)> =
            nodes.iter().map(|node| (node.as_str(), (0, None))).collect();
        let (_never, pause): (_, Receiver<()>) = channel();
        while !waiting.is_empty() && self.started.elapsed() < limit {
            let mut booted = Vec::new();
            for (node, (shown, last)) in &mut waiting {
                let steps = self.steps(ctx, node);
                for event in steps.iter().skip(*shown) {
                    out.report(&self.seen(node, event))?;
                    *last = Some(event.step);
                }
                *shown = steps.len();
                if *last == Some(Step::Booted) {
                    booted.push((*node).to_owned());
                }
            }
            waiting.retain(|node, _| !booted.iter().any(|done| done == node));
            out.go_on()?;
            if !waiting.is_empty() {
                let _ = pause.recv_timeout(LOOK_PERIOD);
            }
        }
        let minutes = limit.as_secs() / 60;
        for (node, (_, last)) in waiting {
            let last = last.map_or_else(
                || "no event of it was seen".to_owned(),
                |step| format!("its last step was {}", name(step)),
            );
            let text = format!("it has not reported booted within {minutes} minutes; {last}");
            out.node_error(node, CommandError::unavailable(text))?;
        }
        Ok(())
    }

    /// The node's steps since the start up to its first report that it is up.
    fn steps(&self, ctx: &Ctx<'_>, node: &str) -> Vec<Event> {
        let events = ctx.boot.events(Some(node), EVENTS_MAX);
        let mut steps: Vec<Event> =
            events.into_iter().filter(|event| event.time_ms >= self.start_ms).collect();
        if let Some(end) = steps.iter().position(|event| event.step == Step::Booted) {
            steps.truncate(end + 1);
        }
        steps
    }

    fn seen<'e>(&self, node: &'e str, event: &'e Event) -> Seen<'e> {
        let ms = event.time_ms.saturating_sub(self.start_ms);
        Seen {
            node,
            step: name(event.step),
            seconds: Duration::from_millis(ms).as_secs_f64(),
            detail: &event.detail,
        }
    }
}

fn name(step: Step) -> String {
    format!("{step:?}").to_lowercase()
}
