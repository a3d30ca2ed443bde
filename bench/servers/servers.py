"""The servers that are compared: each with its configuration, on ports of its own, in a temporary folder of its own."""

import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import clients
import origin as source

HERE = Path(__file__).resolve().parent
BUILD = Path(os.environ.get("SWR_BUILD", HERE.parents[1] / "build/vendored")).resolve()

# As rivals are called in the tables.
OURS = "swrcache"
BY_TURNS = "swrcache that counts by turns"
BY_TURNS_BUILD = BUILD.parent / "by-turns"
RETURN = "`return 200`"
STATIC = "static file"
CACHE = "proxy_cache"
CACHE_READ = "proxy_cache, sendfile off"
CACHE_USUAL = "proxy_cache, usual"
FASTCGI = "fastcgi_cache"
VARNISH = "Vinyl Cache (was Varnish)"
PASS = "proxy_pass"


@dataclass
class Rival:
    """One server in one configuration."""

    name: str
    port: int
    tls_port: int = None
    caches: bool = True
    files: dict = field(default_factory=dict)  # size -> path, where the bytes don't come from the origin

    def target(self, size):
        """The path of an answer of this size that is in the cache all the time."""
        return self.files.get(size) or source.path(size, "hour", "hit")

    def serves(self, size, scheme="http"):
        return (self.caches or size in self.files) and (scheme == "http" or self.tls_port)

    def url(self, size, scheme="http"):
        port = self.port if scheme == "http" else self.tls_port
        return f"{scheme}://127.0.0.1:{port}{self.target(size)}"


@dataclass
class Cores:
    """Servers have a core to themselves; the origin shares the load's where there are but two."""

    servers: int
    load: int
    origin: int

    @classmethod
    def of_this_machine(cls):
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) < 2:
            sys.exit("bench: needs two cores, one for the servers and one for the load")
        return cls(cores[0], cores[1], cores[min(2, len(cores) - 1)])


class Servers:
    """Starts what is installed; stops all of it at the end of the `with`."""

    def __init__(self, sizes):
        self.sizes = sizes
        self.cores = Cores.of_this_machine()
        self.running = {}
        self.rivals = {}
        self.compressing = {}  # those that serve pages compressed, by name
        self.missing = {}  # those whose MISSes are compared, by name
        self.left_out = {}

    def __enter__(self):
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.dir = Path(tempfile.mkdtemp(prefix="swrcache-bench-", dir=memory))
        self.dir.chmod(0o755)
        try:
            self.start_origin()
            for start in (self.start_swrcache, self.start_nginx):
                start()
            for name, command, start in (
                ("HAProxy", "haproxy", self.start_haproxy),
                (VARNISH, "vinyld", self.start_varnish),
                ("Traffic Server", "traffic_server", self.start_traffic_server),
                ("Squid", "squid", self.start_squid),
            ):
                self.start_peer(name, command, start)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        """Ends the process groups that were started here, and nothing else; not to be interrupted."""
        for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
            signal.signal(sign, signal.SIG_IGN)
        groups = list(self.running.values())
        for sign, patience in ((signal.SIGTERM, 5), (signal.SIGKILL, 5)):
            for process in groups:
                try:
                    os.killpg(process.pid, sign)
                except ProcessLookupError:
                    pass
            for process in groups:
                try:
                    process.wait(patience)
                except subprocess.TimeoutExpired:
                    pass
        shutil.rmtree(self.dir, ignore_errors=True)

    def end(self, name):
        """Ends one of them, and returns what it has logged."""
        os.killpg(self.running[name].pid, signal.SIGTERM)
        self.running.pop(name).wait(5)
        return (self.dir / name / "error.log").read_text(errors="replace")

    def start(self, name, command, port, core=None):
        core = self.cores.servers if core is None else core
        # Should this program be killed, the kernel ends those that run as its own user.
        bound = ["setpriv", "--pdeathsig", "TERM", "taskset", "-c", core, *command]
        with open(self.dir / f"{name}.out", "wb") as out:
            self.running[name] = subprocess.Popen(
                [str(word) for word in bound], stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                cwd=self.dir, start_new_session=True,
            )
        for _ in range(300):
            if self.running[name].poll() is not None:
                break
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.05)
        said = (self.dir / f"{name}.out").read_text(errors="replace")
        raise RuntimeError(f"{name} did not start: {said[-2000:]}")

    def start_peer(self, name, command, start):
        path = shutil.which(command)
        if not path:
            self.left_out[name] = "not installed"
            return
        try:
            start(name, path, self.folder(command))
            with clients.Connection(self.rivals[name].port) as connection:
                connection.get(source.path(1024, "nostore", "alive"))
        except (RuntimeError, OSError) as error:
            self.rivals.pop(name, None)
            self.compressing.pop(name, None)
            self.left_out[name] = "did not start"
            print(f"bench: {error}", file=sys.stderr)

    def folder(self, name):
        """A folder that whatever user the server becomes can write to."""
        path = self.dir / name
        path.mkdir()
        path.chmod(0o777)
        return path

    def add(self, rival):
        self.rivals[rival.name] = rival

    def error_logs(self):
        """What no nginx may ever log, but for what proxy_cache says of its own keys where they are evicted too late, and of files of its
        own that its manager has deleted meanwhile."""
        lines = [line for log in self.dir.glob("*/error.log") for line in log.read_text(errors="replace").splitlines()]
        known = ("could not allocate node in cache keys zone", f'stat() "{self.dir}/large/', f'stat() "{self.dir}/small/')
        lines = [line for line in lines if not any(text in line for text in known)]
        return [line for line in lines if any(f"[{level}]" in line for level in ("alert", "crit", "emerg"))]

    # -------------------------------------------------------------------------------------------- the servers themselves

    def start_origin(self):
        self.origin_port, self.fastcgi_port, self.files_port = free_ports(3)
        ports = (self.origin_port, self.fastcgi_port)
        self.start("origin", [sys.executable, HERE / "origin.py", *ports], self.origin_port, self.cores.origin)
        # MISSes have a fast origin, which is not to be what limits them.
        www = self.folder("www")
        for size in self.sizes:
            (www / str(size)).write_bytes(source.body(size))
            (www / str(size)).chmod(0o644)
        command = self.nginx("files", "", f"""
    open_file_cache max=100 inactive=1h;
    open_file_cache_valid 1h;
    sendfile on;
    server {{
        {listen(self.files_port)}
        location /once/ {{ alias {www}/; add_header Cache-Control max-age=3600; }}
        location /never/ {{ alias {www}/; add_header Cache-Control no-store; }}
    }}""")
        self.start("files", command, self.files_port, self.cores.origin)

    def nginx(self, name, head, http):
        """An nginx with one worker; the `http` block has what all of them share."""
        folder = self.folder(name)
        temp = " ".join(f"{kind}_temp_path temp;" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        (folder / "nginx.conf").write_text(f"""
{head}
worker_processes 1;
worker_rlimit_nofile {open_files()};
error_log error.log warn;
pid nginx.pid;
daemon off;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    keepalive_timeout 600s;
    {temp}
    upstream origin {{ server 127.0.0.1:{self.origin_port}; keepalive 64; }}
    upstream files {{ server 127.0.0.1:{self.files_port}; keepalive 64; }}
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    {self.certificate()}
{http}
}}
""")
        return [BUILD / "nginx", "-p", f"{folder}/", "-c", "nginx.conf", "-e", "error.log"]

    def certificate(self):
        cert, key = self.dir / "cert.pem", self.dir / "key.pem"
        if not cert.exists():
            subprocess.run(
                ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                 "-days", "2", "-subj", "/CN=localhost", "-keyout", key, "-out", cert],
                check=True, stderr=subprocess.DEVNULL,
            )
        return f"ssl_certificate {cert}; ssl_certificate_key {key};"

    def start_swrcache(self):
        ours, self.compressing[OURS], self.missing[OURS] = self.swrcache("swrcache", OURS, BUILD)
        self.add(ours)
        self.by_turns = None
        if (BY_TURNS_BUILD / "nginx").exists():
            self.by_turns, _, _ = self.swrcache("by-turns", BY_TURNS, BY_TURNS_BUILD)

    def swrcache(self, name, title, build):
        """As it is, and compressing; and one by itself before the fast origin of MISSes, since who compresses has a second thread."""
        port, tls, compressing, missing = free_ports(4)
        module = f"load_module {build}/ngx_http_swr_cache_module.so;"
        command = self.nginx(name, module, f"""
    swr_cache_zone zone=main:256m;
    server {{
        {listen(port, tls)}
        location / {{ swr_cache main; proxy_pass http://origin; }}
    }}
    server {{
        {listen(compressing)}
        location / {{ swr_cache main; swr_cache_compress br=9 gzip=9; proxy_pass http://origin; }}
    }}""")
        self.start(name, command, port)
        command = self.nginx(f"{name}-misses", module, f"""
    swr_cache_zone zone=misses:256m;
    server {{
        {listen(missing)}
        location / {{ swr_cache misses; proxy_pass http://files; }}
    }}""")
        self.start(f"{name}-misses", command, missing)
        return Rival(title, port, tls), Rival(title, compressing), Rival(title, missing)

    def start_nginx(self):
        """Without the module: what nginx can do at all, and its own caches in several configurations."""
        limit, limit_tls, static, static_tls, best, best_tls, read, usual, zipped, fastcgi, once, passed = free_ports(12)
        fast = "open_file_cache max=1000 inactive=1h; open_file_cache_valid 1h;"

        def cache(name, kind="proxy", origin="http://origin", lock="on"):
            return f"""location / {{
            {kind}_pass {origin};
            {kind}_cache {name};
            {kind}_cache_lock {lock};
            {kind}_cache_revalidate on;
            {kind}_cache_background_update on;
            {kind}_cache_use_stale updating error timeout;
        }}"""

        def path(name, keys="16m", kind="proxy"):
            return f"    {kind}_cache_path {self.folder(name)} keys_zone={name}:{keys} max_size=512m inactive=1h use_temp_path=off;\n"

        paths = "".join(path(name) for name in ("best", "read", "usual", "zipped")) + path("fastcgi", kind="fastcgi")
        # How many there are, their cache manager bounds too late for these rates, the keys at once.
        paths += path("small", "64m") + path("large", "256k")
        # A word of a configuration ends at 4 KiB, so longer texts are put together from a piece that is repeated, and a rest.
        piece = len(source.LETTERS) * (4000 // len(source.LETTERS))
        maps = f'    map "" $piece {{ default "{source.body(piece).decode()}"; }}\n'
        def text(size):
            return "${piece}" * (size // piece) + source.body(size % piece).decode()

        short = [size for size in self.sizes if size <= 16384]
        # By the path that is asked for in the caches, which is as long to read.
        paths_of = {size: source.path(size, "hour", "hit") for size in short}
        returns = "\n".join(f'        location = {path} {{ return 200 "{text(size)}"; }}' for size, path in paths_of.items())
        gzip = "gzip on; gzip_comp_level 1; gzip_types *;"
        command = self.nginx("nginx", "", f"""
{paths}{maps}
    map $uri $once {{ /once/1024 small; default large; }}
    server {{
        {listen(limit, limit_tls)}
{returns}
    }}
    server {{ {listen(zipped)} sendfile on; {fast} {gzip} {cache("zipped")} }}
    server {{
        {listen(fastcgi)} sendfile on; {fast} {gzip}
        fastcgi_cache_key $scheme$host$request_uri;
        fastcgi_param REQUEST_URI $request_uri;
        fastcgi_pass_request_headers off;
        {cache("fastcgi", "fastcgi", f"127.0.0.1:{self.fastcgi_port}")}
    }}
    server {{ {listen(once)} sendfile on; {fast} {cache("$once", origin="http://files", lock="off")} }}
    server {{ {listen(passed)} location / {{ proxy_pass http://files; }} }}
    server {{ {listen(static, static_tls)} root {self.dir}/www; sendfile on; {fast} }}
    server {{ {listen(best, best_tls)} sendfile on; {fast} {cache("best")} }}
    server {{ {listen(read)} sendfile off; {fast} {cache("read")} }}
    server {{ {listen(usual)} sendfile on; tcp_nopush on; {cache("usual")} }}""")
        self.start("nginx", command, limit)
        self.add(Rival(RETURN, limit, limit_tls, caches=False, files=paths_of))
        self.add(Rival(STATIC, static, static_tls, caches=False, files={size: f"/{size}" for size in self.sizes}))
        self.add(Rival(CACHE, best, best_tls))
        self.add(Rival(CACHE_READ, read))
        self.add(Rival(CACHE_USUAL, usual))
        self.compressing |= {CACHE: Rival(CACHE, zipped), FASTCGI: Rival(FASTCGI, fastcgi)}
        self.missing |= {PASS: Rival(PASS, passed), CACHE: Rival(CACHE, once)}

    def start_haproxy(self, name, program, folder):
        (port,) = free_ports(1)
        (folder / "haproxy.cfg").write_text(f"""
global
    nbthread 1
    maxconn 4000
defaults
    mode http
    timeout connect 5s
    timeout client 600s
    timeout server 60s
    timeout http-keep-alive 600s
cache main
    total-max-size 256
    max-object-size 4194304
    max-age 3600
frontend all
    bind 127.0.0.1:{port} backlog 4096
    http-request cache-use main
    http-response cache-store main
    default_backend origin
backend origin
    server origin 127.0.0.1:{self.origin_port}
""")
        self.start(name, [program, "-db", "-f", folder / "haproxy.cfg"], port)
        self.add(Rival(name, port))

    def start_varnish(self, name, program, folder):
        (port,) = free_ports(1)
        vcl = folder / "bench.vcl"
        vcl.write_text(f"""vcl 4.1;
backend default {{ .host = "127.0.0.1"; .port = "{self.origin_port}"; }}
sub vcl_backend_response {{
    # Text is stored gzipped, and unzipped for those who take no gzip; here it is asked for by those alone who do.
    if (beresp.http.Content-Type ~ "html") {{ set beresp.do_gzip = true; }}
}}
""")
        self.start(name, [
            program, "-F", "-n", folder, "-a", f"127.0.0.1:{port}", "-f", vcl,
            "-s", "malloc,256m", "-p", "thread_pools=1", "-p", "thread_pool_min=100", "-p", "thread_pool_max=5000",
            "-p", "timeout_idle=600", "-p", "listen_depth=4096",
        ], port)
        self.add(Rival(name, port))
        self.compressing[name] = self.rivals[name]

    def start_traffic_server(self, name, program, folder):
        (port,) = free_ports(1)
        layout = {name: folder for name in ("prefix", "exec_prefix", "datadir", "includedir", "localstatedir")}
        layout |= {"bindir": Path(program).parent, "sbindir": Path(program).parent}
        layout |= {"libdir": "/usr/lib/trafficserver", "libexecdir": "/usr/lib/trafficserver/modules"}
        layout |= {f"{name}dir": folder / name for name in ("sysconf", "runtime", "log", "cache")}
        for part in ("runtime", "log", "cache"):
            self.folder(f"{folder.name}/{part}")
        shutil.copytree("/etc/trafficserver", folder / "sysconf")
        user = "nobody" if os.getuid() == 0 else "#-1"
        settings = {
            "http.server_ports": f"STRING {port}:ip-in=127.0.0.1", "admin.user_id": f"STRING {user}",
            "exec_thread.autoconfig": "INT 0", "exec_thread.limit": "INT 1", "accept_threads": "INT 0",
            "http.wait_for_cache": "INT 1", "cache.threads_per_disk": "INT 1", "cache.ram_cache.size": "INT 268435456",
            "cache.ram_cache_cutoff": "INT 4194304", "log.logging_enabled": "INT 0",
            "http.keep_alive_no_activity_timeout_in": "INT 600", "net.listen_backlog": "INT 4096",
            # Its documentation's cure for stampedes.
            "cache.enable_read_while_writer": "INT 1", "http.background_fill_active_timeout": "INT 0",
            "http.background_fill_completed_threshold": "FLOAT 0.0", "http.cache.open_write_fail_action": "INT 5",
            "http.cache.max_open_read_retries": "INT 20", "http.cache.open_read_retry_time": "INT 10",
        }
        write = lambda file, text: (folder / file).write_text(text)
        write("runroot.yaml", "".join(f"{key}: {value}\n" for key, value in layout.items()))
        write("sysconf/records.config", "".join(f"CONFIG proxy.config.{k} {v}\n" for k, v in settings.items()))
        write("sysconf/storage.config", "cache 512M\n")
        write("sysconf/remap.config", f"map / http://127.0.0.1:{self.origin_port}/\n")
        write("sysconf/plugin.config", "")
        for path in (folder / "sysconf").rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)
        self.start(name, [program, f"--run-root={folder}/runroot.yaml"], port)
        self.add(Rival(name, port))

    def start_squid(self, name, program, folder):
        (port,) = free_ports(1)
        (folder / "squid.conf").write_text(f"""
http_port 127.0.0.1:{port} accel defaultsite=127.0.0.1 no-vhost
cache_peer 127.0.0.1 parent {self.origin_port} 0 no-query no-digest originserver
acl everyone src all
http_access allow everyone
never_direct allow everyone
cache_mem 256 MB
memory_cache_mode always
maximum_object_size_in_memory 4 MB
collapsed_forwarding on
client_persistent_connections on
persistent_request_timeout 10 minutes
pinger_enable off
access_log none
cache_log {folder}/cache.log
pid_filename none
coredump_dir {folder}
shutdown_lifetime 0 seconds
""")
        self.start(name, [program, "-N", "-n", f"bench{os.getpid()}", "-f", folder / "squid.conf"], port)
        self.add(Rival(name, port))


def listen(port, tls=None):
    secure = f"listen 127.0.0.1:{tls} ssl backlog=4096;" if tls else ""
    return f"listen 127.0.0.1:{port} backlog=4096; {secure}"


def open_files():
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def free_ports(n):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def processes(servers, name):
    """Those of an nginx that stay, beside its master: the worker, and the manager of its caches."""
    children = Path(f"/proc/{servers.running[name].pid}/task/{servers.running[name].pid}/children").read_text().split()
    return [pid for pid in children if b"cache loader" not in called(pid)]


def worker(servers, name):
    """The process that answers, of an nginx."""
    return next(pid for pid in processes(servers, name) if b"worker process" in called(pid))


def called(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return b"cache loader"  # the only ones that end
