//! Whether nodes would boot: their boot is planned as `dawn explain` does it, and every problem is a failure.

use super::{Finding, Site};
use serde_json::Value;

/// Nodes whose problems are shown at most.
const NODES_MAX: usize = 1_000;

pub(super) fn boots(site: &Site<'_>) -> Vec<Finding> {
    let Some(noderange) = site.noderange.filter(|_| site.is_served()) else { return Vec::new() };
    match site.ask_about(Some(noderange), &["explain", "--json"]) {
        Ok(lines) => read(&lines.join("\n")),
        Err(error) => vec![Finding::failed(error.reason(), "dawn nodels lists the nodes")],
    }
}

/// One finding for each problem of each node; one for a node without.
fn read(text: &str) -> Vec<Finding> {
    let Ok(Value::Array(nodes)) = serde_json::from_str(text) else {
        return vec![Finding::failed("the answer of dawn explain is not JSON", "dawn explain NODE")];
    };
    nodes.iter().take(NODES_MAX).flat_map(node).collect()
}

fn node(explained: &Value) -> Vec<Finding> {
    let text = |key: &str| explained.get(key).and_then(Value::as_str).unwrap_or_default();
    let list = |key: &str| {
        let values = explained.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        values.iter().filter_map(Value::as_str)
    };
    let (name, state) = (text("node"), text("state"));
    let advice = explained.get("advice").and_then(Value::as_str).map(str::to_owned);
    let cure = advice.unwrap_or_else(|| format!("dawn explain {name} shows where each value comes from"));
    let mut findings: Vec<Finding> = list("problems")
        .map(|problem| Finding::failed(format!("{name} would not boot: {problem}"), cure.clone()))
        .collect();
    if findings.is_empty() && state.is_empty() {
        findings.push(Finding::failed(
            format!("{name} would not boot: it has no boot state"),
            format!("dawn nodeset {name} osimage=IMAGE"),
        ));
    } else if findings.is_empty() {
        findings.push(Finding::ok(format!("{name} would boot: {state}")));
    }
    findings.extend(list("conflicts").map(|text| Finding::warn(format!("{name}: {text}"), cure.clone())));
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_fail_and_contradictions_warn() {
        let answer = r#"[
            {"node": "cn1", "state": "netboot img", "problems": [], "conflicts": []},
            {"node": "cn2", "state": "netboot img", "problems": ["it has no MAC"], "conflicts": ["two rows"], "advice": "give it one"},
            {"node": "cn3", "state": null, "problems": [], "conflicts": []}
        ]"#;
        let lines = super::super::tests::lines(&read(answer));
        expect_test::expect![[r"
            [ok]     cn1 would boot: netboot img
            [failed] cn2 would not boot: it has no MAC
                     give it one
            [warn]   cn2: two rows
                     give it one
            [failed] cn3 would not boot: it has no boot state
                     dawn nodeset cn3 osimage=IMAGE
        "]]
        .assert_eq(&lines);
        assert_eq!(read("garbage").len(), 1);
    }
}
