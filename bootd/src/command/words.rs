//! The noderange among the words of a command, and requests in the forms of xCAT's clients.

use super::options::takes_next_word;
use dawn_cluster::condition::assignment;
use dawn_xcatd::Request;

/// The noderange of a request, or the list of nodes given instead.
pub(super) fn given_nodes(request: &Request) -> Option<String> {
    let nodes = if request.nodes.is_empty() { None } else { Some(request.nodes.join(",")) };
    request.noderange.clone().or(nodes)
}

/// Cuts a noderange out of the words of a [`Kind::Nodes`] command: the first word that does not begin
/// with `-` and is not the value of an option. (xCAT's client does not know which options take
/// values and takes `5` of `-n 5` for the noderange.)
pub fn split_noderange(command: &clap::Command, words: &[String]) -> (Option<String>, Vec<String>) {
    let mut value_expected = false;
    for (at, word) in words.iter().enumerate() {
        if std::mem::take(&mut value_expected) {
            continue;
        }
        if word.starts_with('-') {
            value_expected = takes_next_word(command, word);
            continue;
        }
        let mut rest = words.to_vec();
        let noderange = rest.remove(at);
        return (Some(noderange), rest);
    }
    (None, words.to_vec())
}

/// The word of an object command that names its objects.
pub(super) fn object_names(command: &clap::Command, words: &[String]) -> Option<String> {
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if word == "-o" {
            return words.next().cloned();
        }
        if word.starts_with('-') {
            if takes_next_word(command, word) {
                words.next();
            }
        } else if assignment(word).is_none() {
            return Some(word.clone());
        }
    }
    None
}

/// xCAT's `tabrestore` sends `<table>`, one `<data>` for each line of the file, and `<addrows>`.
pub(super) fn take_table(request: &mut Request) {
    let Some(table) = request.extra.iter().find(|element| element.name == "table") else { return };
    request.args = vec![format!("{}.csv", table.text.trim())];
    if request.extra.iter().any(|element| element.name == "addrows") {
        request.args.insert(0, "-a".into());
    }
    let lines = request.extra.iter().filter(|element| element.name == "data");
    request.stdin = Some(lines.map(|line| line.text.as_str()).collect());
    request.extra.clear();
}
