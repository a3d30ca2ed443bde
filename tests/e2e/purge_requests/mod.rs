//! Purges as other software sends them: each request as that software writes it, what went, and what stayed.

mod locations;
mod refresh;
mod software;

use std::net::SocketAddr;

use crate::support::*;

const METHODS: &str = "swr_cache_purge_method PURGE BAN PURGEKEYS URIBAN from 127.0.0.0/8 ::1;";

/// The hosts of the site, and one that is another's.
const SHOP: &str = "shop.example";
const OTHER: &str = "other.example";

/// A site of a few pages under two schemes and a host of another's, all stored.
struct Site {
    origin: Origin,
    nginx: Nginx,
    /// Where it listens for plain http.
    plain: SocketAddr,
}

/// What is stored: scheme, host, path.
const PAGES: [(&str, &str, &str); 9] = [
    ("http", SHOP, "/"),
    ("http", SHOP, "/a"),
    ("http", SHOP, "/a/b"),
    ("http", SHOP, "/c?x=1"),
    ("http", SHOP, "/feed/"),
    ("https", SHOP, "/"),
    ("https", SHOP, "/a"),
    ("http", OTHER, "/"),
    ("http", OTHER, "/a"),
];

impl Site {
    /// Pages with these tags, in a field of that name, by path.
    fn with(field: &'static str, tags: &'static [(&str, &str)], server: &str) -> Site {
        let origin = Origin::start();
        for (_, _, path) in PAGES {
            let route = path.split('?').next().unwrap_or(path);
            origin.handle(route, move |r| {
                let reply = Reply::cached(
                    "max-age=3600, stale-while-revalidate=3600",
                    r.nth.to_string(),
                );
                match tags.iter().find(|(of, _)| *of == r.target) {
                    Some((_, tags)) => reply.header(field, tags),
                    None => reply,
                }
            });
        }
        let lines = format!("swr_cache main; proxy_pass http://{};", origin.addr);
        let plain = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let nginx = Conf::new()
            .zone()
            .server(server)
            .tls()
            .server(&format!("listen {plain};"))
            .location("/", &lines)
            .location("/purge", "swr_cache_purge zone=main;")
            .location("/denied", &format!("deny all; {lines}"))
            .start();
        let site = Site {
            origin,
            nginx,
            plain,
        };
        for page in PAGES {
            site.get(page);
            assert_eq!(site.get(page).cache(), "HIT", "{page:?}");
        }
        site
    }

    fn get(&self, (scheme, host, path): (&str, &str, &str)) -> Response {
        let mut client = match scheme {
            "https" => self.nginx.client(),
            _ => self.client(),
        };
        client.get_with(path, &[("Host", host)])
    }

    fn client(&self) -> Client {
        Client::connect(self.plain)
    }

    /// Sends a request without a body, checks its answer, what went and that the rest stayed.
    #[track_caller]
    fn purge(
        &self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        result: &str,
        gone: &[(&str, &str, &str)],
    ) -> Response {
        let fields = [&[("Host", SHOP)], fields].concat();
        // A field that the software sends itself takes the place of the usual one.
        let host = fields
            .iter()
            .rposition(|(name, _)| name.eq_ignore_ascii_case("host"));
        let fields: Vec<_> = fields
            .iter()
            .enumerate()
            .filter(|(n, (name, _))| !name.eq_ignore_ascii_case("host") || Some(*n) == host)
            .map(|(_, field)| *field)
            .collect();
        let answer = self.client().request(method, path, &fields);
        let about = format!("{method} {path} {fields:?}: {}", answer.text());
        assert_eq!(answer.status, 200, "{about}");
        assert_eq!(
            answer.header("Cache-Purge-Result"),
            Some(&*format!("{result}; count={}", gone.len())),
            "{about}"
        );
        let said = format!("\"purged\":{}", gone.len());
        assert!(answer.text().contains(&said), "{about}");
        let expected = match answer.text().contains("\"soft\":true") {
            true => "UPDATING",
            false => "MISS",
        };
        for page in PAGES {
            let expected = if gone.contains(&page) {
                expected
            } else {
                "HIT"
            };
            assert_eq!(self.get(page).cache(), expected, "{page:?} after {about}");
        }
        for page in gone {
            eventually("it is stored again", || self.get(*page).cache() == "HIT");
        }
        answer
    }

    /// Sends a request that is not understood: it is refused with a reason, and all stays.
    #[track_caller]
    fn refused(&self, method: &str, path: &str, fields: &[(&str, &str)], why: &str) {
        let fields = [&[("Host", SHOP)], fields].concat();
        let answer = self.client().request(method, path, &fields);
        let about = format!("{method} {path} {fields:?}: {}", answer.text());
        assert_eq!(answer.status, 400, "{about}");
        assert!(answer.text().contains(why), "{about}");
        assert_eq!(answer.header("Cache-Purge-Result"), None, "{about}");
        for page in PAGES {
            assert_eq!(self.get(page).cache(), "HIT", "{page:?} after {about}");
        }
    }
}

const HOME: [(&str, &str, &str); 2] = [("http", SHOP, "/"), ("https", SHOP, "/")];
const A: [(&str, &str, &str); 2] = [("http", SHOP, "/a"), ("https", SHOP, "/a")];

/// Everything of a host.
fn all_of(host: &str) -> Vec<(&'static str, &'static str, &'static str)> {
    PAGES.into_iter().filter(|page| page.1 == host).collect()
}

/// Everything under these paths, whatever the host.
fn at(paths: &[&str]) -> Vec<(&'static str, &'static str, &'static str)> {
    let is_one = |page: &(&str, &str, &str)| paths.contains(&page.2);
    PAGES.into_iter().filter(is_one).collect()
}
