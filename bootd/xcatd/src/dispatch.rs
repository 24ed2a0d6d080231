//! Between the protocol and the commands: who asks, whether they may, and where the answer goes.
//!
//! [`handle`] is the whole treatment of one request. It is synchronous and has no socket: the server
//! calls it on a blocking thread with a sink that ends in a TLS connection, tests with a vector.

use crate::limits::COMMAND_SHOWN_MAX;
use crate::request::{Credentials, Request};
use crate::response::{Data, NodeItem, Response, hint_line};
use crate::xml::Element;
use std::net::IpAddr;
pub use tokio::io::DuplexStream;

/// The answer to each noderange of a caller without a name.
pub const NODERANGE_WITHOUT_NAME: &str =
    "a noderange needs a client certificate: without one, a node asks about itself only";

/// Who is at the other end of the connection.
#[derive(Clone, Debug, Default)]
pub struct Peer {
    /// Source address; `None` for a call inside the process.
    pub ip: Option<IpAddr>,
    /// Source port.
    pub port: u16,
    /// CN of the verified client certificate.
    pub certificate_name: Option<String>,
}

/// A noderange after expansion.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expanded {
    /// Nodes, sorted.
    pub nodes: Vec<String>,
    /// Names that are neither node nor group.
    pub unknown: Vec<String>,
    /// Why the expression cannot be evaluated at all.
    pub fatal: Option<String>,
}

/// An authenticated request, ready to run.
#[derive(Debug)]
pub struct Call {
    /// The request as read.
    pub request: Request,
    /// Expanded noderange (or the request's own node list).
    pub nodes: Vec<String>,
    /// Certificate, password or token name of the caller.
    pub peer_name: Option<String>,
    /// Where the caller is.
    pub peer: Peer,
    /// Host name of the caller as policy and audit know it.
    pub peer_host: String,
    /// User in whose name the command runs (`username` of a trusted peer, else the peer name).
    pub username: Option<String>,
}

/// Policy's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// May run; `trusted` peers may act in another user's name.
    Allow {
        /// A `trusted` rule names the peer.
        trusted: bool,
    },
    /// May not.
    Deny {
        /// What this caller may know of the reason.
        hint: Option<String>,
    },
}

/// The client has gone, or asked to stop; the command ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the client has gone")]
pub struct Gone;

/// Where responses go.
pub trait Sink {
    /// Sends one response; may wait for a slow client.
    fn send(&mut self, response: Response) -> Result<(), Gone>;

    /// Whether the client has gone, or asked to stop: for a command that has nothing to say for a while.
    fn is_gone(&self) -> bool;

    /// After the answer the connection carries bytes, both ways, between the client and this stream: for
    /// clients that ask for it.
    ///
    /// # Errors
    /// This caller has no such connection.
    fn join(&mut self, stream: DuplexStream) -> Result<(), Gone>;
}

impl Sink for Vec<Response> {
    fn send(&mut self, response: Response) -> Result<(), Gone> {
        self.push(response);
        Ok(())
    }

    fn is_gone(&self) -> bool {
        false
    }

    fn join(&mut self, _: DuplexStream) -> Result<(), Gone> {
        Err(Gone)
    }
}

/// Why there is no new token: what the daemon reports of its tables or of the machine.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NoToken(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// What the daemon can do, seen from the protocol.
pub trait Dispatcher: Send + Sync + 'static {
    /// Short host name for `xcatdsource`.
    fn source(&self) -> String;
    /// Host name of a peer for policy and audit: node name or reverse name without domain.
    fn peer_host(&self, ip: IpAddr) -> String;
    /// Checks the password that `peer` sent against the `passwd` rows of key `xcat`.
    fn check_password(&self, user: &Credentials, peer: &Peer) -> bool;
    /// User of a token, if it is valid now.
    fn token_user(&self, token: &str) -> Option<String>;
    /// Makes a token: id and expiry text (`2025-1-31 9:5:3` or `never`).
    ///
    /// # Errors
    /// It cannot be made or stored; the caller is shown why.
    fn new_token(&self, username: &str) -> Result<(String, String), NoToken>;
    /// Whether the caller may use the command at all, for any nodes: decided before anything that the
    /// request names is evaluated. `None`: it may.
    fn admit(&self, call: &Call) -> Option<Decision>;
    /// Expands a noderange for a caller with a name, as if nodes out of its reach did not exist.
    fn expand(&self, noderange: &str, call: &Call) -> Expanded;
    /// Whether a command of that name exists and whether it takes nodes that must be known.
    fn knows(&self, command: &str) -> Option<NodeUse>;
    /// The lines of the error for a caller whose command is not [known](Dispatcher::knows).
    fn unknown(&self, command: &str) -> String {
        format!("there is no command '{command}'")
    }
    /// Puts a request that [`Dispatcher::knows`] into the form its command expects, whichever client sent it.
    fn put_in_order(&self, _: &mut Request) {}
    /// Policy decision for a call; `unknown` are the names of its noderange that are, for the caller, not
    /// nodes.
    fn authorise(&self, call: &Call, unknown: &[String]) -> Decision;
    /// Runs a command that [`Dispatcher::knows`]; called on a blocking thread.
    fn run(&self, call: Call, out: &mut dyn Sink);
}

/// How a command treats the request's noderange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeUse {
    /// Unknown names refuse the request.
    Verified,
    /// The command looks at the text itself (`nodeadd`, `mkdef` …).
    Raw,
}

/// Carries out one request and sends the answer up to, not including, `serverdone`.
pub fn handle(dispatcher: &dyn Dispatcher, request: Request, peer: Peer, out: &mut dyn Sink) {
    let mut out = Stamped { source: dispatcher.source(), transid: request.transid.clone(), inner: out };
    // A client that has gone away is not an error here: the next request, if any, finds out by itself.
    let _ = handle_stamped(dispatcher, request, peer, &mut out);
}

fn handle_stamped(
    dispatcher: &dyn Dispatcher,
    mut request: Request,
    peer: Peer,
    out: &mut dyn Sink,
) -> Result<(), Gone> {
    let Ok(peer_name) = authenticate(dispatcher, &request, &peer) else {
        return out.send(Response::error("Authentication failure", Some(1)));
    };
    if let Some(user) = &request.get_token {
        return out.send(make_token(dispatcher, &user.username));
    }
    if request.command == "authcheck" {
        return out.send(authcheck(peer_name.as_deref()));
    }
    let Some(node_use) = dispatcher.knows(&request.command) else {
        return out.send(unsupported(dispatcher, &request.command));
    };
    dispatcher.put_in_order(&mut request);
    let peer_host = peer.ip.map(|ip| dispatcher.peer_host(ip)).unwrap_or_else(|| dispatcher.source());
    let username = peer_name.clone();
    let mut call = Call { request, nodes: Vec::new(), peer_name, peer, peer_host, username };
    if let Some(Decision::Deny { hint }) = dispatcher.admit(&call) {
        return out.send(denied(hint));
    }
    let expanded = expand(dispatcher, &call);
    call.nodes = expanded.nodes;
    match dispatcher.authorise(&call, &expanded.unknown) {
        Decision::Deny { hint } => return out.send(denied(hint)),
        Decision::Allow { trusted } if trusted && call.request.username.is_some() => {
            call.username.clone_from(&call.request.username);
        }
        Decision::Allow { .. } => {}
    }
    if node_use == NodeUse::Verified
        && let Some(refusal) = refusal(&expanded.unknown, expanded.fatal)
    {
        return out.send(refusal);
    }
    dispatcher.run(call, out);
    Ok(())
}

/// The peer's name after password and token log-in.
fn authenticate(dispatcher: &dyn Dispatcher, request: &Request, peer: &Peer) -> Result<Option<String>, ()> {
    let by_password = request.become_user.as_ref().or(request.get_token.as_ref());
    if let Some(user) = by_password {
        return if dispatcher.check_password(user, peer) { Ok(Some(user.username.clone())) } else { Err(()) };
    }
    match &request.token {
        Some(token) => dispatcher.token_user(token).map(Some).ok_or(()),
        None => Ok(peer.certificate_name.clone()),
    }
}

fn make_token(dispatcher: &dyn Dispatcher, username: &str) -> Response {
    match dispatcher.new_token(username) {
        Ok((id, expire)) => {
            let token =
                Element::parent("token", vec![Element::text("id", id), Element::text("expire", expire)]);
            Response { data: vec![Data::Parts(vec![token])], ..Response::default() }
        }
        Err(error) => Response::error(error.to_string(), Some(1)),
    }
}

fn authcheck(peer_name: Option<&str>) -> Response {
    let word = if peer_name.is_some() { "Authenticated" } else { "Unauthenticated" };
    let username = Element::text("username", peer_name.unwrap_or_default());
    Response { data: vec![word.into()], other: vec![username], ..Response::default() }
}

fn denied(hint: Option<String>) -> Response {
    let info = hint.iter().map(|hint| hint_line(hint)).collect();
    Response { info, ..Response::error("Permission denied for request", Some(1)) }
}

/// Nothing that a caller without a name writes is evaluated: such a caller may only ask about itself, and the
/// time, errors and lists of unknown names would reveal the content of the tables.
fn expand(dispatcher: &dyn Dispatcher, call: &Call) -> Expanded {
    let nodes = &call.request.nodes;
    match &call.request.noderange {
        None if nodes.is_empty() => Expanded::default(),
        _ if call.peer_name.is_none() => {
            Expanded { fatal: Some(NODERANGE_WITHOUT_NAME.into()), ..Expanded::default() }
        }
        Some(noderange) => dispatcher.expand(noderange, call),
        // Nodes that the sender says it has expanded are looked at like any other noderange.
        None => dispatcher.expand(&nodes.join(","), call),
    }
}

/// xCAT answers the error without an exit code, so that `rpower cn1 on && …` would continue.
fn unsupported(dispatcher: &dyn Dispatcher, command: &str) -> Response {
    let shown: String = command.chars().take(COMMAND_SHOWN_MAX).collect();
    Response { info: vec![dispatcher.unknown(&shown)], ..Response::error("Unsupported request", Some(1)) }
}

fn refusal(unknown: &[String], fatal: Option<String>) -> Option<Response> {
    if let Some(reason) = fatal {
        return Some(Response::error(reason, Some(1)));
    }
    if unknown.is_empty() {
        return None;
    }
    Some(Response { unsigned: true, ..Response::error(unknown_nodes(unknown), Some(1)) })
}

/// The refusal of unknown names: the one error that xCAT's clients show without its source
/// ([`Response::unsigned`]).
pub fn unknown_nodes(names: &[String]) -> String {
    format!("Invalid nodes and/or groups in noderange: {}", names.join(","))
}

/// Adds source and transaction id to each response.
struct Stamped<'a> {
    source: String,
    transid: Option<String>,
    inner: &'a mut dyn Sink,
}

impl Sink for Stamped<'_> {
    fn send(&mut self, mut response: Response) -> Result<(), Gone> {
        if response.unsigned {
            response.source = None;
        } else if response.source.is_none() {
            response.source = Some(self.source.clone());
        }
        response.other.extend(self.transid.as_ref().map(|id| Element::text("transid", id)));
        self.inner.send(response)
    }

    fn is_gone(&self) -> bool {
        self.inner.is_gone()
    }

    fn join(&mut self, stream: DuplexStream) -> Result<(), Gone> {
        self.inner.join(stream)
    }
}

/// An error of one node, in the shape commands use most.
pub fn node_error(node: &str, text: impl Into<String>) -> Response {
    Response::node(NodeItem::named(node).error(text, 1))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use expect_test::expect;

    /// A daemon with the nodes cn1 and cn2, the commands `echo` and `endless`, and a user `root`.
    pub(crate) struct Toy;

    impl Dispatcher for Toy {
        fn source(&self) -> String {
            "mn1".into()
        }
        fn peer_host(&self, ip: IpAddr) -> String {
            ip.to_string()
        }
        fn check_password(&self, user: &Credentials, _: &Peer) -> bool {
            user.password.reveal() == "good"
        }
        fn token_user(&self, token: &str) -> Option<String> {
            (token == "t1").then(|| "bob".into())
        }
        fn new_token(&self, _: &str) -> Result<(String, String), NoToken> {
            Ok(("t1".into(), "never".into()))
        }
        fn admit(&self, call: &Call) -> Option<Decision> {
            match call.peer_name.as_deref() {
                Some("root") => None,
                None if call.request.command == "open" => None,
                _ => Some(Decision::Deny { hint: None }),
            }
        }
        fn expand(&self, noderange: &str, call: &Call) -> Expanded {
            assert!(call.peer_name.is_some(), "evaluated for a caller without a name: {noderange}");
            let (nodes, unknown) =
                noderange.split(',').map(str::to_owned).partition(|name| name == "cn1" || name == "cn2");
            Expanded { nodes, unknown, fatal: None }
        }
        fn knows(&self, command: &str) -> Option<NodeUse> {
            matches!(command, "echo" | "endless" | "open").then_some(NodeUse::Verified)
        }
        fn authorise(&self, call: &Call, _: &[String]) -> Decision {
            match call.peer_name.as_deref() {
                Some("root") | None => Decision::Allow { trusted: false },
                _ => Decision::Deny { hint: None },
            }
        }
        fn run(&self, call: Call, out: &mut dyn Sink) {
            if call.request.command == "endless" {
                let on = || Response { info: vec!["on and on".into()], ..Response::default() };
                while out.send(on()).is_ok() {}
            }
            for node in &call.nodes {
                let item = NodeItem::named(node).data(call.request.args.join(" "));
                let _ = out.send(Response::node(item));
            }
        }
    }

    fn ask(text: &str, cn: Option<&str>) -> String {
        let request = Request::parse(&format!("<xcatrequest>{text}</xcatrequest>")).expect("request");
        let peer = Peer { certificate_name: cn.map(str::to_owned), ..Peer::default() };
        let mut responses = Vec::new();
        handle(&Toy, request, peer, &mut responses);
        let mut out = String::new();
        responses.iter().for_each(|response| response.write(&mut out));
        out
    }

    #[test]
    fn a_command() {
        expect![[r#"
            <xcatresponse>
              <node>
                <data>hi</data>
                <name>cn1</name>
              </node>
              <xcatdsource>mn1</xcatdsource>
            </xcatresponse>
        "#]]
        .assert_eq(&ask("<command>echo</command><noderange>cn1</noderange><arg>hi</arg>", Some("root")));
    }

    #[test]
    fn refusals() {
        for (text, cn, word) in [
            ("<command>nope</command>", Some("root"), "Unsupported request"),
            ("<command>echo</command>", Some("bob"), "Permission denied for request"),
            ("<command>echo</command>", None, "Permission denied for request"),
            (
                "<command>echo</command><noderange>cn1,x,y</noderange>",
                Some("root"),
                "Invalid nodes and/or groups in noderange: x,y",
            ),
            (
                "<command>echo</command><becomeuser><username>root</username><password>no</password></becomeuser>",
                None,
                "Authentication failure",
            ),
            ("<command>echo</command><tokens><tokenid>t9</tokenid></tokens>", None, "Authentication failure"),
        ] {
            assert!(ask(text, cn).contains(&format!("<error>{word}</error>")), "{text}");
        }
        assert!(ask("<command>nope</command>", None).contains("<info>there is no command 'nope'</info>"));
    }

    #[test]
    fn nothing_of_a_caller_without_a_name_is_evaluated() {
        for given in ["cn1", "nosuch", "^/etc/passwd", "ipmi.password=~^C", "all,-(", ""] {
            let answer = ask(&format!("<command>open</command><noderange>{given}</noderange>"), None);
            assert!(
                answer.contains(&format!("<error>{NODERANGE_WITHOUT_NAME}</error>")),
                "{given}: {answer}"
            );
            let denied = ask(&format!("<command>echo</command><noderange>{given}</noderange>"), None);
            assert!(denied.contains("<error>Permission denied for request</error>"), "{given}: {denied}");
        }
        let as_nodes = ask("<command>open</command><node>cn1</node>", None);
        assert!(as_nodes.contains(NODERANGE_WITHOUT_NAME), "{as_nodes}");
    }

    #[test]
    fn built_in_requests() {
        expect![[r#"
            <xcatresponse>
              <data>Authenticated</data>
              <username>bob</username>
              <xcatdsource>mn1</xcatdsource>
            </xcatresponse>
        "#]]
        .assert_eq(&ask("<command>authcheck</command><tokens><tokenid>t1</tokenid></tokens>", None));
        expect![[r#"
            <xcatresponse>
              <data>
                <token>
                  <id>t1</id>
                  <expire>never</expire>
                </token>
              </data>
              <xcatdsource>mn1</xcatdsource>
            </xcatresponse>
        "#]]
        .assert_eq(&ask("<gettoken><username>root</username><password>good</password></gettoken>", None));
    }
}
