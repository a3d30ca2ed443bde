//! An origin that does what the test says, when the test says: scripted answers, gates, faults, and a record of
//! everything that was asked of it. Speaks HTTP/1.1 (also over TLS), SCGI and uwsgi.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use rustls::ServerConfig;

use super::tls::{self, Identity};
use super::{PATIENCE, eventually, nginx::free_listener};

/// A request as the origin got it. For SCGI and uwsgi the fields are the parameters.
#[derive(Debug, Clone)]
pub(crate) struct Recorded {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// How many requests for this path came before.
    pub(crate) nth: usize,
    /// The number of the connection that it came by.
    pub(crate) connection: u64,
}

impl Recorded {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.as_str())
    }

    fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }
}

/// A place where an answer waits until the test opens it (or ends).
pub(crate) struct Gate(Arc<Latch>);

#[derive(Default)]
struct Latch {
    open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    pub(crate) fn closed() -> Gate {
        Gate(Arc::default())
    }

    pub(crate) fn open(&self) {
        *lock(&self.0.open) = true;
        self.0.opened.notify_all();
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.open();
    }
}

impl Latch {
    fn pass(&self) {
        let guard = lock(&self.open);
        let _ = self
            .opened
            .wait_timeout_while(guard, 4 * PATIENCE, |open| !*open);
    }
}

/// How the end of a body is told.
#[derive(Clone, Copy, PartialEq)]
enum Framing {
    Length,
    Chunked,
    UntilClose,
}

/// An answer of the origin: what, and how well.
#[derive(Clone)]
pub(crate) struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// The body is this many bytes of `body` repeated.
    generated: Option<u64>,
    framing: Framing,
    before_header: Option<Arc<Latch>>,
    mid_body: Option<(usize, Arc<Latch>)>,
    /// The connection ends after this many bytes of the whole answer's head.
    head_cut: Option<usize>,
    /// The connection ends after this many bytes of the body.
    body_cut: Option<usize>,
    /// Ends with a reset instead of a close.
    reset: bool,
    raw: Option<Vec<u8>>,
    silent: bool,
    dateless: bool,
    /// A pause after each byte of the body.
    drip: Option<Duration>,
}

impl Reply {
    pub(crate) fn new(status: u16) -> Reply {
        Reply {
            status,
            headers: Vec::new(),
            body: Vec::new(),
            generated: None,
            framing: Framing::Length,
            before_header: None,
            mid_body: None,
            head_cut: None,
            body_cut: None,
            reset: false,
            raw: None,
            silent: false,
            dateless: false,
            drip: None,
        }
    }

    /// 200 with this body.
    pub(crate) fn ok(body: impl Into<Vec<u8>>) -> Reply {
        Reply::new(200).body(body)
    }

    /// 200 with this body and `Cache-Control`.
    pub(crate) fn cached(control: &str, body: impl Into<Vec<u8>>) -> Reply {
        Reply::ok(body).header("Cache-Control", control)
    }

    /// 200 that is `age` seconds old already: born stale where `control` says less.
    pub(crate) fn aged(age: u64, control: &str, body: impl Into<Vec<u8>>) -> Reply {
        Reply::cached(control, body).header("Age", &age.to_string())
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Reply {
        self.body = body.into();
        self
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Reply {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Without the `Date` that it has by default.
    pub(crate) fn dateless(mut self) -> Reply {
        self.dateless = true;
        self
    }

    pub(crate) fn chunked(mut self) -> Reply {
        self.framing = Framing::Chunked;
        self
    }

    /// The body ends with the connection.
    pub(crate) fn until_close(mut self) -> Reply {
        self.framing = Framing::UntilClose;
        self
    }

    /// A body of so many bytes that is never in memory.
    pub(crate) fn huge(mut self, bytes: u64) -> Reply {
        self.body = (0..64 * 1024).map(|i| (i % 251) as u8).collect();
        self.generated = Some(bytes);
        self
    }

    /// Says nothing before the gate is open.
    pub(crate) fn hold(mut self, gate: &Gate) -> Reply {
        self.before_header = Some(gate.0.clone());
        self
    }

    /// Sends the head and `bytes` of the body, then waits for the gate.
    pub(crate) fn hold_body(mut self, bytes: usize, gate: &Gate) -> Reply {
        self.mid_body = Some((bytes, gate.0.clone()));
        self
    }

    /// Closes in the middle of the head.
    pub(crate) fn cut_head(mut self) -> Reply {
        self.head_cut = Some(20);
        self
    }

    /// Closes after `bytes` of the body: a short `Content-Length` body, or chunked without its end.
    pub(crate) fn cut_body(mut self, bytes: usize) -> Reply {
        self.body_cut = Some(bytes);
        self
    }

    /// Where it is cut, resets the connection.
    pub(crate) fn with_reset(mut self) -> Reply {
        self.reset = true;
        self
    }

    /// These bytes instead of an HTTP response, then the end.
    pub(crate) fn raw(bytes: impl Into<Vec<u8>>) -> Reply {
        Reply {
            raw: Some(bytes.into()),
            ..Reply::new(0)
        }
    }

    /// Never answers; the connection stays open.
    pub(crate) fn silence() -> Reply {
        Reply {
            silent: true,
            ..Reply::new(0)
        }
    }

    /// One byte of the body after the other.
    pub(crate) fn drip(mut self, pause: Duration) -> Reply {
        self.drip = Some(pause);
        self
    }

    fn length(&self) -> u64 {
        self.generated.unwrap_or(self.body.len() as u64)
    }

    fn head(&self, speaks: Speaks, close: bool) -> String {
        let mut head = match speaks {
            Speaks::Scgi => format!("Status: {} Scripted\r\n", self.status),
            Speaks::Http | Speaks::Uwsgi => format!("HTTP/1.1 {} Scripted\r\n", self.status),
        };
        if !self.dateless && !self.headers.iter().any(|(name, _)| name == "Date") {
            head.push_str(&format!(
                "Date: {}\r\n",
                httpdate::fmt_http_date(SystemTime::now())
            ));
        }
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        match self.framing {
            _ if self.status == 304 || self.status == 204 => {}
            Framing::Length => head.push_str(&format!("Content-Length: {}\r\n", self.length())),
            Framing::Chunked => head.push_str("Transfer-Encoding: chunked\r\n"),
            Framing::UntilClose => {}
        }
        if close {
            head.push_str("Connection: close\r\n");
        }
        head + "\r\n"
    }

    fn ends_connection(&self) -> bool {
        self.framing == Framing::UntilClose
            || self.head_cut.is_some()
            || self.body_cut.is_some()
            || self.raw.is_some()
    }
}

type Handler = Arc<dyn Fn(&Recorded) -> Reply + Send + Sync>;

#[derive(Clone, Copy, PartialEq)]
enum Speaks {
    Http,
    Scgi,
    Uwsgi,
}

/// The origin: listens on a port of 127.0.0.1 that stays its own, also while it is [stopped](Origin::stop).
pub(crate) struct Origin {
    pub(crate) addr: SocketAddr,
    shared: Arc<Shared>,
    listening: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    speaks: Speaks,
    tls: Option<Arc<ServerConfig>>,
    routes: Mutex<HashMap<String, Handler>>,
    requests: Mutex<Vec<Recorded>>,
    /// By number, while they last.
    connections: Mutex<HashMap<u64, TcpStream>>,
    stopping: AtomicBool,
}

impl Origin {
    pub(crate) fn start() -> Origin {
        Origin::speaking(Speaks::Http, None)
    }

    pub(crate) fn start_tls(identity: &Identity) -> Origin {
        Origin::speaking(Speaks::Http, Some(identity.server()))
    }

    pub(crate) fn start_scgi() -> Origin {
        Origin::speaking(Speaks::Scgi, None)
    }

    pub(crate) fn start_uwsgi() -> Origin {
        Origin::speaking(Speaks::Uwsgi, None)
    }

    fn speaking(speaks: Speaks, tls: Option<Arc<ServerConfig>>) -> Origin {
        let shared = Shared {
            speaks,
            tls,
            routes: Mutex::default(),
            requests: Mutex::default(),
            connections: Mutex::default(),
            stopping: AtomicBool::new(false),
        };
        let listener = free_listener();
        let origin = Origin {
            addr: listener.local_addr().expect("its address"),
            shared: Arc::new(shared),
            listening: Mutex::new(None),
        };
        origin.listen(listener);
        origin
    }

    /// Always this answer.
    pub(crate) fn on(&self, path: &str, reply: Reply) {
        self.handle(path, move |_| reply.clone());
    }

    /// These answers, one a request; the last one stays.
    pub(crate) fn script(&self, path: &str, replies: impl Into<Vec<Reply>>) {
        let replies = replies.into();
        let from = self.hits(path);
        self.handle(path, move |r| {
            replies[(r.nth - from).min(replies.len() - 1)].clone()
        });
    }

    /// First `old`, which has expired when it comes, with the windows that `control` grants; then this one.
    pub(crate) fn expired(&self, path: &str, control: &str, then: Reply) {
        self.script(path, [Reply::aged(100, control, "old"), then]);
    }

    /// Whatever the function says.
    pub(crate) fn handle(
        &self,
        path: &str,
        handler: impl Fn(&Recorded) -> Reply + Send + Sync + 'static,
    ) {
        lock(&self.shared.routes).insert(path.to_owned(), Arc::new(handler));
    }

    /// Requests for that path so far.
    pub(crate) fn hits(&self, path: &str) -> usize {
        self.requests(path).len()
    }

    pub(crate) fn requests(&self, path: &str) -> Vec<Recorded> {
        lock(&self.shared.requests)
            .iter()
            .filter(|r| r.path() == path)
            .cloned()
            .collect()
    }

    /// The latest request for that path.
    #[track_caller]
    pub(crate) fn last(&self, path: &str) -> Recorded {
        self.requests(path)
            .pop()
            .unwrap_or_else(|| panic!("the origin was never asked for {path}"))
    }

    #[track_caller]
    pub(crate) fn await_hits(&self, path: &str, count: usize) {
        eventually(&format!("{count} origin requests for {path}"), || {
            self.hits(path) >= count
        });
    }

    /// Whether a connection is open, by its number.
    pub(crate) fn is_open(&self, connection: u64) -> bool {
        lock(&self.shared.connections).contains_key(&connection)
    }

    /// From now on connections are refused; those that are open are closed.
    pub(crate) fn stop(&self) {
        let Some(thread) = lock(&self.listening).take() else {
            return;
        };
        self.shared.stopping.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.addr);
        thread.join().expect("the origin's listener ends");
        for (_, connection) in lock(&self.shared.connections).drain() {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    /// Listens again.
    pub(crate) fn resume(&self) {
        self.listen(TcpListener::bind(self.addr).expect("the origin listens"));
    }

    fn listen(&self, listener: TcpListener) {
        self.shared.stopping.store(false, Ordering::SeqCst);
        let shared = self.shared.clone();
        *lock(&self.listening) = Some(thread::spawn(move || shared.listen(&listener)));
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn listen(self: &Arc<Self>, listener: &TcpListener) {
        for number in 0.. {
            let Ok((stream, _)) = listener.accept() else {
                return;
            };
            if self.stopping.load(Ordering::SeqCst) {
                return;
            }
            lock(&self.connections).insert(number, stream.try_clone().expect("a second handle"));
            let shared = self.clone();
            thread::spawn(move || {
                // A connection that breaks is nginx's doing or the script's; the test sees it elsewhere.
                let _ = shared.connection(stream, number);
                lock(&shared.connections).remove(&number);
            });
        }
    }

    fn connection(&self, stream: TcpStream, number: u64) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let raw = stream.try_clone()?;
        match &self.tls {
            Some(config) => self.serve(tls::accept(config, stream), &raw, number),
            None => self.serve(stream, &raw, number),
        }
    }

    fn serve(&self, mut wire: impl Read + Write, raw: &TcpStream, number: u64) -> io::Result<()> {
        let mut ahead = Vec::new();
        loop {
            let request = match self.speaks {
                Speaks::Http => read_http(&mut wire, &mut ahead)?,
                Speaks::Scgi => read_scgi(&mut wire)?,
                Speaks::Uwsgi => read_uwsgi(&mut wire)?,
            };
            let request = self.record(request, number);
            let handler = lock(&self.routes).get(request.path()).cloned();
            let reply = handler.map_or_else(
                || Reply::new(404).body("no such route"),
                |handler| handler(&request),
            );
            let close = self.speaks != Speaks::Http || reply.ends_connection();
            answer(&mut wire, raw, &request, &reply, self.speaks, close)?;
            if close {
                return if reply.reset {
                    Ok(())
                } else {
                    raw.shutdown(Shutdown::Both)
                };
            }
        }
    }

    fn record(&self, mut request: Recorded, number: u64) -> Recorded {
        request.connection = number;
        let mut requests = lock(&self.requests);
        request.nth = requests
            .iter()
            .filter(|r| r.path() == request.path())
            .count();
        requests.push(request.clone());
        request
    }
}

fn answer(
    wire: &mut (impl Read + Write),
    raw: &TcpStream,
    request: &Recorded,
    reply: &Reply,
    speaks: Speaks,
    close: bool,
) -> io::Result<()> {
    if let Some(gate) = &reply.before_header {
        gate.pass();
    }
    if reply.silent {
        // Until the other side gives up.
        while wire.read(&mut [0; 256])? > 0 {}
        return Ok(());
    }
    if let Some(bytes) = &reply.raw {
        wire.write_all(bytes)?;
        return wire.flush();
    }
    let head = reply.head(speaks, close);
    let head = &head.as_bytes()[..reply.head_cut.unwrap_or(head.len()).min(head.len())];
    wire.write_all(head)?;
    wire.flush()?;
    if reply.head_cut.is_none()
        && request.method != "HEAD"
        && reply.status != 304
        && reply.status != 204
    {
        write_body(wire, reply)?;
    }
    if reply.reset && close {
        reset_on_close(raw)
    } else {
        Ok(())
    }
}

fn write_body(wire: &mut impl Write, reply: &Reply) -> io::Result<()> {
    let mut left = reply.body_cut.map_or(reply.length(), |cut| cut as u64);
    let mut sent = 0;
    while left > 0 {
        if let Some((_, gate)) = reply.mid_body.as_ref().filter(|(at, _)| *at == sent) {
            gate.pass();
        }
        let from = sent % reply.body.len().max(1);
        let mut piece = &reply.body[from..];
        if let Some((at, _)) = reply.mid_body.as_ref().filter(|(at, _)| *at > sent) {
            piece = &piece[..piece.len().min(at - sent)];
        }
        if reply.drip.is_some() {
            piece = &piece[..1];
        }
        piece = &piece[..piece.len().min(usize::try_from(left).unwrap_or(usize::MAX))];
        if reply.framing == Framing::Chunked {
            // In one write: nginx alone waits for the rest of a chunk whose length it has seen.
            let length = format!("{:x}\r\n", piece.len());
            wire.write_all(&[length.as_bytes(), piece, b"\r\n"].concat())?;
        } else {
            wire.write_all(piece)?;
        }
        wire.flush()?;
        sent += piece.len();
        left -= piece.len() as u64;
        reply.drip.inspect(|pause| thread::sleep(*pause));
    }
    if let Some((_, gate)) = reply.mid_body.as_ref().filter(|(at, _)| *at == sent) {
        gate.pass();
    }
    if reply.framing == Framing::Chunked && reply.body_cut.is_none() {
        wire.write_all(b"0\r\n\r\n")?;
    }
    wire.flush()
}

/// Makes the coming close a reset, as that of a process that dies with unread data is.
fn reset_on_close(stream: &TcpStream) -> io::Result<()> {
    // What was sent must have arrived: a reset overtakes it.
    thread::sleep(Duration::from_millis(20));
    forget_on_close(stream)
}

/// The same, whatever has arrived by then.
pub(crate) fn forget_on_close(stream: &TcpStream) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    // SAFETY: the descriptor is open as `stream` is borrowed, and `linger` is what SO_LINGER reads, of that size.
    let set = unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const linger).cast(),
            size_of::<libc::linger>() as libc::socklen_t,
        )
    };
    if set == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

fn read_http(wire: &mut impl Read, ahead: &mut Vec<u8>) -> io::Result<Recorded> {
    loop {
        let mut fields = [httparse::EMPTY_HEADER; 100];
        let mut request = httparse::Request::new(&mut fields);
        if let Ok(httparse::Status::Complete(length)) = request.parse(ahead) {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let mut recorded = Recorded {
                method: request.method.unwrap_or_default().to_owned(),
                target: request.path.unwrap_or_default().to_owned(),
                headers: request
                    .headers
                    .iter()
                    .map(|h| (h.name.to_owned(), text(h.value)))
                    .collect(),
                body: Vec::new(),
                nth: 0,
                connection: 0,
            };
            ahead.drain(..length);
            let length = recorded
                .header("Content-Length")
                .and_then(|l| l.parse().ok())
                .unwrap_or(0);
            while ahead.len() < length {
                more(wire, ahead)?;
            }
            recorded.body = ahead.drain(..length).collect();
            return Ok(recorded);
        }
        more(wire, ahead)?;
    }
}

fn more(wire: &mut impl Read, ahead: &mut Vec<u8>) -> io::Result<()> {
    let mut buffer = [0; 16 * 1024];
    match wire.read(&mut buffer)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        n => {
            ahead.extend_from_slice(&buffer[..n]);
            Ok(())
        }
    }
}

/// SCGI: a netstring of NUL-separated names and values, then the body.
fn read_scgi(wire: &mut impl Read) -> io::Result<Recorded> {
    let mut length = 0;
    loop {
        match take(wire, 1)?[0] {
            b':' => break,
            digit => length = length * 10 + usize::from(digit.wrapping_sub(b'0')),
        }
    }
    let block = take(wire, length)?;
    take(wire, 1)?;
    let mut words = block
        .split(|&b| b == 0)
        .map(|w| String::from_utf8_lossy(w).into_owned());
    let mut parameters = Vec::new();
    while let (Some(name), Some(value)) = (words.next(), words.next()) {
        parameters.push((name, value));
    }
    from_parameters(wire, parameters)
}

/// uwsgi: a four-byte head with the length, then names and values, each after its 16-bit length.
fn read_uwsgi(wire: &mut impl Read) -> io::Result<Recorded> {
    let head = take(wire, 4)?;
    let block = take(wire, usize::from(u16::from_le_bytes([head[1], head[2]])))?;
    let mut rest = block.as_slice();
    let mut word = || {
        let (length, after) = rest.split_first_chunk::<2>()?;
        let (word, after) = after.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
        rest = after;
        Some(String::from_utf8_lossy(word).into_owned())
    };
    let mut parameters = Vec::new();
    while let (Some(name), Some(value)) = (word(), word()) {
        parameters.push((name, value));
    }
    from_parameters(wire, parameters)
}

fn from_parameters(wire: &mut impl Read, headers: Vec<(String, String)>) -> io::Result<Recorded> {
    let mut request = Recorded {
        method: String::new(),
        target: String::new(),
        headers,
        body: Vec::new(),
        nth: 0,
        connection: 0,
    };
    let value = |name| request.header(name).unwrap_or_default().to_owned();
    let (method, target, length) = (
        value("REQUEST_METHOD"),
        value("REQUEST_URI"),
        value("CONTENT_LENGTH"),
    );
    request.method = method;
    request.target = target;
    request.body = take(wire, length.parse().unwrap_or(0))?;
    Ok(request)
}

fn take(wire: &mut impl Read, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    wire.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}
