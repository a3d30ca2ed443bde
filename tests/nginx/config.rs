//! Values of directives.

use proxied::{Proxied, split};

#[path = "../../src/nginx/src/config/proxied.rs"]
mod proxied;

#[test]
fn the_scheme_of_a_proxied_url() {
    for (url, want) in [
        ("http://a/b", Some(("a/b", 80))),
        ("HTTPS://a", Some(("a", 443))),
        ("http:/a", None),
        ("ftp://a", None),
        ("", None),
    ] {
        let want = want.map(|(rest, port): (&str, u16)| (rest.as_bytes(), port));
        assert_eq!(split(url.as_bytes()), want, "{url}");
    }
}

#[test]
fn the_host_and_the_port_of_a_proxied_url() {
    for (port, scheme_port, host, shown) in [
        (None, 80, "a", "80"),
        (Some((80, "80")), 80, "a", "80"),
        (Some((80, "80")), 443, "a:80", "80"),
        (Some((8080, "8080")), 80, "a:8080", "8080"),
    ] {
        let port = port.map(|(number, text): (u16, &str)| (number, text.as_bytes()));
        let want = Proxied {
            host: host.into(),
            port: shown.into(),
        };
        assert_eq!(Proxied::at(b"a", port, scheme_port), want);
    }
    let socket = Proxied::socket();
    assert_eq!(
        (&socket.host[..], &socket.port[..]),
        (&b"localhost"[..], &b""[..])
    );
}
