//! What a client asks: one `<xcatrequest>` document.
//!
//! Elements come in any order, repeated or not; an empty element counts as absent, but for `<noderange>`.
//! Elements that the core does not know stay in [`Request::extra`] for commands that know them.

use crate::limits::XML_ELEMENTS_MAX;
use crate::xml::{Element, XmlError};
use dawn_wire::Secret;

/// A user's name and password as given in `becomeuser` and `gettoken`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// User name.
    pub username: String,
    /// Password in clear.
    pub password: Secret,
}

/// A request, as read; nothing in it is believed yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// The verb, usually the base name of the client's program.
    pub command: String,
    /// Arguments in order; an empty argument is kept.
    pub args: Vec<String>,
    /// Noderange as typed; empty if the element is there without text.
    pub noderange: Option<String>,
    /// Nodes already expanded by the sender.
    pub nodes: Vec<String>,
    /// Working directory of the client.
    pub cwd: Option<String>,
    /// Text piped into the client.
    pub stdin: Option<String>,
    /// `XCAT_*` variables of the client.
    pub environment: Vec<(String, String)>,
    /// `KEY=value` strings of the xdsh family.
    pub env: Vec<String>,
    /// `cli`, `webui` … (audit only).
    pub client_type: Option<String>,
    /// User named by a trusted peer.
    pub username: Option<String>,
    /// Host list of a forwarded request.
    pub remote_client: Option<String>,
    /// Log in with a password instead of a certificate.
    pub become_user: Option<Credentials>,
    /// Ask for a token instead of running a command.
    pub get_token: Option<Credentials>,
    /// Log in with a token.
    pub token: Option<String>,
    /// Echoed in the response.
    pub transid: Option<String>,
    /// Port below 1024 on which the node proves root's consent.
    pub callback_port: Option<u16>,
    /// Stop what runs on this connection.
    pub abort: bool,
    /// All other elements.
    pub extra: Vec<Element>,
}

/// Why a text is not a request.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RequestError {
    /// Not a document.
    #[error("the request cannot be read: {0}")]
    Xml(#[from] XmlError),
    /// Another root element.
    #[error("the root element is <{0}>, not <xcatrequest>")]
    Root(String),
}

impl Request {
    /// Reads one document, from `<xcatrequest>` to `</xcatrequest>`.
    pub fn parse(text: &str) -> Result<Request, RequestError> {
        Self::parse_within(text, XML_ELEMENTS_MAX)
    }

    /// The same with at most `elements_max` elements.
    pub fn parse_within(text: &str, elements_max: usize) -> Result<Request, RequestError> {
        // XML cannot contain escape bytes; clients send them under this name.
        let restored;
        let text = if text.contains("xxxxESCxxxx") {
            restored = text.replace("xxxxESCxxxx", "\x1b");
            &restored
        } else {
            text
        };
        let root = Element::parse_within(text, elements_max)?;
        if root.name != "xcatrequest" {
            return Err(RequestError::Root(root.name));
        }
        let mut request = Request::default();
        for element in root.children {
            request.take(element);
        }
        Ok(request)
    }

    fn take(&mut self, element: Element) {
        let text = || Some(element.text.trim().to_owned()).filter(|text| !text.is_empty());
        match element.name.as_str() {
            "command" => self.command = text().unwrap_or_default(),
            // `setNodesAttribs` has its tables inside of an argument.
            "arg" if element.children.is_empty() => self.args.push(element.text),
            // An empty one is not none: a script whose variable is empty means no node, not the next word.
            "noderange" => self.noderange = Some(element.text.trim().to_owned()),
            "node" => self.nodes.extend(text()),
            "cwd" => self.cwd = text(),
            "stdin" => self.stdin = Some(element.text).filter(|text| !text.is_empty()),
            "environment" => {
                self.environment.extend(element.children.into_iter().map(|child| (child.name, child.text)));
            }
            "env" => self.env.push(element.text),
            "clienttype" => self.client_type = text(),
            "username" => self.username = text(),
            "remote_client" => self.remote_client = text(),
            "becomeuser" => self.become_user = credentials(&element),
            "gettoken" => self.get_token = credentials(&element),
            "tokens" => self.token = element.child_text("tokenid").map(str::to_owned),
            "transid" => self.transid = text(),
            "callback_port" => self.callback_port = text().and_then(|port| port.parse().ok()),
            "abortcommand" => self.abort = text().is_some_and(|value| value != "0"),
            _ => self.extra.push(element),
        }
    }

    /// The document, elements in alphabetical order as xCAT's client writes them.
    pub fn to_xml(&self) -> String {
        let mut children: Vec<Element> = self.extra.clone();
        let mut optional = |name: &str, value: &Option<String>| {
            children.extend(value.as_ref().map(|value| Element::text(name, value)));
        };
        optional("clienttype", &self.client_type);
        optional("noderange", &self.noderange);
        optional("cwd", &self.cwd);
        optional("stdin", &self.stdin);
        optional("username", &self.username);
        optional("remote_client", &self.remote_client);
        optional("transid", &self.transid);
        optional("callback_port", &self.callback_port.map(|port| port.to_string()));
        children.extend(self.args.iter().map(|arg| Element::text("arg", arg)));
        children.extend(self.nodes.iter().map(|node| Element::text("node", node)));
        children.extend(self.env.iter().map(|env| Element::text("env", env)));
        if !self.command.is_empty() {
            children.push(Element::text("command", &self.command));
        }
        if !self.environment.is_empty() {
            let list = self.environment.iter().map(|(name, value)| Element::text(name, value)).collect();
            children.push(Element::parent("environment", list));
        }
        children.extend(self.become_user.as_ref().map(|user| credentials_element("becomeuser", user)));
        children.extend(self.get_token.as_ref().map(|user| credentials_element("gettoken", user)));
        children.extend(
            self.token.as_ref().map(|id| Element::parent("tokens", vec![Element::text("tokenid", id)])),
        );
        if self.abort {
            children.push(Element::text("abortcommand", "1"));
        }
        children.sort_by(|a, b| a.name.cmp(&b.name));
        let mut out = String::new();
        Element::parent("xcatrequest", children).write(&mut out, 0);
        out
    }
}

fn credentials(element: &Element) -> Option<Credentials> {
    Some(Credentials {
        username: element.child_text("username")?.to_owned(),
        password: Secret::new(element.child("password")?.text.as_str()),
    })
}

fn credentials_element(name: &str, user: &Credentials) -> Element {
    let fields =
        vec![Element::text("username", &user.username), Element::text("password", user.password.reveal())];
    Element::parent(name, fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_order_and_one_line() {
        let text = "<xcatrequest><noderange>cn1-cn4</noderange><command>rpower</command>\
                    <arg>stat</arg><arg></arg><cwd>/root</cwd></xcatrequest>\n";
        let request = Request::parse(text).expect("a request");
        assert_eq!(request.command, "rpower");
        assert_eq!(request.args, ["stat", ""]);
        assert_eq!(request.noderange.as_deref(), Some("cn1-cn4"));
    }

    #[test]
    fn round_trip() {
        let request = Request {
            command: "chdef".into(),
            args: vec!["cn1".into(), "a=<&>".into()],
            environment: vec![("XCAT_X".into(), "v".into())],
            stdin: Some("a:\n  b=c\n".into()),
            token: Some("t".into()),
            callback_port: Some(300),
            ..Request::default()
        };
        assert_eq!(Request::parse(&request.to_xml()), Ok(request));
    }

    #[test]
    fn wrong_root() {
        assert_eq!(Request::parse("<a/>"), Err(RequestError::Root("a".into())));
    }
}
