//! A real nginx of the test's own, in a folder of its own; its end checks its error log.

use std::fmt::Write as _;
use std::fs;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::{Client, Identity, Origin, PATIENCE, Response, eventually};

/// What a line of error.log must not contain.
const ALARMS: &[&str] = &[
    "[alert]",
    "[emerg]",
    "[crit]",
    "panicked",
    "internal error",
    "exited on signal",
    "AddressSanitizer",
    "LeakSanitizer",
    "ThreadSanitizer",
    "runtime error:",
];

/// A configuration in the making.
#[derive(Clone)]
pub(crate) struct Conf {
    main: String,
    http: String,
    server: String,
    locations: String,
    workers: u32,
    tls: bool,
    http2: bool,
    http3: bool,
    module: bool,
    daemon: bool,
    whole: Option<String>,
    allowed: Vec<String>,
    env: Vec<(&'static str, PathBuf)>,
}

impl Conf {
    /// A server with the module and nothing in it.
    pub(crate) fn new() -> Conf {
        Conf {
            main: String::new(),
            http: String::new(),
            server: String::new(),
            locations: String::new(),
            workers: 1,
            tls: false,
            http2: false,
            http3: false,
            module: true,
            daemon: false,
            whole: None,
            allowed: Vec::new(),
            env: Vec::new(),
        }
    }

    /// The least configuration of a cache, for this origin: a zone `main`, and `/` proxied through it.
    pub(crate) fn caching(origin: &Origin) -> Conf {
        Conf::new().zone().location(
            "/",
            &format!("swr_cache main; proxy_pass http://{};", origin.addr),
        )
    }

    /// The same with more lines in the location.
    pub(crate) fn caching_with(origin: &Origin, lines: &str) -> Conf {
        Conf::new().zone().location(
            "/",
            &format!("swr_cache main; proxy_pass http://{}; {lines}", origin.addr),
        )
    }

    /// An example of nginx-conf/ as it is, but for addresses: it listens where the test asks, has the module under test,
    /// keeps its files in the test's folder, and `changes` are made.
    pub(crate) fn example(name: &str, changes: &[(&str, &str)]) -> Conf {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("nginx-conf")
            .join(name);
        let mut text = fs::read_to_string(&path).expect("an example");
        let listen = ("listen 8080", "listen 127.0.0.1:@port@");
        let temps = (
            "\nhttp {",
            &*format!("\n{GLOBAL}http {{ access_log off; {TEMPS}"),
        );
        let module = (
            "load_module modules/ngx_http_swr_cache_module.so;",
            &*load_module(),
        );
        for (from, to) in [listen, temps, module, TYPES].iter().chain(changes) {
            assert!(text.contains(from), "{name} has no {from}");
            text = text.replace(from, to);
        }
        Conf {
            whole: Some(text),
            ..Conf::new()
        }
    }

    /// A whole configuration, but for what has to be the test's own: `inside_http` is put where its `http` begins.
    pub(crate) fn whole(text: &str, inside_http: &str) -> Conf {
        let http = format!("http {{ access_log off; {TEMPS} {inside_http}");
        let text = text.replacen("http {", &http, 1).replace(TYPES.0, TYPES.1);
        Conf {
            whole: Some(format!("{}\n{GLOBAL}{text}", load_module())),
            ..Conf::new()
        }
    }

    /// `swr_cache_zone zone=main:32m;`
    pub(crate) fn zone(self) -> Conf {
        self.http("swr_cache_zone zone=main:32m;")
    }

    /// nginx as it is, without the module.
    pub(crate) fn plain(mut self) -> Conf {
        self.module = false;
        self
    }

    pub(crate) fn main(mut self, lines: &str) -> Conf {
        let _ = writeln!(self.main, "{lines}");
        self
    }

    pub(crate) fn http(mut self, lines: &str) -> Conf {
        let _ = writeln!(self.http, "    {lines}");
        self
    }

    pub(crate) fn server(mut self, lines: &str) -> Conf {
        let _ = writeln!(self.server, "        {lines}");
        self
    }

    pub(crate) fn location(mut self, path: &str, lines: &str) -> Conf {
        let _ = writeln!(self.locations, "        location {path} {{ {lines} }}");
        self
    }

    pub(crate) fn workers(mut self, count: u32) -> Conf {
        self.workers = count;
        self
    }

    /// The server listens with TLS, with a certificate of its own.
    pub(crate) fn tls(mut self) -> Conf {
        self.tls = true;
        self
    }

    /// nginx goes into the background, as it must to be able to upgrade itself.
    pub(crate) fn daemon(mut self) -> Conf {
        self.daemon = true;
        self
    }

    pub(crate) fn http2(mut self) -> Conf {
        self.http2 = true;
        self
    }

    /// The server listens with HTTP/3, too. It has to have TLS.
    pub(crate) fn http3(mut self) -> Conf {
        self.http3 = true;
        self
    }

    /// nginx runs with this in its environment.
    pub(crate) fn env(mut self, name: &'static str, path: PathBuf) -> Conf {
        self.env.push((name, path));
        self
    }

    /// Lines of error.log that contain this are expected.
    pub(crate) fn allow(mut self, line: &str) -> Conf {
        self.allowed.push(line.to_owned());
        self
    }

    fn render(&self, port: u16) -> String {
        if let Some(text) = &self.whole {
            return text.replace("@port@", &port.to_string());
        }
        let load = if self.module {
            load_module()
        } else {
            String::new()
        };
        let tls = if self.tls { " ssl" } else { "" };
        let http2 = if self.http2 { " http2" } else { "" };
        let quic = match self.http3 {
            true => format!("listen 127.0.0.1:{port} quic reuseport;"),
            false => String::new(),
        };
        let identity = if self.tls {
            "ssl_certificate cert.pem; ssl_certificate_key key.pem;"
        } else {
            ""
        };
        let global = match self.daemon {
            true => GLOBAL.replace("daemon off", "daemon on"),
            false => GLOBAL.to_owned(),
        };
        let report = if self.module { REPORT } else { "" };
        let Conf {
            main,
            http,
            server,
            locations,
            workers,
            ..
        } = self;
        format!(
            "{load}
worker_processes {workers};
worker_rlimit_nofile 8192;
{global}{main}
events {{ worker_connections 4096; }}
http {{
    {TEMPS}
    access_log off;
    default_type text/plain;
    {report}
{http}
    server {{
        listen 127.0.0.1:{port}{tls}{http2} backlog=4096;
        {quic}
        server_name localhost;
        {identity}
{server}{locations}    }}
}}
"
        )
    }

    /// Starts it, and waits until it takes connections.
    #[track_caller]
    pub(crate) fn start(&self) -> Nginx {
        // Another process may take the port between our look and nginx's bind.
        for _ in 0..5 {
            match Nginx::start(self) {
                Ok(nginx) => return nginx,
                Err(log) if log.contains("Address already in use") => continue,
                Err(log) => panic!("nginx did not start:\n{log}"),
            }
        }
        panic!("no free port in five tries");
    }

    /// What `nginx -t` says of it.
    pub(crate) fn check(&self) -> Result<(), String> {
        let dir = Folder::new();
        let output = self.run_check(&dir.0);
        if output.status.success() {
            Ok(())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    /// What `nginx -t` warns of; it has to succeed.
    pub(crate) fn warnings(&self) -> String {
        let dir = Folder::new();
        let output = self.run_check(&dir.0);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{text}");
        text
    }

    fn run_check(&self, dir: &Path) -> Output {
        self.write(dir, free_port());
        command(dir).arg("-t").output().expect("nginx runs")
    }

    fn write(&self, dir: &Path, port: u16) {
        if self.tls {
            Identity::in_dir(dir);
        }
        fs::write(dir.join("nginx.conf"), self.render(port)).expect("the configuration is written");
    }
}

const GLOBAL: &str = "daemon off;\nerror_log error.log notice;\npid nginx.pid;\n";

const TEMPS: &str = "client_body_temp_path temp; proxy_temp_path temp; fastcgi_temp_path temp; \
                     uwsgi_temp_path temp; scgi_temp_path temp;";

/// The media types, from where Debian's nginx has them.
const TYPES: (&str, &str) = ("include mime.types;", "include /etc/nginx/mime.types;");

/// How each test server tells what the cache did; a location with `add_header` of its own loses these.
const REPORT: &str = "add_header X-Cache $swr_cache_status always; add_header X-Reason $swr_cache_reason always; \
                      add_header X-Cache-Age $swr_cache_age always; add_header X-Cache-TTL $swr_cache_ttl always; \
                      add_header X-Cache-Key $swr_cache_key always; \
                      add_header X-Coding $swr_cache_encoding always; \
                      add_header X-Fetch-Time $swr_cache_fetch_time always;";

/// The module under test; none where nginx has been built with it in it.
pub(crate) fn module() -> Option<PathBuf> {
    let is_static = std::env::var_os("SWR_MODULE").is_some_and(|module| module == "static");
    (!is_static).then(|| built("SWR_MODULE", "ngx_http_swr_cache_module.so"))
}

/// The `load_module` line for it.
fn load_module() -> String {
    module().map_or_else(String::new, |path| {
        format!("load_module {};", path.display())
    })
}

/// The folder of the nginx and the module under test.
pub(crate) fn build() -> PathBuf {
    built("SWR_NGINX", "nginx")
        .parent()
        .expect("a folder")
        .to_owned()
}

/// What the environment names, or else what `make module` left in build/vendored.
fn built(variable: &str, name: &str) -> PathBuf {
    let path = std::env::var_os(variable)
        .map_or_else(|| PathBuf::from("build/vendored").join(name), PathBuf::from);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    assert!(
        path.is_file(),
        "{} is not there: run `make module` first, or set {variable}",
        path.display()
    );
    path
}

fn command(dir: &Path) -> Command {
    let mut command = Command::new(built("SWR_NGINX", "nginx"));
    let prefix = format!("{}/", dir.display());
    command.args(["-p", &prefix, "-c", "nginx.conf", "-e", "error.log"]);
    command
}

/// A temporary folder that nginx's workers (`nobody`, under root) can reach.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new() -> Folder {
        let name = |n| format!("swrcache-e2e-{}-{n}", std::process::id());
        // A failed test of an earlier process with this number may have left its own.
        let dir = (0..)
            .map(|n| std::env::temp_dir().join(name(n)))
            .find(|dir| match fs::create_dir(dir) {
                Err(e) if e.kind() == ErrorKind::AlreadyExists => false,
                made => made.map(|()| true).expect("a temporary folder"),
            })
            .expect("a free name");
        fs::create_dir(dir.join("temp")).expect("a folder in it");
        for (path, mode) in [(dir.clone(), 0o755), (dir.join("temp"), 0o777)] {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("its permissions");
        }
        Folder(dir)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("left for a look: {}", self.0.display());
        } else {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

/// A port that nothing listens on; another process may take it before it is used.
pub(crate) fn free_port() -> u16 {
    let listener = free_listener();
    listener.local_addr().expect("its address").port()
}

/// Listens on a free port, below those that the kernel gives to outgoing connections.
pub(crate) fn free_listener() -> TcpListener {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(37);
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 12_000 + (start.wrapping_add(step) % 20_000) as u16;
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) {
            return listener;
        }
    }
}

/// A running nginx.
pub(crate) struct Nginx {
    pub(crate) addr: SocketAddr,
    conf: Conf,
    dir: Folder,
    master: Child,
    /// The master, where it is not the process that was started.
    heir: Option<u32>,
    /// How many workers the configuration that it is given asks for.
    count: AtomicUsize,
    gone: bool,
}

impl Nginx {
    fn start(conf: &Conf) -> Result<Nginx, String> {
        Nginx::start_in(conf, Folder::new(), free_port())
    }

    fn start_in(conf: &Conf, dir: Folder, port: u16) -> Result<Nginx, String> {
        conf.write(&dir.0, port);
        let stderr = fs::File::create(dir.0.join("stderr.log")).expect("a file for stderr");
        let master = command(&dir.0)
            .envs(conf.env.iter().map(|(name, path)| (name, path)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn();
        let mut nginx = Nginx {
            addr: SocketAddr::from(([127, 0, 0, 1], port)),
            conf: conf.clone(),
            dir,
            master: master.expect("nginx starts"),
            heir: None,
            count: AtomicUsize::new(conf.workers as usize),
            gone: false,
        };
        if conf.daemon {
            let _ = nginx.master.wait();
            eventually("nginx.pid", || nginx.pid_file().is_some());
            nginx.heir = nginx.pid_file();
        }
        let until = Instant::now() + PATIENCE;
        // The listening socket is there before the workers are, and nginx.pid after it.
        while TcpStream::connect(nginx.addr).is_err()
            || nginx.workers().len() < nginx.count.load(Ordering::Relaxed)
        {
            let ended = nginx.has_ended();
            if ended || Instant::now() > until {
                nginx.kill();
                return Err(nginx.log());
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(nginx)
    }

    pub(crate) fn client(&self) -> Client {
        if self.conf.tls {
            Client::connect_tls(self.addr, &self.identity())
        } else {
            Client::connect(self.addr)
        }
    }

    /// A client where the connection may fail.
    pub(crate) fn try_client(&self) -> Option<Client> {
        Client::try_connect(self.addr, PATIENCE)
    }

    /// GET on a connection of its own, or nothing where that takes more than a moment.
    pub(crate) fn impatient(&self, path: &str) -> Option<Response> {
        let mut client = Client::try_connect(self.addr, Duration::from_millis(100))?;
        client.try_send("GET", path).ok()?;
        let response = client.try_receive("GET")?;
        response.broken.is_none().then_some(response)
    }

    /// GET on a connection of its own.
    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Response {
        self.client().get(path)
    }

    #[track_caller]
    pub(crate) fn get_with(&self, path: &str, fields: &[(&str, &str)]) -> Response {
        self.client().get_with(path, fields)
    }

    /// Asks until the cache says `status`.
    #[track_caller]
    pub(crate) fn await_status(&self, path: &str, status: &str) -> Response {
        let mut last = Response::default();
        let what = format!("{status} for {path}");
        eventually(&what, || {
            last = self.get(path);
            last.cache() == status
        });
        last
    }

    pub(crate) fn identity(&self) -> Identity {
        Identity {
            certificate: self.dir.0.join("cert.pem"),
            key: self.dir.0.join("key.pem"),
        }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir.0
    }

    /// error.log, and what came before it was open.
    pub(crate) fn log(&self) -> String {
        let stderr = fs::read_to_string(self.dir.0.join("stderr.log")).unwrap_or_default();
        stderr + &self.error_log()
    }

    /// What the `error_log` has, where an operator looks.
    pub(crate) fn error_log(&self) -> String {
        fs::read_to_string(self.dir.0.join("error.log")).unwrap_or_default()
    }

    /// The workers' process ids; those that are shutting down are not among them.
    pub(crate) fn workers(&self) -> Vec<u32> {
        let master = format!("PPid:\t{}\n", self.pid());
        let is_ours = |pid: &u32| {
            let read = |name| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
            let title = read("cmdline");
            // "nginx: worker process", and Angie's "angie: worker process #1"
            read("status").contains(&master)
                && title.contains(": worker process")
                && !title.contains("shutting down")
        };
        let processes = fs::read_dir("/proc").expect("/proc").flatten();
        processes
            .filter_map(|p| p.file_name().to_str()?.parse().ok())
            .filter(is_ours)
            .collect()
    }

    /// Resident memory of a process that is not shared with others (so without the zone), in KiB.
    pub(crate) fn private_memory(pid: u32) -> u64 {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the worker lives");
        let field = |name: &str| {
            let line = status.lines().find(|l| l.starts_with(name))?;
            line.split_whitespace().nth(1)?.parse::<u64>().ok()
        };
        field("RssAnon:").expect("RssAnon")
    }

    /// The master.
    fn pid(&self) -> u32 {
        self.heir.unwrap_or(self.master.id())
    }

    fn pid_file(&self) -> Option<u32> {
        let text = fs::read_to_string(self.dir.0.join("nginx.pid")).ok()?;
        text.trim().parse().ok()
    }

    fn has_ended(&mut self) -> bool {
        match self.heir {
            None => !matches!(self.master.try_wait(), Ok(None)),
            Some(pid) => fs::read_to_string(format!("/proc/{pid}/status"))
                .map_or(true, |status| status.contains("State:\tZ")),
        }
    }

    /// Ends it well, and starts it again in the same place with this configuration.
    #[track_caller]
    pub(crate) fn restart(mut self, conf: &Conf) -> Nginx {
        self.end();
        self.again(conf)
    }

    /// As [`Nginx::restart`]; `between` runs while nothing of it does.
    #[track_caller]
    pub(crate) fn restart_after(mut self, conf: &Conf, between: impl FnOnce()) -> Nginx {
        self.end();
        between();
        self.again(conf)
    }

    /// Kills the master and all workers at once, and starts it again in the same place.
    #[track_caller]
    pub(crate) fn kill_and_restart(self, conf: &Conf) -> Nginx {
        self.kill_and_restart_after(conf, || ())
    }

    /// As [`Nginx::kill_and_restart`]; `between` runs while nothing of it does.
    #[track_caller]
    pub(crate) fn kill_and_restart_after(mut self, conf: &Conf, between: impl FnOnce()) -> Nginx {
        let workers = self.workers();
        self.kill();
        eventually("all of it is gone", || {
            workers
                .iter()
                .all(|pid| !Path::new(&format!("/proc/{pid}")).exists())
        });
        between();
        self.again(conf)
    }

    #[track_caller]
    fn again(mut self, conf: &Conf) -> Nginx {
        let dir = std::mem::replace(&mut self.dir, Folder::new());
        let port = self.addr.port();
        drop(self);
        Nginx::start_in(conf, dir, port).unwrap_or_else(|log| panic!("no start:\n{log}"))
    }

    /// Starts the binary anew beside the old one, which ends well when the new one serves (SIGUSR2, SIGQUIT). Only for a
    /// [`Conf::daemon`].
    #[track_caller]
    pub(crate) fn upgrade(&mut self, meanwhile: impl FnOnce(&Nginx)) {
        let old = self.pid();
        self.signal(old, libc::SIGUSR2);
        eventually("a new master", || {
            self.pid_file().is_some_and(|pid| pid != old)
        });
        self.heir = self.pid_file();
        eventually("its workers", || {
            self.workers().len() == self.count.load(Ordering::Relaxed)
        });
        meanwhile(self);
        self.signal(old, libc::SIGQUIT);
        eventually("the end of the old master", || {
            fs::read_to_string(format!("/proc/{old}/status"))
                .map_or(true, |status| status.contains("State:\tZ"))
        });
    }

    /// Stops a worker where it is, or lets it go on.
    pub(crate) fn stop(&self, worker: u32) {
        self.signal(worker, libc::SIGSTOP);
    }

    pub(crate) fn go_on(&self, worker: u32) {
        self.signal(worker, libc::SIGCONT);
    }

    fn signal(&self, pid: u32, signal: i32) {
        // SAFETY: kill() touches no memory; the process is our own child or its worker.
        let sent = unsafe { libc::kill(pid as libc::pid_t, signal) };
        assert_eq!(sent, 0, "signal {signal} to {pid}");
    }

    /// Reloads the configuration (which the test may have written anew) and waits for the new workers.
    #[track_caller]
    pub(crate) fn reload(&self) {
        // They may be more than are configured: one that is about to end has no title of its own for a moment.
        let old = self.workers();
        self.signal(self.pid(), libc::SIGHUP);
        eventually("new workers after the reload", || {
            let new = self.workers();
            new.len() >= self.count.load(Ordering::Relaxed)
                && new.iter().all(|pid| !old.contains(pid))
        });
    }

    /// Replaces the configuration, for a [`Nginx::reload`].
    pub(crate) fn rewrite(&self, conf: &Conf) {
        self.count.store(conf.workers as usize, Ordering::Relaxed);
        conf.write(&self.dir.0, self.addr.port());
    }

    /// Kills a worker as the out-of-memory killer would; nginx starts another. The test must allow "exited on signal 9".
    #[track_caller]
    pub(crate) fn kill_worker(&self) {
        let old = self.workers();
        let victim = old[0];
        self.signal(victim, libc::SIGKILL);
        eventually("a new worker", || {
            let new = self.workers();
            !new.contains(&victim) && new.len() == self.count.load(Ordering::Relaxed)
        });
    }

    /// Asks for a graceful end, without waiting for it.
    pub(crate) fn ask_to_quit(&self) {
        self.signal(self.pid(), libc::SIGQUIT);
    }

    /// Waits for the graceful end and checks the log; what `drop` does, too.
    #[track_caller]
    pub(crate) fn quit(mut self) {
        self.end();
    }

    #[track_caller]
    fn end(&mut self) {
        if self.gone {
            return;
        }
        self.ask_to_quit();
        let until = Instant::now() + PATIENCE;
        while !self.has_ended() {
            if Instant::now() > until {
                self.kill();
                panic!(
                    "nginx did not end in {PATIENCE:?} after it was asked to:\n{}",
                    self.log()
                );
            }
            thread::sleep(Duration::from_millis(5));
        }
        self.gone = true;
        let log = self.log();
        let expected = |line: &str| self.conf.allowed.iter().any(|a| line.contains(a.as_str()));
        let alarms: Vec<&str> = log
            .lines()
            .filter(|l| ALARMS.iter().any(|a| l.contains(a)) && !expected(l))
            .collect();
        assert!(
            alarms.is_empty(),
            "error.log has alarms:\n{}\n--- all of it:\n{log}",
            alarms.join("\n")
        );
    }

    /// Ends master and workers, whatever state they are in.
    fn kill(&mut self) {
        let workers = self.workers();
        // The masters first: one that lives on would start workers that nobody here knows of.
        if let Some(heir) = self.heir {
            // SAFETY: as in `signal`.
            unsafe { libc::kill(heir as libc::pid_t, libc::SIGKILL) };
        }
        match self.master.kill() {
            Err(e) if e.kind() != ErrorKind::InvalidInput => eprintln!("nginx: {e}"),
            _ => {}
        }
        let _ = self.master.wait();
        for pid in workers {
            // SAFETY: as in `signal`; the worker may be gone already.
            unsafe { libc::kill(pid as libc::pid_t, libc::SIGKILL) };
        }
        self.gone = true;
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        if thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(40).collect();
            eprintln!("--- the end of error.log:");
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
            self.kill();
        } else {
            self.end();
        }
    }
}
