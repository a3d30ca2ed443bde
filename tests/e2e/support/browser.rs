//! A browser without a screen: Chromium, driven by the protocol of WebDriver (W3C) through its driver.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::{Client, Folder, PATIENCE, eventually, free_port};

pub(crate) struct Browser {
    driver: Child,
    port: u16,
    session: String,
    _profile: Folder,
}

impl Browser {
    pub(crate) fn start() -> Browser {
        Browser::start_with(&[])
    }

    /// With these arguments, too.
    pub(crate) fn start_with(more: &[String]) -> Browser {
        let (profile, port) = (Folder::new(), free_port());
        let driver = Command::new("chromedriver")
            .arg(format!("--port={port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver; `make deps` installs it");
        let mut browser = Browser {
            driver,
            port,
            session: String::new(),
            _profile: profile,
        };
        eventually("the browser's driver listens", || {
            browser.client().is_some()
        });
        let mut arguments = vec![
            "--headless=new".to_owned(),
            "--no-sandbox".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--hide-scrollbars".to_owned(),
            "--disable-background-networking".to_owned(),
            "--disable-component-update".to_owned(),
            format!("--user-data-dir={}", browser._profile.0.display()),
        ];
        arguments.extend_from_slice(more);
        let wanted =
            json!({ "browserName": "chrome", "goog:chromeOptions": { "args": arguments } });
        let made = browser.ask(
            "POST",
            "",
            &json!({ "capabilities": { "alwaysMatch": wanted } }),
        );
        let id = made["sessionId"].as_str();
        browser.session = format!("/{}", id.expect("chromium; `make deps` installs it"));
        browser
    }

    fn client(&self) -> Option<Client> {
        let addr = (std::net::Ipv4Addr::LOCALHOST, self.port).into();
        Client::try_connect(addr, PATIENCE + Duration::from_secs(30))
    }

    #[track_caller]
    fn ask(&self, method: &str, command: &str, body: &Value) -> Value {
        let (session, body) = (&self.session, body.to_string());
        let mut client = self.client().expect("the browser's driver");
        client.send_raw(&format!(
            "{method} /session{session}{command} HTTP/1.1\r\nHost: localhost:{}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.port,
            body.len()
        ));
        let said = client.receive(method).text();
        let said: Value = serde_json::from_str(&said).expect("JSON");
        assert!(said["value"]["error"].is_null(), "{command} {body}: {said}");
        said["value"].clone()
    }

    #[track_caller]
    pub(crate) fn open(&self, url: &str) {
        self.ask("POST", "/url", &json!({ "url": url }));
    }

    /// What a function with this body gives, called in the page.
    #[track_caller]
    pub(crate) fn run(&self, script: &str) -> Value {
        self.ask(
            "POST",
            "/execute/sync",
            &json!({ "script": script, "args": [] }),
        )
    }

    /// What an expression is in the page, as text.
    #[track_caller]
    pub(crate) fn text(&self, expression: &str) -> String {
        let value = self.run(&format!("return String({expression})"));
        value.as_str().unwrap_or_default().to_owned()
    }

    /// Presses these keys, one after the other, wherever the focus is.
    #[track_caller]
    pub(crate) fn press(&self, keys: &str) {
        let strokes: Vec<_> = keys
            .chars()
            .flat_map(|key| ["keyDown", "keyUp"].map(|what| json!({ "type": what, "value": key })))
            .collect();
        let keyboard = json!([{ "type": "key", "id": "keyboard", "actions": strokes }]);
        self.ask("POST", "/actions", &json!({ "actions": keyboard }));
    }

    fn command(&self, name: &str, parameters: Value) -> Value {
        let body = json!({ "cmd": name, "params": parameters });
        self.ask("POST", "/goog/cdp/execute", &body)
    }

    /// A screen so wide, for one who likes `light` or `dark`.
    #[track_caller]
    pub(crate) fn look(&self, width: u32, scheme: &str) {
        let feature = json!({ "name": "prefers-color-scheme", "value": scheme });
        self.command(
            "Emulation.setEmulatedMedia",
            json!({ "features": [feature] }),
        );
        let screen =
            json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500 });
        self.command("Emulation.setDeviceMetricsOverride", screen);
    }

    /// Writes a picture of the whole page.
    #[track_caller]
    pub(crate) fn picture(&self, path: &Path) {
        let whole = json!({ "format": "png", "captureBeyondViewport": true });
        let data = self.command("Page.captureScreenshot", whole)["data"].clone();
        let mut decoder = Command::new("base64")
            .arg("-d")
            .stdin(Stdio::piped())
            .stdout(File::create(path).expect("a picture"))
            .spawn()
            .expect("base64");
        let mut to = decoder.stdin.take().expect("its input");
        to.write_all(data.as_str().unwrap_or_default().as_bytes())
            .expect("written");
        drop(to);
        assert!(decoder.wait().expect("base64").success());
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if let Some(mut client) = self.client() {
            let _ = client.try_send("DELETE", &format!("/session{}", self.session));
            let _ = client.try_receive("DELETE");
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
