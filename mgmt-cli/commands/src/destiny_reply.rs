//! The answer to `getdestiny` and `nextdestiny`: one element a line, because nodes read it with `sed`.

use dawn_bootd::boot_services::Destiny;
use dawn_bootd::caller::{View, booting_node};
use dawn_bootd::clock::status_time;
use dawn_bootd::command::Ctx;
use dawn_bootd::node_edits;
use dawn_bootd::output::{Done, Lines, Out, Report, Stop};
use dawn_cluster::Snapshot;
use dawn_plan::destiny::{asked, has_chain, of_server, stopped};
use dawn_xcatd::{Element, NodeItem};

/// The nodes asked about; `None` is a caller that is not a node.
///
/// A peer without certificate, or with that of a node, gets answers about itself only, whatever noderange it
/// names.
pub fn caller(ctx: &Ctx<'_>, given: bool) -> Result<Vec<Option<String>>, Stop> {
    // A node may have a certificate too, and is not an administrator by that.
    let administrator = ctx.call.peer_name.as_deref().filter(|name| !ctx.snapshot.has_node(name));
    if given && administrator.is_some() {
        // The policy opens these requests to every node, and so to every user: that gives a user no right to
        // other nodes.
        let own = View::given_by_name(&ctx.snapshot, ctx.call);
        if let Some(node) = ctx.nodes().iter().find(|node| !own.covers(node)) {
            return Err(Stop::refused(format!(
                "Permission denied: no policy rule gives {node} to the caller"
            )));
        }
        return Ok(ctx.nodes().iter().cloned().map(Some).collect());
    }
    Ok(vec![booting_node(&ctx.snapshot, ctx.call)?])
}

/// What a caller is to do: a node, or a machine that is not one yet.
#[derive(serde::Serialize)]
struct Answer<'n> {
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<&'n str>,
    #[serde(flatten)]
    destiny: Destiny,
}

impl Report for Answer<'_> {
    fn print(&self, lines: &mut Lines<'_, '_>) -> Done {
        let Destiny { destiny, kernel, initrd, kcmdline, imgserver } = &self.destiny;
        let mut other = vec![Element::text("destiny", destiny)];
        let optional =
            [("kernel", kernel), ("initrd", initrd), ("kcmdline", kcmdline), ("imgserver", imgserver)];
        other.extend(
            optional.into_iter().filter_map(|(name, value)| Some(Element::text(name, value.as_ref()?))),
        );
        let item = match self.node {
            Some(node) => NodeItem::named(node).data(destiny.clone()),
            None => NodeItem::default(),
        };
        lines.node_item(NodeItem { other, ..item })
    }
}

/// Answers for one node, advancing its chain if asked to, or if it has no state yet.
pub fn reply(node: Option<&str>, advance: bool, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
    let Some(node) = node else {
        let destiny = Destiny { destiny: "discover".into(), ..Destiny::default() };
        return out.report(&Answer { node: None, destiny });
    };
    if advance && !has_chain(&ctx.snapshot, node) {
        return Ok(());
    }
    let what = if advance { "nextdestiny" } else { "getdestiny" };
    let (mut commands, mut reason) = (None, None);
    let edits = |now: &Snapshot| {
        commands = of_server(now, node).filter(|_| advance);
        let asked = asked(now, node, advance, &status_time())?;
        reason = asked.stopped;
        Ok(asked.edits)
    };
    let named = |stop: Stop| match stop {
        Stop::Error(error) => error.about(node).into(),
        other => other,
    };
    let after = node_edits::for_node(ctx.model, node, what, edits).map_err(named)?;
    if let Some(reason) = reason {
        ctx.boot.trouble(node, &stopped(node, &reason));
        return Err(named(reason.into()));
    }
    if let (Some(commands), Some(discovery)) = (commands, ctx.boot.discovery()) {
        discovery.run_later(node, &commands);
    }
    out.report(&Answer { node: Some(node), destiny: ctx.boot.destiny(&after, node) })
}
