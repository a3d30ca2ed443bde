//! A host process, started and ended.

use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command};

use crate::support::*;

/// Where the hosts were built.
pub(crate) fn folder() -> PathBuf {
    match std::env::var_os("SWR_C") {
        Some(folder) => folder.into(),
        None => PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("build/c"),
    }
}

/// A running host.
pub(crate) struct Host {
    pub(crate) addr: SocketAddr,
    child: Child,
    name: String,
}

impl Host {
    /// Starts a host on `origin`. The name has the arguments behind it that the host takes beside port and origin.
    pub(crate) fn start(name: &str, origin: &Origin) -> Host {
        let mut words = name.split(' ');
        let program = folder().join(words.next().unwrap_or_default());
        assert!(
            program.is_file(),
            "{} is not there: `make hosts` builds it",
            program.display()
        );
        let port = free_port();
        let origin = origin.addr.port().to_string();
        let mut command = Command::new(&program);
        command
            .args([&port.to_string(), "127.0.0.1", &origin])
            .args(words);
        Host::run(command, port, name)
    }

    /// Runs a host that listens on `port`.
    pub(crate) fn run(mut command: Command, port: u16, name: &str) -> Host {
        let child = command.spawn().expect("a host");
        let addr = SocketAddr::from(([127, 0, 0, 1], port));
        eventually("the host listens", || TcpStream::connect(addr).is_ok());
        Host {
            addr,
            child,
            name: name.to_owned(),
        }
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.addr)
    }

    pub(crate) fn get(&self, path: &str) -> Response {
        self.client().get(path)
    }

    pub(crate) fn get_with(&self, path: &str, fields: &[(&str, &str)]) -> Response {
        self.client().get_with(path, fields)
    }

    /// An answer, broken or not, or none.
    pub(crate) fn try_get(&self, path: &str) -> Option<Response> {
        try_get(self.addr, path)
    }

    pub(crate) fn post(&self, path: &str, body: &str) -> Response {
        let mut client = self.client();
        client.send_raw(&format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ));
        client.receive("POST")
    }

    /// Asks until the cache says `status`.
    pub(crate) fn await_status(&self, path: &str, status: &str) -> Response {
        let mut last = self.get(path);
        eventually(&format!("{path} is {status}"), || {
            last.cache() == status || {
                last = self.get(path);
                false
            }
        });
        last
    }

    /// The processes that the host has forked.
    pub(crate) fn workers(&self) -> Vec<u32> {
        let pid = self.child.id();
        let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        text.expect("/proc")
            .split_whitespace()
            .map(|pid| pid.parse().expect("a pid"))
            .collect()
    }

    /// The most memory that one of its processes ever had, in bytes.
    pub(crate) fn most_memory(&self) -> u64 {
        let pids = self.workers().into_iter().chain([self.child.id()]);
        let of = |pid| {
            let text = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("/proc");
            let line = text.lines().find(|line| line.starts_with("VmHWM:"));
            let size = line.and_then(|line| line.split_whitespace().nth(1));
            size.and_then(|size| size.parse::<u64>().ok())
                .expect("a size")
                << 10
        };
        pids.map(of).max().unwrap_or(0)
    }

    /// Asks it to end, and looks how it did: sanitisers and valgrind say so by the exit code.
    pub(crate) fn quit(mut self) {
        kill(self.child.id(), "-TERM");
        let mut code = None;
        eventually("the host has ended", || {
            code = self.child.try_wait().expect("a child");
            code.is_some()
        });
        assert!(
            code.is_some_and(|code| code.success()),
            "{}: {code:?}",
            self.name
        );
    }
}

/// An answer, broken or not, or none.
pub(crate) fn try_get(addr: SocketAddr, path: &str) -> Option<Response> {
    let mut client = Client::connect(addr);
    client.send("GET", path, &[]);
    client.try_receive("GET")
}

/// Sends a signal.
pub(crate) fn kill(pid: u32, signal: &str) {
    let status = Command::new("kill")
        .args([signal, &pid.to_string()])
        .status();
    assert!(status.expect("kill").success());
}

impl Drop for Host {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|code| code.is_none()) {
            kill(self.child.id(), "-TERM");
            let _ = self.child.wait();
        }
    }
}

/// Runs a command that must succeed.
#[track_caller]
pub(crate) fn run(command: &mut Command) {
    let output = command.output().expect("a program");
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
