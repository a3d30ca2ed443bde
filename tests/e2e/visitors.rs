//! What one visitor could get of another's: every way by which a request comes to a location, stored before by a visitor who may
//! see the page and by one who may not, with the cache on where the request begins, where it is led, and on both. Each visitor must
//! get what the same nginx gives without the module.

use crate::support::*;

/// The visitor whom every rule below lets in, and the one whom it turns away.
const ADMITTED: [(&str, &str); 2] = [("X-Visitor", "10.0.0.1"), ("Cookie", "member=1")];
const TURNED_AWAY: [(&str, &str); 2] = [("X-Visitor", "10.0.0.2"), ("Cookie", "none=1")];

/// A location that a request begins at, and one that it is led to; `@here@` and `@there@` stand for the cache of each.
struct Journey {
    name: &'static str,
    here: &'static str,
    /// Path and lines of more locations, if there are any.
    more: &'static [(&'static str, &'static str)],
}

const ADDRESS: &str = "deny 10.0.0.2; allow all;";
const COOKIE: &str = "if ($cookie_member = '') { return 403; }";

const JOURNEYS: &[Journey] = &[
    Journey {
        name: "address",
        here: "deny 10.0.0.2; allow all; @pass@",
        more: &[],
    },
    Journey {
        name: "return",
        here: "if ($cookie_member = '') { return 403; } @pass@",
        more: &[],
    },
    Journey {
        name: "maintenance",
        here: "if ($cookie_member = '') { return 503; } error_page 503 @sorry; @pass@",
        more: &[],
    },
    Journey {
        name: "maintenance-as-200",
        here: "if ($cookie_member = '') { return 503; } error_page 503 =200 @sorry; @pass@",
        more: &[],
    },
    Journey {
        name: "maintenance-recursive",
        here: "recursive_error_pages on; if ($cookie_member = '') { return 503; } error_page 503 = @sorry; @pass@",
        more: &[],
    },
    Journey {
        name: "certificate",
        here: "if ($cookie_member = '') { return 496; } error_page 495 496 /denied.html; @pass@",
        more: &[],
    },
    Journey {
        name: "denied-as-200",
        here: "deny 10.0.0.2; allow all; error_page 403 =200 /denied.html; @pass@",
        more: &[],
    },
    Journey {
        name: "auth-request",
        here: "auth_request /auth; error_page 401 = @sorry; @pass@",
        more: &[],
    },
    Journey {
        name: "satisfy-any",
        here: "satisfy any; deny 10.0.0.2; allow 10.0.0.1; deny all; auth_request /auth; @pass@",
        more: &[],
    },
    Journey {
        name: "intercepted",
        here: "proxy_intercept_errors on; error_page 403 =200 /denied.html; @judge@",
        more: &[],
    },
    Journey {
        name: "judged",
        here: "@judge@",
        more: &[],
    },
    Journey {
        name: "limit",
        here: "limit_req zone=turned; @pass@",
        more: &[],
    },
    Journey {
        name: "rewrite",
        here: "rewrite ^/rewrite/(.*)$ /rewrite-to/$1 last;",
        more: &[("/rewrite-to/", "deny 10.0.0.2; allow all; @pass@")],
    },
    Journey {
        name: "rewrite-by-cookie",
        here: "if ($cookie_member) { rewrite ^/rewrite-by-cookie/(.*)$ /for-members/$1 last; } rewrite ^/rewrite-by-cookie/(.*)$ /for-others/$1 last;",
        more: &[("/for-members/", "@pass@"), ("/for-others/", "@pass@")],
    },
    Journey {
        name: "break-by-cookie",
        here: "if ($cookie_member) { rewrite ^ /broken/members break; } rewrite ^ /broken/others break; @pass@",
        more: &[],
    },
    Journey {
        name: "try-files",
        here: "try_files /none /try-files-to$uri;",
        more: &[(
            "/try-files-to/",
            "if ($cookie_member = '') { return 403; } @pass@",
        )],
    },
    Journey {
        name: "named",
        here: "try_files /none @members;",
        more: &[],
    },
    Journey {
        name: "error-page-leads-on",
        here: "if ($cookie_member) { return 418; } error_page 418 = @members; return 403;",
        more: &[],
    },
    Journey {
        name: "accel",
        here: "@accel@",
        more: &[("/released/", "internal; @pass@")],
    },
    Journey {
        name: "accel-named",
        here: "@accel-named@",
        more: &[],
    },
    Journey {
        name: "index",
        here: "index page.html;",
        more: &[(
            "~ ^/index/.*page\\.html$",
            "if ($cookie_member = '') { return 403; } @pass@",
        )],
    },
];

fn conf(origin: &Origin, folder: &Folder, here: &str, there: &str) -> Conf {
    let pass = format!("proxy_pass http://{};", origin.addr);
    let asks = |path: &str| {
        format!(
            "rewrite ^ /{path}$uri break; proxy_pass http://{};",
            origin.addr
        )
    };
    let lines = |text: &str, cache: &str| {
        let text = text
            .replace("@pass@", &pass)
            .replace("@judge@", &asks("judge"))
            .replace("@accel@", &asks("accel"))
            .replace("@accel-named@", &asks("accel-named"));
        format!("{cache} {text}")
    };
    let mut conf = Conf::new()
        .http("map $http_x_visitor $turned { default ''; 10.0.0.2 $request_uri; }")
        .http("limit_req_zone $turned zone=turned:1m rate=1r/m; limit_req_log_level info;")
        .server("set_real_ip_from 127.0.0.1; real_ip_header X-Visitor;")
        .server(&format!("root {};", folder.0.display()))
        .location("/auth", &format!("internal; {COOKIE} return 204;"))
        .location("= /denied.html", there)
        .location(
            "@sorry",
            &format!("{there} add_header Cache-Control max-age=60 always; return 200 sorry;"),
        )
        .location("@members", &lines(&format!("{ADDRESS} @pass@"), there))
        .allow("access forbidden by rule")
        .allow("auth request unexpected status");
    for journey in JOURNEYS {
        conf = conf.location(&format!("/{}/", journey.name), &lines(journey.here, here));
        for (path, text) in journey.more {
            conf = conf.location(path, &lines(text, there));
        }
    }
    conf
}

fn origin() -> Origin {
    let origin = Origin::start();
    for journey in JOURNEYS {
        for page in ["page.html", "first", "second", ""] {
            let path = format!("/{}/{page}", journey.name);
            for led in [
                "",
                "/rewrite-to",
                "/try-files-to",
                "/for-members",
                "/for-others",
            ] {
                let to = match journey.name {
                    "rewrite" | "rewrite-by-cookie" if !led.is_empty() => format!("{led}/{page}"),
                    _ => format!("{led}{path}"),
                };
                let text = format!("page {to}");
                origin.handle(&to, move |_| Reply::cached("max-age=60", text.clone()));
            }
            let text = format!("judged {path}");
            origin.handle(&format!("/judge{path}"), move |r| {
                match r.header("Cookie") {
                    Some("member=1") => Reply::cached("private, max-age=60", text.clone()),
                    _ => Reply::new(403).body("no"),
                }
            });
            for (kind, to) in [("accel", "/released/x"), ("accel-named", "@members")] {
                origin.handle(&format!("/{kind}{path}"), move |r| {
                    match r.header("Cookie") {
                        Some("member=1") => Reply::ok("").header("X-Accel-Redirect", to),
                        _ => Reply::new(403).body("no"),
                    }
                });
            }
        }
    }
    for path in ["/broken/members", "/broken/others", "/released/x"] {
        origin.on(path, Reply::cached("max-age=60", format!("page {path}")));
    }
    origin
}

#[test]
fn visitors_get_nothing_of_each_other() {
    let origin = origin();
    let folder = Folder::new();
    std::fs::write(folder.0.join("denied.html"), "DENIED").expect("a file");
    std::fs::create_dir_all(folder.0.join("index/first")).expect("a folder");
    std::fs::create_dir_all(folder.0.join("index/second")).expect("a folder");
    for page in ["index/first/page.html", "index/second/page.html"] {
        std::fs::write(folder.0.join(page), "a file").expect("a file");
    }
    let on = "swr_cache main;";
    let alone = conf(&origin, &folder, "", "").plain().start();
    let cached = [("here", on, ""), ("there", "", on), ("both", on, on)]
        .map(|(name, here, there)| (name, conf(&origin, &folder, here, there).zone().start()));
    let orders = [
        ("first", [ADMITTED, TURNED_AWAY]),
        ("second", [TURNED_AWAY, ADMITTED]),
    ];
    let shown = |nginx: &Nginx, path: &str, visitor: &[(&str, &str)]| {
        let response = nginx.get_with(path, visitor);
        (response.status, response.text())
    };
    let (mut differ, mut hits) = (0, 0);
    for journey in JOURNEYS {
        let slash = if journey.name == "index" { "/" } else { "" };
        for (page, visitors) in &orders {
            let path = format!("/{}/{page}{slash}", journey.name);
            // What nginx alone does may depend on how often it was asked (limit_req).
            for round in 1..=2 {
                for visitor in visitors {
                    let wanted = shown(&alone, &path, visitor);
                    for (where_on, nginx) in &cached {
                        let response = nginx.get_with(&path, visitor);
                        hits += usize::from(response.header("X-Cache") == Some("HIT"));
                        let got = (response.status, response.text());
                        assert_eq!(
                            got, wanted,
                            "{path}, round {round}, {visitor:?}, cache {where_on}"
                        );
                    }
                }
            }
            let [first, second] = visitors.map(|visitor| shown(&alone, &path, &visitor));
            differ += usize::from(first != second);
        }
    }
    assert_eq!(
        differ,
        2 * JOURNEYS.len(),
        "every journey tells the two apart"
    );
    assert!(hits > 2 * JOURNEYS.len(), "only {hits} came from the store");
}
