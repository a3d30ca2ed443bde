//! What the C ABI costs: each operation by a call of the engine and through `libswrcache.so` as a C program loads it; beside
//! them, as yardsticks, a cache of values in the process (`quick_cache`) and another crate's rules (`http-cache-semantics`).
//!
//! All take turns of a few milliseconds each, and the table gives the lower quartiles over the turns: a noisy machine slows
//! all of them alike, and the ratios hold. Criterion then measures each one by itself.
//! The library is `$SWRCACHE_LIBRARY`, else build/c/lib/libswrcache.so (`make lib`).

use std::cell::Cell;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::hint::black_box;
use std::mem::{size_of, transmute_copy, zeroed};
use std::ptr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use criterion::Criterion;
use http_cache_semantics::CachePolicy;
use swrcache::engine::{
    Assessed, Cache, Decision, Fetch, Policy, Request, Response, Serve, Turn, assess,
};
use swrcache::ffi;
use swrcache::store::{Cursor, Region, RegionOptions};

mod support;

use support::{BROWSER, KEY, NOW};

const STALE: &[u8] = b"httpwww.example.com/stale";
const BODY: [u8; 1024] = [b'x'; 1024];
const MEMORY: usize = 64 << 20;
const TURNS: usize = 61;
const A_TURN: Duration = Duration::from_millis(4);

const FRESH: [(&str, &str); 3] = [
    ("Content-Type", "text/html"),
    ("Cache-Control", "max-age=60, stale-while-revalidate=300"),
    ("ETag", "\"v1\""),
];
const EXPIRED: [(&str, &str); 3] = [
    ("Content-Type", "text/html"),
    ("Cache-Control", "max-age=0, stale-while-revalidate=300"),
    ("ETag", "\"v1\""),
];

/// The engine, called from Rust.
struct Direct {
    cache: Cache,
    policy: Policy,
}

impl Direct {
    fn new() -> Direct {
        let region = Region::anonymous(MEMORY, &RegionOptions::default()).expect("a region");
        region.enter(None).expect("a slot");
        let direct = Direct {
            cache: Cache::new(Arc::new(region)),
            policy: Policy::default(),
        };
        direct.miss(KEY, &FRESH);
        direct.miss(STALE, &EXPIRED);
        direct
    }

    fn decide(&self, key: &[u8]) -> Decision {
        let request = Request::new(&http::Method::GET, key, &BROWSER);
        self.cache.decide(&request, &self.policy, Turn::First, NOW)
    }

    fn hit(&self) -> Serve {
        match self.decide(black_box(KEY)) {
            Decision::Serve(serve) => serve,
            other => panic!("{other:?}"),
        }
    }

    fn read(&self) -> usize {
        let serve = self.hit();
        let (mut bytes, mut cursor) = (0, Cursor::default());
        serve
            .object
            .visible(&mut |name, value| bytes += name.len() + value.len());
        loop {
            match serve.object.served().read(&mut cursor, usize::MAX) {
                [] => return bytes,
                piece => bytes += black_box(piece).len(),
            }
        }
    }

    fn miss(&self, key: &[u8], fields: &[(&str, &str)]) {
        if let Decision::Fetch(fetch) = self.decide(key) {
            self.fill(fetch, fields);
        }
    }

    fn refresh(&self) {
        match self.decide(black_box(STALE)) {
            Decision::Serve(Serve {
                refresh: Some(fetch),
                ..
            }) => self.fill(fetch, &EXPIRED),
            // The fills of another measure have evicted it.
            Decision::Fetch(fetch) => self.fill(fetch, &EXPIRED),
            other => panic!("{other:?}"),
        }
    }

    fn judged(&self) -> u64 {
        let request = Request::new(&http::Method::GET, KEY, &BROWSER);
        match assess(&request, (200, black_box(&FRESH)), &self.policy, (NOW, NOW)) {
            Assessed::Storable(good) => good.windows.swr_until,
            Assessed::Refused(reason) => panic!("{reason:?}"),
        }
    }

    fn fill(&self, mut fetch: Box<Fetch>, fields: &[(&str, &str)]) {
        let fields = fields.to_vec();
        let response = Response {
            status: 200,
            store: &fields,
            received: &fields,
            origin: b"",
            content_length: None,
            request_time: NOW,
            wall: NOW,
            from_failure: None,
            withheld: None,
            own_redirect: false,
            kept: None,
        };
        fetch.header(&response, &BROWSER, &self.policy, NOW);
        fetch.write(&BODY).expect("it may be stored");
        fetch.end(NOW);
    }
}

type Lookup = unsafe extern "C" fn(
    *mut ffi::Cache,
    *mut ffi::Policy,
    *const ffi::Request,
    *mut ffi::Decision,
) -> c_int;

/// The library, called as from C.
struct Library {
    cache: *mut ffi::Cache,
    policy: *mut ffi::Policy,
    browser: Vec<ffi::Field>,
    lookup: Lookup,
    head: unsafe extern "C" fn(*mut ffi::Reply, *mut ffi::Head) -> c_int,
    read: unsafe extern "C" fn(*mut ffi::Reply, *mut libc::iovec, usize, *mut usize) -> c_int,
    reply_free: unsafe extern "C" fn(*mut ffi::Reply),
    respond: unsafe extern "C" fn(*mut ffi::Fetch, *const ffi::Response, *mut c_int) -> c_int,
    write: unsafe extern "C" fn(*mut ffi::Fetch, *const c_char, usize) -> c_int,
    finish: unsafe extern "C" fn(*mut ffi::Fetch, *mut c_int) -> c_int,
    fetch_free: unsafe extern "C" fn(*mut ffi::Fetch),
    judge: unsafe extern "C" fn(
        *mut ffi::Policy,
        *const ffi::Request,
        *const ffi::Response,
        u64,
        *mut ffi::Verdict,
    ) -> c_int,
}

/// A function of the library.
///
/// # Safety
/// `file` is an open library, in which the name is a function of type `F`.
unsafe fn function<F: Copy>(file: *mut c_void, name: &CStr) -> F {
    assert_eq!(size_of::<F>(), size_of::<*mut c_void>());
    // SAFETY: the caller's promise.
    let found = unsafe { libc::dlsym(file, name.as_ptr()) };
    assert!(!found.is_null(), "the library has no {name:?}");
    // SAFETY: as large as a pointer; not NULL, and of that type, says the caller.
    unsafe { transmute_copy(&found) }
}

extern "C" fn clock(_: *mut c_void) -> u64 {
    NOW
}

fn field((name, value): &(&'static str, &'static str)) -> ffi::Field {
    ffi::Field {
        name: name.as_ptr().cast(),
        name_len: name.len(),
        value: value.as_ptr().cast(),
        value_len: value.len(),
    }
}

impl Library {
    /// # Safety
    /// The file is this library, of this version: its functions are of the types that the header tells.
    unsafe fn load(path: &str) -> Library {
        let name = CString::new(path).expect("a path");
        // SAFETY: a C string; what the file does when it is loaded is the caller's promise.
        let file = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        assert!(!file.is_null(), "no {path}: make lib");
        // SAFETY: functions of the library, says the caller, and of these types, says its header.
        unsafe {
            let open: unsafe extern "C" fn(*const ffi::Options, *mut *mut ffi::Cache) -> c_int =
                function(file, c"swrcache_open");
            let policy_new: unsafe extern "C" fn(*mut *mut ffi::Policy) -> c_int =
                function(file, c"swrcache_policy_new");
            let options = ffi::Options {
                struct_size: size_of::<ffi::Options>(),
                memory: ffi::SWRCACHE_SHARED,
                size: MEMORY,
                clock: Some(clock),
                ..zeroed()
            };
            let (mut cache, mut policy) = (ptr::null_mut(), ptr::null_mut());
            assert_eq!(open(&options, &mut cache), 0);
            assert_eq!(policy_new(&mut policy), 0);
            let library = Library {
                cache,
                policy,
                browser: BROWSER.iter().map(field).collect(),
                lookup: function(file, c"swrcache_lookup"),
                head: function(file, c"swrcache_reply_head"),
                read: function(file, c"swrcache_reply_read"),
                reply_free: function(file, c"swrcache_reply_free"),
                respond: function(file, c"swrcache_fetch_respond"),
                write: function(file, c"swrcache_fetch_write"),
                finish: function(file, c"swrcache_fetch_finish"),
                fetch_free: function(file, c"swrcache_fetch_free"),
                judge: function(file, c"swrcache_judge"),
            };
            library.miss(KEY, &FRESH);
            library.miss(STALE, &EXPIRED);
            library
        }
    }

    fn request(&self, key: &[u8]) -> ffi::Request {
        ffi::Request {
            struct_size: size_of::<ffi::Request>(),
            method: c"GET".as_ptr(),
            key: key.as_ptr().cast(),
            key_len: key.len(),
            fields: self.browser.as_ptr(),
            field_count: self.browser.len(),
            // SAFETY: integers and pointers.
            ..unsafe { zeroed() }
        }
    }

    fn decide(&self, key: &[u8]) -> ffi::Decision {
        // SAFETY: integers and pointers.
        let mut decision: ffi::Decision = unsafe { zeroed() };
        decision.struct_size = size_of::<ffi::Decision>();
        // SAFETY: live handles; the structs are filled in.
        let code =
            unsafe { (self.lookup)(self.cache, self.policy, &self.request(key), &mut decision) };
        assert_eq!(code, 0);
        decision
    }

    fn hit(&self) {
        let decision = self.decide(black_box(KEY));
        // SAFETY: given by the lookup, or NULL.
        unsafe { (self.reply_free)(decision.reply) };
    }

    fn head_and_body(&self) -> usize {
        let decision = self.decide(black_box(KEY));
        // SAFETY: integers and pointers.
        let (mut head, mut iov): (ffi::Head, [libc::iovec; 4]) = unsafe { zeroed() };
        head.struct_size = size_of::<ffi::Head>();
        let mut count = 0;
        // SAFETY: the reply is live until it is freed; the outputs are ours.
        unsafe {
            assert_eq!((self.head)(decision.reply, &mut head), 0);
            assert_eq!(
                (self.read)(decision.reply, iov.as_mut_ptr(), 4, &mut count),
                0
            );
            (self.reply_free)(decision.reply);
        }
        black_box(iov)[..count].iter().map(|io| io.iov_len).sum()
    }

    fn miss(&self, key: &[u8], fields: &[(&'static str, &'static str)]) {
        self.fill(self.decide(key).fetch, fields);
    }

    fn refresh(&self) {
        let decision = self.decide(black_box(STALE));
        // SAFETY: given by the lookup.
        unsafe { (self.reply_free)(decision.reply) };
        assert!(!decision.fetch.is_null());
        self.fill(decision.fetch, &EXPIRED);
    }

    fn response(fields: &[ffi::Field]) -> ffi::Response {
        ffi::Response {
            struct_size: size_of::<ffi::Response>(),
            status: 200,
            fields: fields.as_ptr(),
            field_count: fields.len(),
            // SAFETY: integers and pointers.
            ..unsafe { zeroed() }
        }
    }

    fn fill(&self, fetch: *mut ffi::Fetch, fields: &[(&'static str, &'static str)]) {
        let lines: Vec<ffi::Field> = fields.iter().map(field).collect();
        let mut todo = 0;
        // SAFETY: the fetch is NULL or live until it is freed; the struct is filled in.
        unsafe {
            assert_eq!(
                (self.respond)(fetch, &Library::response(&lines), &mut todo),
                0
            );
            assert_eq!((self.write)(fetch, BODY.as_ptr().cast(), BODY.len()), 0);
            assert_eq!((self.finish)(fetch, &mut todo), 0);
            (self.fetch_free)(fetch);
        }
    }

    fn judged(&self, lines: &[ffi::Field]) -> u64 {
        // SAFETY: integers and pointers.
        let mut verdict: ffi::Verdict = unsafe { zeroed() };
        verdict.struct_size = size_of::<ffi::Verdict>();
        // SAFETY: a live policy; the structs are filled in.
        let code = unsafe {
            let response = Library::response(lines);
            (self.judge)(
                self.policy,
                &self.request(KEY),
                &response,
                NOW,
                &mut verdict,
            )
        };
        assert_eq!(code, 0);
        verdict.swr_until
    }
}

/// Another crate's rules, on types of the crate `http`.
struct Semantics {
    request: http::Request<()>,
    response: http::Response<()>,
    policy: CachePolicy,
    now: SystemTime,
}

impl Semantics {
    fn new() -> Semantics {
        let mut request = http::Request::get("http://www.example.com/some/path?with=query");
        for (name, value) in BROWSER {
            request = request.header(name, value);
        }
        let mut response = http::Response::builder();
        for (name, value) in FRESH {
            response = response.header(name, value);
        }
        let request = request.body(()).expect("a request");
        let response = response.body(()).expect("a response");
        Semantics {
            policy: CachePolicy::new(&request, &response),
            request,
            response,
            now: SystemTime::now(),
        }
    }
}

/// An operation, and what its turns took.
struct Measure<'a> {
    operation: &'static str,
    by: &'static str,
    run: Box<dyn FnMut() + 'a>,
    nanos: Vec<f64>,
}

impl<'a> Measure<'a> {
    fn new(operation: &'static str, by: &'static str, run: impl FnMut() + 'a) -> Measure<'a> {
        Measure {
            operation,
            by,
            run: Box::new(run),
            nanos: Vec::new(),
        }
    }

    /// One turn.
    fn turn(&mut self) {
        let (began, mut n) = (Instant::now(), 0u32);
        let took = loop {
            for _ in 0..64 {
                (self.run)();
            }
            n += 64;
            let took = began.elapsed();
            if took >= A_TURN {
                break took;
            }
        };
        self.nanos.push(took.as_nanos() as f64 / f64::from(n));
    }

    /// The lower quartile: what comes in between only ever adds.
    fn quartile(&self) -> f64 {
        let mut sorted = self.nanos.clone();
        sorted.sort_by(f64::total_cmp);
        sorted[sorted.len() / 4]
    }
}

const HIT: &str = "lookup + decision, a hit";
const READ: &str = "the same, head and 1 KiB body, zero-copy";
const FILL: &str = "miss, fill with 1 KiB";
const REFRESH: &str = "stale, refresh with 1 KiB";
const JUDGE: &str = "the rules alone: judge a response";
const RUST: &str = "Rust: the engine";
const C: &str = "C: libswrcache.so";

fn main() {
    let path = std::env::var("SWRCACHE_LIBRARY");
    let path = path.unwrap_or_else(|_| {
        concat!(env!("CARGO_MANIFEST_DIR"), "/build/c/lib/libswrcache.so").into()
    });
    let direct = Direct::new();
    // SAFETY: the library of this tree.
    let library = unsafe { Library::load(&path) };
    let semantics = Semantics::new();
    let plain = quick_cache::sync::Cache::<Vec<u8>, Arc<[u8; 1024]>>::new(10_000);
    plain.insert(KEY.to_vec(), Arc::new(BODY));
    let fresh: Vec<ffi::Field> = FRESH.iter().map(field).collect();
    let count = Cell::new(0u64);
    let next = || {
        count.set(count.get() + 1);
        format!("httpwww.example.com/items/{}", count.get())
    };
    let mut all = [
        Measure::new(HIT, RUST, || drop(black_box(direct.hit()))),
        Measure::new(HIT, C, || library.hit()),
        Measure::new(HIT, "quick_cache: a value by its key", || {
            drop(black_box(plain.get(black_box(KEY))));
        }),
        Measure::new(
            HIT,
            "http-cache-semantics: the rules, of a response at hand",
            || {
                black_box(
                    semantics
                        .policy
                        .before_request(&semantics.request, semantics.now),
                );
            },
        ),
        Measure::new(READ, RUST, || _ = black_box(direct.read())),
        Measure::new(READ, C, || _ = black_box(library.head_and_body())),
        Measure::new(FILL, RUST, || direct.miss(next().as_bytes(), &FRESH)),
        Measure::new(FILL, C, || library.miss(next().as_bytes(), &FRESH)),
        Measure::new(FILL, "quick_cache", || {
            plain.insert(next().into(), Arc::new(BODY))
        }),
        Measure::new(REFRESH, RUST, || direct.refresh()),
        Measure::new(REFRESH, C, || library.refresh()),
        Measure::new(JUDGE, RUST, || _ = black_box(direct.judged())),
        Measure::new(JUDGE, C, || _ = black_box(library.judged(&fresh))),
        Measure::new(JUDGE, "http-cache-semantics", || {
            black_box(CachePolicy::new(&semantics.request, &semantics.response));
        }),
    ];
    for _ in 0..TURNS {
        all.iter_mut().for_each(Measure::turn);
    }
    table(&all);
    if std::env::args().any(|arg| arg == "--table") {
        return;
    }
    let mut criterion = Criterion::default().configure_from_args();
    for Measure {
        operation, by, run, ..
    } in &mut all
    {
        criterion.bench_function(&format!("{operation} / {by}"), |b| b.iter(&mut *run));
    }
    criterion.final_summary();
}

/// Markdown, each operation against the engine's own call.
fn table(all: &[Measure<'_>]) {
    println!("| operation | by | ns | by Rust's |\n|---|---|---|---|");
    let mut rust = f64::NAN;
    for measure in all {
        let ns = measure.quartile();
        if measure.by == RUST {
            rust = ns;
        }
        let (operation, by) = (measure.operation, measure.by);
        println!("| {operation} | {by} | {ns:.0} | {:.2} |", ns / rust);
    }
    println!();
}
