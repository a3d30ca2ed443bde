//! HTTP requests to the locations of a server.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use ureq::Agent;
use ureq::config::Config;
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::DefaultConnector;

use crate::unix::UnixConnector;

/// How long an answer may take. A walk over a large zone takes some seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// A location of a server.
pub(crate) struct Location {
    /// As the command line names it.
    name: String,
    agent: Agent,
    url: String,
}

/// A response.
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) text: String,
}

fn config() -> Config {
    Config::builder()
        .timeout_global(Some(PATIENCE))
        // A refusal has a body that says why.
        .http_status_as_error(false)
        .max_redirects(0)
        .user_agent(concat!("swrcachectl/", env!("CARGO_PKG_VERSION")))
        .build()
}

/// The client that reaches an address: `unix:PATH`, or whatever the URLs name.
pub(crate) fn agent(unix: Option<PathBuf>) -> Agent {
    match unix {
        Some(path) => Agent::with_parts(config(), UnixConnector(path), DefaultResolver::default()),
        None => Agent::with_parts(
            config(),
            DefaultConnector::new(),
            DefaultResolver::default(),
        ),
    }
}

impl Location {
    /// `http://HOST/PATH`, `https://HOST/PATH`, or `unix:SOCKET:/PATH`.
    pub(crate) fn new(node: &str) -> Location {
        let Some(rest) = node.strip_prefix("unix:") else {
            return Location {
                name: node.to_owned(),
                agent: agent(None),
                url: node.to_owned(),
            };
        };
        let (socket, path) = rest.split_once(":/").unwrap_or((rest, ""));
        Location {
            name: node.to_owned(),
            agent: agent(Some(socket.into())),
            url: format!("http://localhost/{path}"),
        }
    }

    /// GET with these parameters. An error names the location.
    pub(crate) fn get(&self, parameters: &[(&str, &str)]) -> Result<Response, String> {
        let request = parameters
            .iter()
            .fold(self.agent.get(&self.url), |request, (name, value)| {
                request.query(*name, *value)
            });
        read(request.call()).map_err(|why| format!("{}: {why}", self.name))
    }

    /// POST of JSON. An error does not name the location.
    pub(crate) fn post(&self, json: &str) -> Result<Response, String> {
        let request = self.agent.post(&self.url).content_type("application/json");
        read(request.send(json))
    }
}

fn read(
    response: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
) -> Result<Response, String> {
    let mut response = response.map_err(|e| e.to_string())?;
    let status = response.status().as_u16();
    let body = response.body_mut().with_config().limit(1 << 30);
    let text = body.read_to_string().map_err(|e| e.to_string())?;
    Ok(Response { status, text })
}

impl Response {
    /// The answer, if it is one that the server gave willingly; else what it said.
    pub(crate) fn accepted(self) -> Result<String, String> {
        match self.status {
            200 => Ok(self.text),
            _ => Err(self.refusal()),
        }
    }

    /// The same as JSON, if it has this member: by it an answer of `location` is known from that of another one.
    pub(crate) fn with(self, member: &str, location: &str) -> Result<Value, String> {
        let wrong = |why: &str| format!("the answer is not that of {location}: {why}");
        let said: Value =
            serde_json::from_str(&self.accepted()?).map_err(|e| wrong(&e.to_string()))?;
        match said.get(member) {
            Some(_) => Ok(said),
            None => Err(wrong(&format!("it has no \"{member}\""))),
        }
    }

    /// What a server said that did not answer 200.
    pub(crate) fn refusal(&self) -> String {
        let status = self.status;
        let said: Option<Value> = serde_json::from_str(&self.text).ok();
        let why = said.as_ref().and_then(|said| said["error"].as_str());
        match why {
            Some(why) => format!("the server says {status}: {why}"),
            None => format!("the server says {status}"),
        }
    }
}
