//! A visitor with cookies.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::Value;

use crate::site::HOST;
use crate::support::{Client, Response};

pub(crate) struct Session {
    client: Client,
    pub(crate) cookies: BTreeMap<String, String>,
}

impl Session {
    pub(crate) fn new(addr: SocketAddr) -> Session {
        Session {
            client: Client::connect(addr),
            cookies: BTreeMap::new(),
        }
    }

    #[track_caller]
    pub(crate) fn get(&mut self, path: &str) -> Response {
        self.request("GET", path, &[], "")
    }

    /// Sends a form.
    #[track_caller]
    pub(crate) fn post(&mut self, path: &str, form: &str) -> Response {
        let fields = [("Content-Type", "application/x-www-form-urlencoded")];
        self.request("POST", path, &fields, form)
    }

    /// Logs in, where the password is the name.
    #[track_caller]
    pub(crate) fn log_in(&mut self, name: &str) {
        let answer = self.post("/wp-login.php", &format!("log={name}&pwd={name}"));
        assert_eq!(answer.status, 302, "{answer:?}");
        let is_there = |cookie: &String| cookie.starts_with("wordpress_logged_in_");
        assert!(self.cookies.keys().any(is_there), "{answer:?}");
    }

    /// Asks WordPress's REST API to change something, as its editor in the browser does.
    #[track_caller]
    pub(crate) fn rest(&mut self, method: &str, path: &str, body: &Value) -> Value {
        let nonce = self
            .get("/wp-admin/admin-ajax.php?action=rest-nonce")
            .text();
        let fields = [
            ("Content-Type", "application/json"),
            ("X-WP-Nonce", &*nonce),
        ];
        let answer = self.request(
            method,
            &format!("/wp-json/wp/v2{path}"),
            &fields,
            &body.to_string(),
        );
        assert!(answer.status < 300, "{method} {path} {body}: {answer:?}");
        serde_json::from_slice(&answer.body).expect("JSON")
    }

    /// Sends a request with the cookies, and keeps those that come back.
    #[track_caller]
    pub(crate) fn request(
        &mut self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: &str,
    ) -> Response {
        let mut text = format!("{method} {path} HTTP/1.1\r\nHost: {HOST}\r\n");
        for (name, value) in fields {
            text += &format!("{name}: {value}\r\n");
        }
        let cookies: Vec<String> = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        if !cookies.is_empty() {
            text += &format!("Cookie: {}\r\n", cookies.join("; "));
        }
        if !body.is_empty() {
            text += &format!("Content-Length: {}\r\n", body.len());
        }
        self.client.send_raw(&format!("{text}\r\n{body}"));
        let response = self.client.receive(method);
        assert_eq!(response.broken, None, "{method} {path}: {response:?}");
        response
            .all("Set-Cookie")
            .into_iter()
            .for_each(|cookie| self.keep(cookie));
        response
    }

    fn keep(&mut self, cookie: &str) {
        let (pair, attributes) = cookie.split_once(';').unwrap_or((cookie, ""));
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match attributes.contains("Max-Age=0") {
            true => self.cookies.remove(name),
            false => self.cookies.insert(name.to_owned(), value.to_owned()),
        };
    }
}
