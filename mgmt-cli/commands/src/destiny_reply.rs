//! The answer to `getdestiny` and `nextdestiny`: one element a line, because nodes read it with `sed`.

use dawn_bootd::caller::{View, booting_node};
use dawn_bootd::clock::status_time;
use dawn_bootd::command::Ctx;
use dawn_bootd::node_edits;
use dawn_bootd::output::{Done, Out, Stop};
use dawn_cluster::{Snapshot, col};
use dawn_plan::destiny::asked;
use dawn_xcatd::{Element, NodeItem, Response};

/// The nodes asked about; `None` is a caller that is not a node.
///
/// A peer without certificate, or with that of a node, speaks for itself only, whatever noderange it names.
pub fn caller(ctx: &Ctx<'_>, given: bool) -> Result<Vec<Option<String>>, Stop> {
    // A node may have a certificate too, and is not an administrator by that.
    let administrator = ctx.call.peer_name.as_deref().filter(|name| !ctx.snapshot.has_node(name));
    if given && administrator.is_some() {
        // The policy opens these requests to every node, and so to every user: that makes nobody the owner of
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

/// Answers for one node, advancing its chain if asked to, or if it has no state yet.
pub fn reply(node: Option<&str>, advance: bool, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
    let Some(node) = node else {
        let destiny = Element::text("destiny", "discover");
        return out.send(Response::node(NodeItem { other: vec![destiny], ..NodeItem::default() }));
    };
    let has_state = ctx.snapshot.attr(node, col::chain::CURRSTATE).is_some();
    let has_chain =
        [col::chain::CHAIN, col::chain::CURRCHAIN].iter().any(|col| ctx.snapshot.attr(node, *col).is_some());
    if advance && !has_chain {
        return Ok(());
    }
    let what = if advance { "nextdestiny" } else { "getdestiny" };
    let edits = |now: &Snapshot| Ok(asked(now, node, advance, &status_time())?);
    let after = node_edits::for_node(ctx.model, node, what, edits)?;
    let destiny = if has_state || has_chain {
        ctx.boot.destiny(&after, node)
    } else {
        dawn_bootd::boot_services::Destiny { destiny: "standby".into(), ..Default::default() }
    };
    let mut other = vec![Element::text("destiny", &destiny.destiny)];
    let optional = [
        ("kernel", destiny.kernel),
        ("initrd", destiny.initrd),
        ("kcmdline", destiny.kcmdline),
        ("imgserver", destiny.imgserver),
    ];
    other.extend(optional.into_iter().filter_map(|(name, value)| Some(Element::text(name, value?))));
    let item = NodeItem { other, ..NodeItem::named(node).data(destiny.destiny) };
    out.send(Response::node(item))
}
