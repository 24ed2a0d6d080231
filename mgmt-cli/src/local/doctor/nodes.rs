//! Whether nodes would boot: their boot is planned as `dawn explain` does it, and every problem is a failure.

use super::{Finding, Site};
use serde::Deserialize;

/// Nodes whose problems are shown at most.
const NODES_MAX: usize = 1_000;

pub(super) fn boots(site: &Site<'_>) -> Vec<Finding> {
    let Some(noderange) = site.noderange.filter(|_| site.is_served()) else { return Vec::new() };
    match site.ask_about(Some(noderange), &["explain", "--json"]) {
        Ok(lines) => read(&lines.join("\n")),
        Err(error) => vec![Finding::refused(&error, "`dawn nodels` lists the nodes")],
    }
}

/// What `dawn explain --json` says of a node, as far as it is looked at.
#[derive(Deserialize)]
struct Explained {
    node: String,
    state: Option<String>,
    plan: Option<Planned>,
    problems: Vec<Said>,
    conflicts: Vec<Said>,
    advice: Option<Said>,
}

/// What the node boots: `discovery` for one that has not begun its chain.
#[derive(Deserialize)]
struct Planned {
    boots: String,
}

/// One thing that is wrong.
#[derive(Deserialize)]
struct Said {
    code: String,
    message: String,
    hint: Option<String>,
}

/// One finding for each problem of each node; one for a node without.
fn read(text: &str) -> Vec<Finding> {
    match serde_json::from_str::<Vec<Explained>>(text) {
        Ok(nodes) => nodes.into_iter().take(NODES_MAX).flat_map(node).collect(),
        Err(_) => {
            vec![Finding::failed("the answer of dawn explain is not JSON", "`dawn explain NODE` shows it")]
        }
    }
}

fn node(Explained { node: name, state, plan, problems, conflicts, advice }: Explained) -> Vec<Finding> {
    let usual = format!("`dawn explain {name}` shows where each value comes from");
    let advice = advice.map(|advice| advice.hint.unwrap_or(advice.message));
    let cure = |hint: Option<String>| hint.or_else(|| advice.clone()).unwrap_or_else(|| usual.clone());
    let mut findings: Vec<Finding> = problems
        .into_iter()
        .map(|said| {
            let message = format!("{name} would not boot: {}", said.message);
            Finding::failed(message, cure(said.hint)).with("code", said.code)
        })
        .collect();
    let begins_chain =
        plan.filter(|plan| plan.boots == "discovery").map(|_| "the discovery system".to_owned());
    match state.filter(|state| !state.is_empty()).or(begins_chain) {
        _ if !findings.is_empty() => {}
        None => findings.push(Finding::failed(
            format!("{name} would not boot: it has no boot state"),
            format!("set one: `dawn nodeset {name} osimage=IMAGE`"),
        )),
        Some(state) => findings.push(Finding::ok(format!("{name} would boot: {state}"))),
    }
    let warn = |said: Said| {
        Finding::warn(format!("{name}: {}", said.message), cure(said.hint)).with("code", said.code)
    };
    findings.extend(conflicts.into_iter().map(warn));
    findings.into_iter().map(|finding| finding.with("node", name.as_str())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_fail_and_contradictions_warn() {
        let answer = r#"[
            {"node": "cn1", "state": "netboot img", "problems": [], "conflicts": []},
            {"node": "cn2", "state": "netboot img", 
             "problems": [{"code": "no_mac", "message": "it has no MAC", "hint": "give it one"}],
             "conflicts": [{"code": "two_stores", "message": "two rows"}],
             "advice": {"code": "archive_is_old", "message": "its archive is old", "hint": "renew it"}},
            {"node": "cn3", "state": null, "problems": [], "conflicts": []},
            {"node": "cn4", "state": null, "plan": {"boots": "discovery"}, "problems": [], "conflicts": []}
        ]"#;
        let lines = super::super::tests::lines(&read(answer));
        expect_test::expect![[r#"
            [ok]     cn1 would boot: netboot img
            [failed] cn2 would not boot: it has no MAC
                     Hint: Give it one.
            [warn]   cn2: two rows
                     Hint: Renew it.
            [failed] cn3 would not boot: it has no boot state
                     Hint: Set one: `dawn nodeset cn3 osimage=IMAGE`.
            [ok]     cn4 would boot: the discovery system
        "#]]
        .assert_eq(&lines);
        assert_eq!(read("garbage").len(), 1);
    }
}
