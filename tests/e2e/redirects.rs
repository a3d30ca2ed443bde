//! Redirects inside nginx: a fetch follows none, and the cache is asked again where the client's own request is led.

use crate::support::*;

const HOUR: &str = "max-age=3600";
const MEMBER: [(&str, &str); 1] = [("Cookie", "member=1")];

fn pass(origin: &Origin) -> String {
    format!("proxy_pass http://{};", origin.addr)
}

/// A folder of files, with these.
fn files(files: &[(&str, &str)]) -> Folder {
    let folder = Folder::new();
    for (name, text) in files {
        let path = folder.0.join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    }
    folder
}

fn root(folder: &Folder) -> String {
    format!("root {};", folder.0.display())
}

/// What one visitor is released by `X-Accel-Redirect` is not for the next, who is not; and what comes along with it stays.
#[test]
fn redirects_accel_is_for_its_visitor_alone() {
    let origin = Origin::start();
    origin.handle("/report", |r| match r.header("Cookie") {
        Some("member=1") => Reply::ok("ignored")
            .header("X-Accel-Redirect", "/protected/report.bin?x=y")
            .header("Content-Type", "application/pdf")
            .header("Content-Disposition", "attachment; filename=r.pdf")
            .header("Set-Cookie", "seen=1")
            .header("Cache-Control", "private")
            .header("X-Not-Kept", "1"),
        _ => Reply::new(403).body("members only"),
    });
    let folder = files(&[("protected/report.bin", "SECRET")]);
    let lines = "swr_cache main; swr_cache_valid 200 10m; swr_cache_stale_while_revalidate 1h;";
    let protected = "internal; add_header X-Args $args; expires 1h;";
    let nginx = Conf::new()
        .zone()
        .server(&format!("{lines} {}", root(&folder)))
        .location("/report", &pass(&origin))
        .location("/protected/", protected)
        .start();
    for n in 1..=3 {
        let member = nginx.get_with("/report", &MEMBER);
        assert_eq!((member.status, member.text().as_str()), (200, "SECRET"));
        let kept = [
            "Content-Type",
            "Content-Disposition",
            "Set-Cookie",
            "X-Not-Kept",
            "X-Args",
        ];
        assert_eq!(
            kept.map(|name| member.header(name)),
            [
                Some("application/pdf"),
                Some("attachment; filename=r.pdf"),
                Some("seen=1"),
                None,
                Some("x=y")
            ],
            "{member:?}"
        );
        assert_eq!(member.all("Cache-Control").concat(), "max-age=3600");
        assert_eq!(origin.hits("/report"), 2 * n - 1, "asked once a visit");
        let stranger = nginx.get("/report");
        assert_eq!(
            (stranger.status, stranger.text().as_str()),
            (403, "members only")
        );
    }
    assert_eq!(nginx.get("/protected/report.bin").status, 404, "internal");
}

/// The method rule of nginx, named locations, the body of a request, and targets that nginx refuses.
#[test]
fn redirects_accel_as_nginx_makes_it() {
    let origin = Origin::start();
    let to = |target: &str| Reply::ok("").header("X-Accel-Redirect", target);
    origin.on("/inside", to("/in"));
    origin.on("/named", to("@in"));
    origin.on("/nowhere", to("@nowhere"));
    origin.on("/unsafe", to("/../x"));
    origin.on("/loop", to("/loop"));
    let cached = format!(
        "swr_cache main; swr_cache_methods GET HEAD POST; swr_cache_key $request_uri; {}",
        pass(&origin)
    );
    let nginx = Conf::new()
        .zone()
        .location("/", &cached)
        .location("= /in", "internal; return 200 $request_method$uri;")
        .location("@in", "return 200 $request_method$uri;")
        .allow("could not find named location")
        .allow("redirection cycle")
        .allow("unsafe URI")
        .start();
    let ask = |method: &str, path: &str| {
        let response = nginx.client().request(method, path, &[]);
        (response.status, response.text())
    };
    for _ in 0..3 {
        assert_eq!(ask("GET", "/inside"), (200, "GET/in".into()));
        assert_eq!(ask("HEAD", "/inside"), (200, String::new()));
        assert_eq!(ask("POST", "/inside"), (200, "GET/in".into()));
        assert_eq!(ask("GET", "/named"), (200, "GET/named".into()));
        assert_eq!(ask("POST", "/named"), (200, "POST/named".into()));
        assert_eq!(ask("GET", "/nowhere").0, 500);
        assert_eq!(ask("GET", "/unsafe").0, 404);
        assert_eq!(ask("GET", "/loop").0, 500);
    }
}

/// The origin's own status counts, whatever `error_page` makes of it; nothing of what is shown is the page's.
#[test]
fn redirects_error_pages_are_not_the_page() {
    let origin = Origin::start();
    origin.handle("/area", |r| match r.header("Cookie") {
        Some(_) => Reply::ok("members'"),
        None => Reply::new(403).body("no"),
    });
    origin.script("/file", [Reply::new(404), Reply::ok("real")]);
    origin.on(
        "/basic",
        Reply::new(401).header("WWW-Authenticate", "Basic realm=x"),
    );
    let folder = files(&[("login.html", "login"), ("spa.html", "spa")]);
    let lines = "proxy_intercept_errors on; swr_cache_valid any 10m; error_page 404 =200 /spa.html; \
                 error_page 403 =200 /login.html; error_page 401 /login.html; error_page 502 504 = @app;";
    let nginx = Conf::caching_with(&origin, lines)
        .server(&root(&folder))
        .location("~ html$", "add_header X-Shown $uri always;")
        .location(
            "/gone",
            &format!("swr_cache main; {lines} proxy_pass http://127.0.0.1:1;"),
        )
        .location("@app", &format!("swr_cache main; {}", pass(&origin)))
        .allow("connect() failed")
        .start();
    let shown = |path: &str, fields: &[(&str, &str)]| {
        let response = nginx.get_with(path, fields);
        let shown = response.header("X-Shown").unwrap_or_default().to_owned();
        (response.status, response.text(), shown)
    };
    let login = (200, "login".into(), "/login.html".into());
    for _ in 0..2 {
        assert_eq!(shown("/area", &[]), login);
    }
    assert_eq!(
        shown("/area", &MEMBER),
        (200, "members'".into(), String::new())
    );
    assert_eq!(shown("/file", &[]), (200, "spa".into(), "/spa.html".into()));
    assert_eq!(shown("/file", &[]), (200, "real".into(), String::new()));
    for _ in 0..2 {
        let challenge = nginx.get("/basic");
        assert_eq!(
            (challenge.status, challenge.text().as_str()),
            (401, "login")
        );
        assert_eq!(challenge.all("WWW-Authenticate"), ["Basic realm=x"]);
    }
    origin.on("/gone", Reply::cached(HOUR, "app"));
    for n in 1..=3 {
        assert_eq!(nginx.get("/gone").text(), "app");
        assert_eq!(
            origin.hits("/gone"),
            n,
            "an error page is no business of the cache"
        );
    }
}

/// nginx's own errors in a fetch: the client's own request ends with them.
#[test]
fn redirects_errors_of_nginx_itself() {
    let folder = files(&[("404.html", "sorry"), ("there.txt", "there")]);
    let nginx = Conf::new()
        .zone()
        .server(&format!(
            "swr_cache main; swr_cache_valid any 10m; {}",
            root(&folder)
        ))
        .location("/", "error_page 404 /404.html;")
        .location(
            "= /404.html",
            "internal; add_header Cache-Control no-cache always;",
        )
        .location("/plain/", "")
        .allow("No such file")
        .start();
    for _ in 0..3 {
        let missing = nginx.get("/missing.txt");
        assert_eq!((missing.status, missing.text().as_str()), (404, "sorry"));
        assert_eq!(missing.header("Cache-Control"), Some("no-cache"));
        assert_eq!(nginx.get("/plain/missing").status, 404);
    }
    std::fs::write(folder.0.join("missing.txt"), "here now").expect("a file");
    assert_eq!(nginx.get("/missing.txt").text(), "here now");
}

/// An index is answered by its own location: with that one's cache, bypass, fields and filters.
#[test]
fn redirects_an_index_is_its_locations() {
    let origin = Origin::start();
    for path in ["/wp/index.php", "/wp/", "/a/index.php", "/a/"] {
        origin.handle(path, |r| {
            Reply::cached(HOUR, r.header("Cookie").unwrap_or("nobody"))
        });
    }
    let part = "<!--#echo var=\"uri\" -->";
    let folder = files(&[
        ("wp/index.php", ""),
        ("a/index.php", ""),
        ("s/index.shtml", part),
    ]);
    let personal = "swr_cache_bypass $cookie_s; swr_no_cache $cookie_s; add_header X-Here php; add_header X-Cache $swr_cache_status;";
    let nginx = Conf::new()
        .zone()
        .server(&format!(
            "swr_cache main; swr_cache_valid 200 10m; index index.php index.shtml; {}",
            root(&folder)
        ))
        .location("/", "")
        .location("~ [.]php$", &format!("{personal} {}", pass(&origin)))
        .location("~ [.]shtml$", "ssi on; ssi_types *;")
        .start();
    let visitor = [("Cookie", "s=1")];
    for path in ["/wp/", "/a/"] {
        assert_eq!(nginx.get_with(path, &visitor).text(), "s=1");
        for cache in ["MISS", "HIT", "HIT"] {
            nginx.get(path).is(200, cache, "nobody");
            assert_eq!(nginx.get(path).header("X-Here"), Some("php"));
        }
        assert_eq!(nginx.get_with(path, &visitor).text(), "s=1");
        // Asked for by its own name, it is another target.
        nginx
            .get(&format!("{path}index.php"))
            .is(200, "MISS", "nobody");
    }
    for _ in 0..3 {
        assert_eq!(nginx.get("/s/").text(), "/s/index.shtml");
    }
}

/// One target, several places: what is stored in one is not found in another, also with a key of one's own.
#[test]
fn redirects_places_do_not_share() {
    let origin = Origin::start();
    for place in ["/one/x", "/two/x", "/x", "/x/"] {
        origin.on(place, Reply::cached(HOUR, place));
    }
    let pass = pass(&origin).replace(';', "$uri;");
    let places = "if ($http_to = one) { rewrite ^(.*)$ /one$1 break; } if ($http_to = two) { rewrite ^(.*)$ /two$1 last; } \
                  if ($http_to = named) { return 418; } error_page 418 = @named; try_files /nothing$http_files $uri @named;";
    for key in ["", "swr_cache_key same;"] {
        let folder = files(&[("x", "x")]);
        let nginx = Conf::new()
            .zone()
            .server(&format!(
                "{} swr_cache main; recursive_error_pages on; {key}",
                root(&folder)
            ))
            .location("/x", &format!("{places} {pass}"))
            .location("/one", &pass)
            .location("/two", &pass)
            .location(
                "@named",
                "swr_cache_valid 1m; add_header X-Place named; return 200 named;",
            )
            .start();
        for cache in ["MISS", "HIT"] {
            nginx.get("/x").is(200, cache, "/x");
            nginx
                .get_with("/x", &[("To", "two")])
                .is(200, cache, "/two/x");
            assert_eq!(nginx.get_with("/x", &[("To", "named")]).text(), "named");
        }
        let one = nginx.get_with("/x", &[("To", "one")]);
        assert_ne!(one.text(), "/x", "{one:?}");
    }
}

/// The usual front controllers: cached by the target that visitors see, found by purges and writes that name it.
#[test]
fn redirects_front_controllers_are_cached_and_purged() {
    let origin = Origin::start();
    let folder = files(&[("style.css", "css")]);
    let routes = [
        ("try_files", "try_files $uri /index.php?$args;"),
        (
            "rewrite",
            "if (!-f $request_filename) { rewrite ^ /index.php?q=$uri last; }",
        ),
        ("named", "try_files $uri @app;"),
        ("break", "rewrite ^ /index.php break; PASS"),
    ];
    for (name, route) in routes {
        let (pages, pass) = (format!("/{name}"), pass(&origin));
        for path in [&*pages, "/index.php", "/other"] {
            origin.handle(path, |r| {
                Reply::cached(HOUR, format!("{} {}", r.method, r.nth))
            });
        }
        let key = "proxy_set_header X-Target $request_uri;";
        let nginx = Conf::new()
            .zone()
            .server(&format!(
                "swr_cache main; swr_cache_purge_method PURGE from 127.0.0.1; {key} {}",
                root(&folder)
            ))
            .location("/", &route.replace("PASS", &pass))
            .location("= /index.php", &pass)
            .location("@app", &pass)
            .location("= /purge", "swr_cache off; swr_cache_purge zone=main;")
            .start();
        let first = || {
            let miss = nginx.get(&pages);
            assert_eq!(miss.cache(), "MISS", "{name}: {miss:?}");
            let other = nginx.get("/other");
            nginx.get(&pages).is(200, "HIT", &miss.text());
            nginx.get("/other").is(200, "HIT", &other.text());
        };
        first();
        let purged = nginx.client().request("PURGE", &pages, &[]);
        assert!(purged.text().contains("\"purged\":1"), "{name}: {purged:?}");
        first();
        assert_eq!(nginx.client().request("POST", &pages, &[]).status, 200);
        first();
        let url = format!("{{\"urls\": [\"http://localhost{pages}\"]}}");
        let fields = [("Content-Length", &*url.len().to_string())];
        let mut client = nginx.client();
        client.send("POST", "/purge", &fields);
        client.send_raw(&url);
        let purged = client.receive("POST");
        assert!(purged.text().contains("\"purged\":1"), "{name}: {purged:?}");
        first();
    }
}

/// A refresh that is led elsewhere: an error leaves what is stored, a release to one visitor ends it.
#[test]
fn redirects_of_a_refresh() {
    let origin = Origin::start();
    let windows = "max-age=1, stale-while-revalidate=600, stale-if-error=600";
    let released = Reply::ok("").header("X-Accel-Redirect", "/inside");
    for (path, then) in [
        ("/busy", Reply::new(503)),
        ("/released", released),
        ("/denied", Reply::new(403)),
    ] {
        origin.script(
            path,
            [
                Reply::aged(100, windows, "old"),
                then,
                Reply::cached(HOUR, "new"),
            ],
        );
    }
    let lines =
        "proxy_intercept_errors on; error_page 503 403 =200 /inside; swr_cache_valid 200 1h;";
    let nginx = Conf::caching_with(&origin, lines)
        .location("= /inside", "internal; return 200 inside;")
        .start();
    for path in ["/busy", "/released", "/denied"] {
        nginx.get(path).is(200, "MISS", "old");
        nginx.get(path).is(200, "UPDATING", "old");
        origin.await_hits(path, 2);
    }
    for path in ["/busy", "/released", "/denied"] {
        eventually("the new one", || {
            let now = nginx.get(path).text();
            assert!(["old", "new"].contains(&&*now), "{now}");
            now == "new"
        });
    }
}
