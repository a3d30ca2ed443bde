//! A raw HTTP/1 client: one connection, what came in what order, when, and whether it was whole.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use super::tls::{self, Identity};
use super::{AT_ONCE, PATIENCE};

trait Wire: Read + Write + Send {}
impl<T: Read + Write + Send> Wire for T {}

/// One connection to a server, kept open between requests.
pub(crate) struct Client {
    wire: Box<dyn Wire>,
    /// Bytes that were read but not yet taken.
    ahead: Vec<u8>,
    sent: Instant,
}

/// What came back.
#[derive(Default, Clone)]
pub(crate) struct Response {
    pub(crate) version: u8,
    pub(crate) status: u16,
    /// In order, as sent, duplicates kept.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Why the body is not whole, if it is not.
    pub(crate) broken: Option<String>,
    /// From the request's last byte to the end of the header.
    pub(crate) first: Duration,
    /// From the request's last byte to the end of the body.
    pub(crate) total: Duration,
}

impl Client {
    pub(crate) fn connect(addr: SocketAddr) -> Client {
        Client::over(Box::new(tcp(addr)))
    }

    /// The same, where there may be nobody, and who waits no longer than that.
    pub(crate) fn try_connect(addr: SocketAddr, patience: Duration) -> Option<Client> {
        let stream = TcpStream::connect_timeout(&addr, patience).ok()?;
        stream.set_nodelay(true).ok()?;
        stream.set_read_timeout(Some(patience)).ok()?;
        Some(Client::over(Box::new(stream)))
    }

    pub(crate) fn connect_tls(addr: SocketAddr, identity: &Identity) -> Client {
        Client::over(Box::new(tls::connect(identity, tcp(addr))))
    }

    fn over(wire: Box<dyn Wire>) -> Client {
        Client {
            wire,
            ahead: Vec::new(),
            sent: Instant::now(),
        }
    }

    /// GET, whole.
    #[track_caller]
    pub(crate) fn get(&mut self, path: &str) -> Response {
        self.request("GET", path, &[])
    }

    /// GET with these fields, whole.
    #[track_caller]
    pub(crate) fn get_with(&mut self, path: &str, fields: &[(&str, &str)]) -> Response {
        self.request("GET", path, fields)
    }

    /// Sends, reads, and fails the test if the answer is not whole.
    #[track_caller]
    pub(crate) fn request(
        &mut self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
    ) -> Response {
        let response = self.try_request(method, path, fields);
        assert_eq!(
            response.broken, None,
            "{method} {path} came broken: {response:?}"
        );
        response
    }

    /// As [`Client::request`], but a broken answer is the test's affair.
    #[track_caller]
    pub(crate) fn try_request(
        &mut self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
    ) -> Response {
        self.send(method, path, fields);
        self.receive(method)
    }

    /// Sends a request without body; `Host` is `localhost` unless given.
    #[track_caller]
    pub(crate) fn send(&mut self, method: &str, path: &str, fields: &[(&str, &str)]) {
        let mut text = format!("{method} {path} HTTP/1.1\r\n");
        if !fields
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("host"))
        {
            text.push_str("Host: localhost\r\n");
        }
        for (name, value) in fields {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        self.send_raw(&(text + "\r\n"));
    }

    /// As [`Client::send`], where the connection may have ended.
    pub(crate) fn try_send(&mut self, method: &str, path: &str) -> io::Result<()> {
        let text = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        self.sent = Instant::now();
        self.wire.write_all(text.as_bytes())
    }

    #[track_caller]
    pub(crate) fn send_raw(&mut self, text: &str) {
        self.wire
            .write_all(text.as_bytes())
            .expect("the request is sent");
        self.sent = Instant::now();
    }

    /// Reads the answer to a request that was sent; never fails the test for a broken body, but for a broken head.
    #[track_caller]
    pub(crate) fn receive(&mut self, method: &str) -> Response {
        let mut body = Vec::new();
        let mut response = self.receive_into(method, &mut |bytes| body.extend_from_slice(bytes));
        response.body = body;
        response
    }

    /// The same, or nothing where the connection ended without a head.
    pub(crate) fn try_receive(&mut self, method: &str) -> Option<Response> {
        let mut response = self.try_head().ok()?;
        let mut body = Vec::new();
        let ended = self.body(method, &response, &mut |bytes| {
            body.extend_from_slice(bytes)
        });
        response.broken = ended.err().map(|e| e.to_string());
        response.body = body;
        Some(response)
    }

    /// The same for bodies that no one wants to hold in memory.
    #[track_caller]
    pub(crate) fn receive_into(&mut self, method: &str, sink: &mut dyn FnMut(&[u8])) -> Response {
        let mut response = self.receive_head();
        response.broken = self
            .body(method, &response, sink)
            .err()
            .map(|e| e.to_string());
        response.total = self.sent.elapsed();
        response
    }

    /// Only the head; the body stays unread.
    #[track_caller]
    pub(crate) fn receive_head(&mut self) -> Response {
        self.try_head().expect("a response head")
    }

    /// The head, or how there was none.
    pub(crate) fn try_head(&mut self) -> io::Result<Response> {
        let mut response = Response::default();
        let mut line = self.line()?;
        while line.starts_with("HTTP/1.1 100") {
            while !line.is_empty() {
                line = self.line()?;
            }
            line = self.line()?;
        }
        let version = line.strip_prefix("HTTP/1.").and_then(|l| l.bytes().next());
        response.version = version.ok_or_else(|| bad(format!("a status line: {line:?}")))? - b'0';
        response.status = line
            .get(9..12)
            .and_then(|s| s.parse().ok())
            .ok_or_else(|| bad(format!("a status: {line:?}")))?;
        loop {
            let line = self.line()?;
            if line.is_empty() {
                response.first = self.sent.elapsed();
                return Ok(response);
            }
            let (name, value) = line
                .split_once(':')
                .ok_or_else(|| bad(format!("a field: {line:?}")))?;
            response
                .headers
                .push((name.to_owned(), value.trim().to_owned()));
        }
    }

    /// The body that belongs to a head.
    pub(crate) fn body(
        &mut self,
        method: &str,
        response: &Response,
        sink: &mut dyn FnMut(&[u8]),
    ) -> io::Result<()> {
        if method == "HEAD" || response.status == 204 || response.status == 304 {
            return Ok(());
        }
        if response.header("Transfer-Encoding") == Some("chunked") {
            loop {
                let line = self.line()?;
                let size = line.split(';').next().unwrap_or_default();
                let size = u64::from_str_radix(size, 16)
                    .map_err(|_| bad(format!("a chunk size: {line:?}")))?;
                self.exactly(size, sink)?;
                self.line()?;
                if size == 0 {
                    return Ok(());
                }
            }
        }
        match response.header("Content-Length") {
            Some(length) => {
                self.exactly(length.parse().map_err(|_| bad("a Content-Length"))?, sink)
            }
            None => loop {
                let taken = std::mem::take(&mut self.ahead);
                sink(&taken);
                if self.fill()? == 0 {
                    return Ok(());
                }
            },
        }
    }

    /// So many bytes as they come.
    pub(crate) fn exactly(&mut self, mut left: u64, sink: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        while left > 0 {
            if self.ahead.is_empty() && self.fill()? == 0 {
                return Err(bad(format!("the end, {left} bytes early")));
            }
            let take = self
                .ahead
                .len()
                .min(usize::try_from(left).unwrap_or(usize::MAX));
            sink(&self.ahead[..take]);
            self.ahead.drain(..take);
            left -= take as u64;
        }
        Ok(())
    }

    /// Takes one body byte, to see that a response has begun to flow.
    pub(crate) fn one_byte(&mut self) -> io::Result<u8> {
        let mut byte = 0;
        self.exactly(1, &mut |b| byte = b[0])?;
        Ok(byte)
    }

    fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.ahead.iter().position(|&b| b == b'\n') {
                let line: Vec<u8> = self.ahead.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            if self.fill()? == 0 {
                return Err(bad("the end of the connection"));
            }
        }
    }

    /// Reads once; 0 is the end.
    fn fill(&mut self) -> io::Result<usize> {
        let mut buffer = [0; 16 * 1024];
        let n = self.wire.read(&mut buffer)?;
        self.ahead.extend_from_slice(&buffer[..n]);
        Ok(n)
    }
}

impl fmt::Debug for Response {
    /// The body as text, and not more of it than a person reads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.body[..self.body.len().min(500)];
        f.debug_struct("Response")
            .field("status", &self.status)
            .field("headers", &self.headers)
            .field("body", &String::from_utf8_lossy(shown))
            .field("length", &self.body.len())
            .field("broken", &self.broken)
            .field("first", &self.first)
            .field("total", &self.total)
            .finish()
    }
}

impl Response {
    /// The first field of that name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.as_str())
    }

    /// All fields of that name.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.headers
            .iter()
            .filter(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.as_str())
            .collect()
    }

    /// `$swr_cache_status`, which every test server sends as `X-Cache`; empty where the cache took no part.
    pub(crate) fn cache(&self) -> &str {
        self.header("X-Cache").unwrap_or_default()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub(crate) fn age(&self) -> u64 {
        self.header("Age")
            .and_then(|a| a.parse().ok())
            .unwrap_or_else(|| panic!("no Age: {self:?}"))
    }

    /// Status, body and cache status in one line of a test.
    #[track_caller]
    pub(crate) fn is(&self, status: u16, cache: &str, body: &str) -> &Response {
        assert_eq!(
            (self.status, self.cache(), self.text().as_str()),
            (status, cache, body),
            "{self:?}"
        );
        self
    }

    /// The origin had no part in how long this took. `SWR_SLOW` is set where the server runs under a tool that slows it down.
    #[track_caller]
    pub(crate) fn at_once(&self) -> &Response {
        let slower = if std::env::var_os("SWR_SLOW").is_some() {
            10
        } else {
            1
        };
        assert!(
            self.total < AT_ONCE * slower,
            "took {:?}: {self:?}",
            self.total
        );
        self
    }
}

/// `count` requests on connections of their own, all released at the same moment.
pub(crate) fn at_once(
    addr: SocketAddr,
    count: usize,
    path: &str,
    fields: &[(&str, &str)],
) -> Vec<Response> {
    let barrier = Arc::new(Barrier::new(count));
    thread::scope(|scope| {
        let all: Vec<_> = (0..count)
            .map(|_| {
                let barrier = barrier.clone();
                let work = move || {
                    let mut client = Client::connect(addr);
                    barrier.wait();
                    client.try_request("GET", path, fields)
                };
                thread::Builder::new()
                    .stack_size(256 * 1024)
                    .spawn_scoped(scope, work)
                    .expect("a thread")
            })
            .collect();
        all.into_iter()
            .map(|t| t.join().expect("a client"))
            .collect()
    })
}

fn tcp(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).expect("a connection");
    stream.set_nodelay(true).expect("nodelay");
    stream
        .set_read_timeout(Some(PATIENCE))
        .expect("a time limit");
    stream
        .set_write_timeout(Some(PATIENCE))
        .expect("a time limit");
    stream
}

fn bad(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}
