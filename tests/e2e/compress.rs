//! Responses that are encoded once (`swr_cache_compress`).

use std::io::Read;

use crate::purge::post;
use crate::support::*;

const TYPE: (&str, &str) = ("Content-Type", "text/html");
const GZIP: &[(&str, &str)] = &[("Accept-Encoding", "gzip")];

fn html() -> String {
    "<li>an entry of a list</li>\n".repeat(300)
}

fn page(origin: &Origin, path: &str) {
    let page = Reply::cached("max-age=600", html());
    origin.on(path, page.header(TYPE.0, TYPE.1).header("ETag", "\"v1\""));
}

fn compressing(origin: &Origin, lines: &str) -> Conf {
    Conf::caching_with(origin, lines)
}

fn gunzip(bytes: &[u8]) -> String {
    let mut text = String::new();
    let mut decoder = flate2::read::GzDecoder::new(bytes);
    decoder.read_to_string(&mut text).expect("gzip");
    text
}

/// Asks until the stored form is served.
#[track_caller]
fn await_form(nginx: &Nginx, path: &str, fields: &[(&str, &str)], coding: &str) -> Response {
    let mut last = nginx.get_with(path, fields);
    eventually(coding, || {
        last = nginx.get_with(path, fields);
        last.header("X-Coding") == Some(coding)
    });
    last
}

#[test]
fn compress_once_and_serve_the_stored_form() {
    let origin = Origin::start();
    page(&origin, "/");
    let nginx = compressing(
        &origin,
        "swr_cache_compress br gzip; gzip on; gzip_vary on; gzip_min_length 1;",
    )
    .start();
    // What is there at first: nginx's own gzip filter.
    let first = nginx.get_with("/", GZIP);
    assert_eq!(first.cache(), "MISS");
    assert_eq!(gunzip(&first.body), html());
    let form = await_form(&nginx, "/", GZIP, "gzip");
    assert_eq!((form.status, form.cache()), (200, "HIT"));
    assert_eq!(gunzip(&form.body), html());
    assert_eq!(form.header("Content-Encoding"), Some("gzip"));
    assert_eq!(form.header("ETag"), Some("\"v1-gzip\""));
    assert_eq!(form.all("Vary"), ["Accept-Encoding"]);
    let length = form.body.len().to_string();
    assert_eq!(form.header("Content-Length"), Some(&*length));
    let br = await_form(&nginx, "/", &[("Accept-Encoding", "gzip, br")], "br");
    assert_eq!(br.header("Content-Encoding"), Some("br"));
    assert!(br.body.len() < form.body.len());
    // Who accepts none gets the original, and is told that others don't.
    let plain = nginx.get("/");
    plain.is(200, "HIT", &html());
    assert_eq!(plain.header("ETag"), Some("\"v1\""));
    assert_eq!(plain.all("Vary"), ["Accept-Encoding"]);
    assert_eq!(plain.header("Content-Encoding"), None);
    assert_eq!(origin.hits("/"), 1);
}

#[test]
fn compress_conditions_ranges_and_heads_are_of_the_form() {
    let origin = Origin::start();
    page(&origin, "/");
    let nginx = compressing(&origin, "swr_cache_compress gzip;").start();
    // Also the one that is being stored: caches downstream are to keep the forms apart.
    let first = nginx.get_with("/", GZIP);
    assert_eq!(
        (first.cache(), first.all("Vary")),
        ("MISS", vec!["Accept-Encoding"])
    );
    let form = await_form(&nginx, "/", GZIP, "gzip");
    let ask = |more: (&str, &str)| nginx.get_with("/", &[GZIP[0], more]);
    let same = ask(("If-None-Match", "\"v1-gzip\""));
    same.is(304, "HIT", "");
    assert_eq!(same.header("ETag"), Some("\"v1-gzip\""));
    assert_eq!(same.all("Vary"), ["Accept-Encoding"]);
    assert_eq!(ask(("If-None-Match", "\"v1\"")).status, 200);
    let part = ask(("Range", "bytes=2-5"));
    assert_eq!((part.status, &part.body[..]), (206, &form.body[2..6]));
    let whole = form.body.len();
    let range = format!("bytes 2-5/{whole}");
    assert_eq!(part.header("Content-Range"), Some(&*range));
    assert_eq!(part.header("Content-Encoding"), Some("gzip"));
    let head = nginx.client().request("HEAD", "/", GZIP);
    assert_eq!(head.header("Content-Encoding"), Some("gzip"));
    assert_eq!(head.header("Content-Length"), Some(&*whole.to_string()));
}

/// A body that nginx rewrites on its way out is needed as it is.
#[test]
fn compress_leaves_rewritten_bodies_alone() {
    let origin = Origin::start();
    let page = |body: &str| Reply::cached("max-age=600", body).header(TYPE.0, TYPE.1);
    let long = html();
    origin.on("/ssi", page(&format!("<!--# echo var=\"arg_x\" -->{long}")));
    origin.on("/sub", page(&format!("old {long}")));
    origin.on("/add", page(&long));
    origin.on("/recode", page(&format!("\u{444} {long}")));
    origin.on("/foot", page("the foot"));
    let location = |lines: &str| {
        format!(
            "swr_cache main; swr_cache_compress gzip; {lines} proxy_pass http://{};",
            origin.addr
        )
    };
    let conf = Conf::new()
        .zone()
        .location("/ssi", &location("ssi on;"))
        .location("/sub", &location("sub_filter old new;"))
        .location("/add", &location("add_after_body /foot;"))
        .http("charset_map koi8-r utf-8 { C6 D184; }")
        .location(
            "/recode",
            &location("charset koi8-r; source_charset utf-8;"),
        )
        .location("/named", &location("charset utf-8; source_charset utf-8;"))
        .location("/foot", &format!("proxy_pass http://{};", origin.addr));
    let warnings = conf.warnings();
    for directive in [
        "ssi",
        "sub_filter",
        "add_before_body or add_after_body",
        "charset and source_charset",
    ] {
        let warning =
            format!("\"swr_cache_compress\" has no effect where \"{directive}\" rewrites the body");
        assert!(warnings.contains(&warning), "{warnings}");
    }
    assert_eq!(
        warnings.matches("has no effect where").count(),
        4,
        "{warnings}"
    );
    let nginx = conf.allow("has no effect where").start();
    for _ in 0..3 {
        for (path, want) in [
            ("/ssi?x=1", format!("1{long}").into_bytes()),
            ("/sub", format!("new {long}").into_bytes()),
            ("/add", format!("{long}the foot").into_bytes()),
            ("/recode", [b"\xc6 ", long.as_bytes()].concat()),
        ] {
            let got = nginx.get_with(path, GZIP);
            assert!(got.body == want, "{path}: {:?}", got.text());
            assert_eq!(got.header("Content-Encoding"), None, "{path}");
        }
    }
    // One that names the charset alone changes no byte of the body.
    origin.on("/named", page(&long));
    let form = await_form(&nginx, "/named", GZIP, "gzip");
    assert_eq!(
        form.header("Content-Type"),
        Some("text/html; charset=utf-8")
    );
    assert_eq!(gunzip(&form.body), long);
}

#[test]
fn compress_only_what_is_listed_and_allowed() {
    let origin = Origin::start();
    page(&origin, "/page");
    let reply =
        |kind: &str, control: &str| Reply::cached(control, html()).header("Content-Type", kind);
    origin.on("/image", reply("image/png", "max-age=600"));
    origin.on("/kept", reply("text/html", "max-age=600, no-transform"));
    origin.on(
        "/short",
        Reply::cached("max-age=600", "short").header(TYPE.0, TYPE.1),
    );
    let nginx = compressing(&origin, "swr_cache_compress gzip;").start();
    let others = ["/image", "/kept", "/short"];
    others
        .iter()
        .for_each(|path| assert_eq!(nginx.get_with(path, GZIP).cache(), "MISS"));
    // Those that are asked for before it are looked at before it.
    others
        .iter()
        .for_each(|path| assert_eq!(nginx.get_with(path, GZIP).cache(), "HIT"));
    await_form(&nginx, "/page", GZIP, "gzip");
    for path in others {
        let got = nginx.get_with(path, GZIP);
        assert_eq!(got.header("Content-Encoding"), None, "{path}");
        assert_eq!(got.header("Vary"), None, "{path}");
    }
}

/// What an encoder works on when its worker is killed is lost, and nothing else: the others serve, and it is made again.
#[test]
fn compress_goes_on_after_a_workers_death() {
    let origin = Origin::start();
    let nginx = compressing(&origin, "swr_cache_compress br=11 gzip;")
        .workers(2)
        .allow("exited on signal 9")
        .start();
    for round in 0..4 {
        let path = format!("/{round}");
        let text: String = (0..60_000u32)
            .map(|n| format!("{:x} ", n.wrapping_mul(2_654_435_761) % 99_991))
            .collect();
        let page = Reply::cached("max-age=600", text.clone());
        origin.on(&path, page.header(TYPE.0, TYPE.1));
        nginx.get(&path);
        nginx.get_with(&path, GZIP);
        nginx.kill_worker();
        nginx.get(&path).is(200, "HIT", &text);
        let got = nginx.get_with(&path, GZIP);
        assert_eq!(got.status, 200);
        let body = match got.header("Content-Encoding") {
            Some("gzip") => gunzip(&got.body),
            other => {
                assert_eq!(other, None);
                got.text()
            }
        };
        assert!(body == text);
    }
    page(&origin, "/after");
    await_form(&nginx, "/after", GZIP, "gzip");
}

#[test]
fn compress_is_counted_and_purged() {
    let origin = Origin::start();
    page(&origin, "/");
    let nginx = compressing(&origin, "swr_cache_compress gzip;")
        .location("/swr", "swr_cache_stats;")
        .location("/purge", "swr_cache_purge zone=main;")
        .start();
    let form = await_form(&nginx, "/", GZIP, "gzip").body.len() as u64;
    let zone = |nginx: &Nginx| {
        let tree = nginx.get_with("/swr", &[("Accept", "application/json")]);
        let tree: serde_json::Value = serde_json::from_slice(&tree.body).expect("JSON");
        tree["zones"]["main"].clone()
    };
    eventually("the form is counted", || {
        zone(&nginx)["encoded"]["gzip"]["served"] != 0
    });
    let served = |zone: &serde_json::Value| zone["encoded"]["gzip"]["served"].as_u64();
    let before = zone(&nginx);
    assert_eq!(before["encoded"]["gzip"]["made"], 1);
    let saved = html().len() as u64 - form;
    assert_eq!(before["encoded"]["gzip"]["bytes_saved"], saved);
    assert_eq!(before["used"]["encodings"], form);
    assert_eq!(before["entries"]["fresh"], 1);
    // Who takes no form is not served one, however it asks.
    let same = [GZIP[0], ("If-None-Match", "\"v1-gzip\"")];
    assert_eq!(nginx.get("/").cache(), "HIT");
    assert_eq!(nginx.get_with("/", GZIP).cache(), "HIT");
    assert_eq!(nginx.get_with("/", &same).status, 304);
    eventually("two more are counted", || {
        served(&zone(&nginx)) == served(&before).map(|n| n + 2)
    });
    let purge = post(&nginx, "{\"all\": true}");
    assert_eq!(
        purge.text(),
        "{\"purged\":1,\"soft\":false,\"zone\":\"main\"}\n"
    );
    assert_eq!(zone(&nginx)["entries"]["fresh"], 0);
    assert_eq!(nginx.get_with("/", GZIP).cache(), "MISS");
}

/// What clients accept, and the coding that they get (RFC 9110 §12.5.3).
const ACCEPTED: [(Option<&str>, Option<&str>); 9] = [
    (None, None),
    (Some("gzip"), Some("gzip")),
    (Some("gzip, deflate, br"), Some("br")),
    (Some("br;q=0.1, gzip;q=0.2"), Some("gzip")),
    (Some("*"), Some("br")),
    (Some("gzip;q=0"), None),
    (Some("identity, gzip;q=0.5"), None),
    (Some("identity;q=0, gzip"), Some("gzip")),
    (Some("zstd"), None),
];

/// Every combination of what a client says, on the wire, with what nginx has for compressed bodies off and on beside the cache.
#[test]
fn compress_every_combination_on_the_wire() {
    let origin = Origin::start();
    page(&origin, "/plain");
    let vary = Reply::cached("max-age=600", html()).header("Vary", "Origin");
    origin.on(
        "/varies",
        vary.header(TYPE.0, TYPE.1).header("ETag", "\"v1\""),
    );
    for lines in ["", "gzip on; gzip_min_length 1; gzip_vary on; gunzip on;"] {
        let nginx = compressing(&origin, &format!("swr_cache_compress br gzip; {lines}")).start();
        for path in ["/plain", "/varies"] {
            await_form(&nginx, path, GZIP, "gzip");
            await_form(&nginx, path, &[("Accept-Encoding", "br")], "br");
            let mut client = nginx.client();
            for (accept, coding) in ACCEPTED {
                let mut fields: Vec<_> =
                    accept.map(|a| ("Accept-Encoding", a)).into_iter().collect();
                let whole = client.request("GET", path, &fields);
                let about = format!("{path} {accept:?} {lines}");
                // nginx's own filter weighs gzip against nothing.
                if !lines.is_empty() && accept == Some("identity, gzip;q=0.5") {
                    assert_eq!(whole.header("Content-Encoding"), Some("gzip"), "{about}");
                    assert_eq!(whole.header("ETag"), Some("W/\"v1\""), "{about}");
                    continue;
                }
                assert_eq!(whole.header("Content-Encoding"), coding, "{about}");
                assert_eq!(whole.header("X-Coding"), coding, "{about}");
                let varies = whole.all("Vary").join(", ");
                assert_eq!(
                    varies.matches("Accept-Encoding").count(),
                    1,
                    "{varies}: {about}"
                );
                assert_eq!(
                    varies.contains("Origin"),
                    path == "/varies",
                    "{varies}: {about}"
                );
                let tag = coding.map_or("\"v1\"".to_owned(), |c| format!("\"v1-{c}\""));
                assert_eq!(whole.header("ETag"), Some(&*tag), "{about}");
                let length = whole.body.len().to_string();
                assert_eq!(whole.header("Content-Length"), Some(&*length), "{about}");
                let head = client.request("HEAD", path, &fields);
                for name in [
                    "Content-Encoding",
                    "Content-Length",
                    "ETag",
                    "Vary",
                    "Content-Type",
                ] {
                    assert_eq!(head.all(name), whole.all(name), "{name} of a HEAD: {about}");
                }
                for known in ["\"v1\"", "\"v1-gzip\"", "\"v1-br\"", "*"] {
                    fields.push(("If-None-Match", known));
                    let got = client.request("GET", path, &fields);
                    let is_same = known == tag || known == "*";
                    assert_eq!(
                        got.status,
                        if is_same { 304 } else { 200 },
                        "{known}: {about}"
                    );
                    assert_eq!(got.header("ETag"), Some(&*tag), "{known}: {about}");
                    fields.pop();
                    fields.extend([("Range", "bytes=2-5"), ("If-Range", known)]);
                    let got = client.request("GET", path, &fields);
                    let (status, body) = match known == tag {
                        true => (206, &whole.body[2..6]),
                        false => (200, &whole.body[..]),
                    };
                    assert_eq!(got.status, status, "If-Range {known}: {about}");
                    assert_eq!(got.body, body, "If-Range {known}: {about}");
                    assert_eq!(got.header("Content-Encoding"), coding, "{about}");
                    fields.truncate(fields.len() - 2);
                }
            }
        }
        // nginx unzips for those of whom it thinks that they take no gzip (gzip_proxied): what they get is whole, and says so.
        let proxied = nginx.get_with("/plain", &[GZIP[0], ("Via", "1.1 proxy")]);
        let text = match proxied.header("Content-Encoding") {
            Some("gzip") => gunzip(&proxied.body),
            other => {
                assert_eq!(other, None);
                proxied.text()
            }
        };
        assert!(text == html());
    }
}

/// A file that lies there compressed (`gzip_static`) is served as it lies there; who does not take it gets the cache's own form.
#[test]
fn compress_beside_compressed_files() {
    let conf = Conf::new().zone().location(
        "/d/",
        "swr_cache main; alias d/; gzip_static on; gzip_vary on; swr_cache_valid 10m; swr_cache_compress br gzip;",
    );
    if let Err(log) = conf.check() {
        assert!(log.contains("unknown directive \"gzip_static\""), "{log}");
        return;
    }
    let nginx = conf.start();
    let dir = nginx.dir().join("d");
    std::fs::create_dir_all(&dir).expect("a folder");
    std::fs::write(dir.join("a.html"), html()).expect("a file");
    let gzip = std::process::Command::new("gzip")
        .arg("-k1")
        .arg(dir.join("a.html"))
        .status();
    assert!(gzip.is_ok_and(|status| status.success()));
    let lies_there = std::fs::read(dir.join("a.html.gz")).expect("the compressed file");
    for _ in 0..3 {
        let zipped = nginx.get_with("/d/a.html", GZIP);
        assert!(zipped.body == lies_there);
        assert_eq!(zipped.all("Content-Encoding"), ["gzip"]);
        assert_eq!(zipped.all("Vary"), ["Accept-Encoding"]);
    }
    let br = await_form(&nginx, "/d/a.html", &[("Accept-Encoding", "br")], "br");
    assert_eq!(br.all("Content-Encoding"), ["br"]);
    assert_eq!(br.all("Vary"), ["Accept-Encoding"]);
    assert_eq!(nginx.get("/d/a.html").text(), html());
}

/// `?explain=` shows which forms are there, and which one a client would get; and asks for none.
#[test]
fn compress_is_explained() {
    let origin = Origin::start();
    page(&origin, "/");
    let nginx = compressing(&origin, "swr_cache_compress br gzip;")
        .location("/swr", "swr_cache_stats;")
        .start();
    nginx.get("/").is(200, "MISS", &html());
    let explain = |accept: &str| {
        let url = format!("/swr?explain=http://localhost/&header=Accept-Encoding:{accept}");
        let said: serde_json::Value = serde_json::from_slice(&nginx.get(&url).body).expect("JSON");
        (
            said["verdict"]["encoding"].clone(),
            said["variants"][0]["encodings"].clone(),
        )
    };
    assert_eq!(
        explain("gzip"),
        (serde_json::Value::Null, serde_json::json!([]))
    );
    let gzip = await_form(&nginx, "/", GZIP, "gzip");
    let br = await_form(&nginx, "/", &[("Accept-Encoding", "br")], "br");
    let both = serde_json::json!([
        {"coding": "gzip", "bytes": gzip.body.len()},
        {"coding": "br", "bytes": br.body.len()},
    ]);
    assert_eq!(explain("gzip"), (serde_json::json!("gzip"), both.clone()));
    assert_eq!(explain("gzip,br"), (serde_json::json!("br"), both.clone()));
    assert_eq!(explain("identity"), (serde_json::Value::Null, both));
}

/// The thread that encodes lets requests go first: a batch job, nicer than its worker.
#[test]
fn compress_by_a_thread_that_steps_back() {
    let origin = Origin::start();
    page(&origin, "/");
    let nginx = compressing(&origin, "swr_cache_compress gzip;").start();
    await_form(&nginx, "/", GZIP, "gzip");
    let worker = nginx.workers()[0];
    let tasks = std::fs::read_dir(format!("/proc/{worker}/task")).expect("/proc");
    let stats: Vec<_> = tasks
        .flatten()
        .filter_map(|task| std::fs::read_to_string(task.path().join("stat")).ok())
        .collect();
    // proc_pid_stat(5): after the name, `nice` is the 17th field and `policy` the 39th.
    let of = |stat: &String| {
        let fields: Vec<&str> = stat.rsplit(") ").next()?.split(' ').collect();
        let field = |at: usize| fields.get(at)?.parse::<i32>().ok();
        Some((field(16)?, field(38)?))
    };
    let mine = stats.iter().find(|stat| stat.contains("(swr_cache)"));
    let worker = stats.iter().find(|stat| stat.contains("(nginx)"));
    let (nice, policy) = mine.and_then(of).expect("a thread");
    let (usual, _) = worker.and_then(of).expect("a worker");
    assert_eq!((nice, policy), ((usual + 19).min(19), libc::SCHED_BATCH));
}

/// A part of another response is needed as it is, whatever the client of the whole accepts.
#[test]
fn compress_no_parts_of_other_responses() {
    let origin = Origin::start();
    page(&origin, "/part");
    let whole =
        Reply::cached("max-age=600", "<!--# include virtual=\"/part\" -->").header(TYPE.0, TYPE.1);
    origin.on("/ssi", whole);
    origin.on(
        "/foot",
        Reply::cached("max-age=600", "the body, ").header(TYPE.0, TYPE.1),
    );
    let proxied = format!("proxy_pass http://{};", origin.addr);
    let nginx = Conf::new()
        .zone()
        .location(
            "/part",
            &format!("swr_cache main; swr_cache_compress gzip; {proxied}"),
        )
        .location("/ssi", &format!("ssi on; {proxied}"))
        .location("/foot", &format!("add_after_body /part; {proxied}"))
        .start();
    nginx.get("/part").is(200, "MISS", &html());
    await_form(&nginx, "/part", GZIP, "gzip");
    for (path, want) in [("/ssi", html()), ("/foot", format!("the body, {}", html()))] {
        let got = nginx.get_with(path, GZIP);
        assert_eq!(got.header("Content-Encoding"), None, "{path}");
        assert!(got.body == want.as_bytes(), "{path}: {:?}", got.text());
    }
}

/// RFC 9110 §15.5.17: the text that says so is nginx's own, and is not encoded.
#[test]
fn compress_a_range_that_is_not_there() {
    let origin = Origin::start();
    page(&origin, "/");
    let encoded = Reply::cached("max-age=600", "encoded by the origin");
    origin.on("/encoded", encoded.header("Content-Encoding", "gzip"));
    let nginx = compressing(&origin, "swr_cache_compress gzip;").start();
    await_form(&nginx, "/", GZIP, "gzip");
    nginx.get_with("/encoded", GZIP);
    for path in ["/", "/encoded"] {
        let refused = nginx.get_with(path, &[GZIP[0], ("Range", "bytes=99999-")]);
        assert_eq!(refused.status, 416, "{path}");
        assert_eq!(refused.header("Content-Encoding"), None, "{path}");
        assert!(refused.text().contains("<h1>416"), "{path}");
    }
}
