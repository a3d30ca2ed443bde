//! A real Redis, or Valkey, in a folder of its own, and the few words of its protocol that a test needs.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::{Folder, PATIENCE, eventually, free_port};

pub(crate) struct Redis {
    server: Option<Child>,
    port: u16,
    folder: Folder,
}

/// An answer of the server.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Answer {
    Text(String),
    Number(i64),
    Error(String),
    Nothing,
    List(Vec<Answer>),
}

impl Redis {
    pub(crate) fn start() -> Redis {
        let mut redis = Redis {
            server: None,
            port: free_port(),
            folder: Folder::new(),
        };
        redis.resume();
        redis
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Starts it on what it has kept. Every write is in its file before it is answered.
    pub(crate) fn resume(&mut self) {
        let port = self.port.to_string();
        let server = Command::new(binary())
            .current_dir(&self.folder.0)
            .args(["--port", &port, "--bind", "127.0.0.1", "--save", ""])
            .args(["--appendonly", "yes", "--appendfsync", "always"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn();
        self.server = Some(server.expect("redis-server starts"));
        let ping = || {
            TcpStream::connect(("127.0.0.1", self.port))
                .ok()
                .map(|_| self.ask(&["PING"]))
        };
        eventually("redis-server answers", || {
            ping() == Some(Answer::Text("PONG".into()))
        });
    }

    /// Ends it at once.
    pub(crate) fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            let _ = server.kill();
            let _ = server.wait();
        }
    }

    /// Takes all away that it has kept, while it does not run.
    pub(crate) fn forget(&self) {
        let _ = std::fs::remove_dir_all(self.folder.0.join("appendonlydir"));
        let _ = std::fs::remove_file(self.folder.0.join("appendonly.aof"));
    }

    /// One command.
    pub(crate) fn ask(&self, words: &[&str]) -> Answer {
        let answers = self.ask_all(&[words.iter().map(|w| (*w).to_owned()).collect()]);
        answers.into_iter().next().expect("an answer")
    }

    /// Many commands in one go.
    pub(crate) fn ask_all(&self, commands: &[Vec<String>]) -> Vec<Answer> {
        let wire = TcpStream::connect(("127.0.0.1", self.port)).expect("a connection");
        wire.set_read_timeout(Some(PATIENCE)).expect("a time limit");
        let mut text = String::new();
        for words in commands {
            text += &format!("*{}\r\n", words.len());
            for word in words {
                text += &format!("${}\r\n{word}\r\n", word.len());
            }
        }
        (&wire).write_all(text.as_bytes()).expect("the commands");
        let mut reader = BufReader::new(&wire);
        commands.iter().map(|_| read(&mut reader)).collect()
    }

    /// The length of a stream.
    pub(crate) fn length(&self, stream: &str) -> i64 {
        match self.ask(&["XLEN", stream]) {
            Answer::Number(n) => n,
            other => panic!("{other:?}"),
        }
    }
}

fn read(wire: &mut impl BufRead) -> Answer {
    let mut line = String::new();
    wire.read_line(&mut line).expect("an answer");
    let (kind, rest) = line.trim_end().split_at(1);
    let number = || rest.parse::<i64>().expect("a number");
    match kind {
        "+" => Answer::Text(rest.to_owned()),
        "-" => Answer::Error(rest.to_owned()),
        ":" => Answer::Number(number()),
        "$" | "*" if number() < 0 => Answer::Nothing,
        "$" => {
            let mut bytes = vec![0; usize::try_from(number()).expect("a length") + 2];
            wire.read_exact(&mut bytes).expect("a text");
            bytes.truncate(bytes.len() - 2);
            Answer::Text(String::from_utf8_lossy(&bytes).into_owned())
        }
        "*" => Answer::List((0..number()).map(|_| read(wire)).collect()),
        _ => panic!("what is {line:?}?"),
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What the environment names, or Debian's.
fn binary() -> PathBuf {
    let named = std::env::var_os("SWR_REDIS").map(PathBuf::from);
    let names = ["/usr/bin/redis-server", "/usr/bin/valkey-server"].map(PathBuf::from);
    let found = named.into_iter().chain(names).find(|name| name.is_file());
    found.expect("redis-server is installed: `make deps`")
}
