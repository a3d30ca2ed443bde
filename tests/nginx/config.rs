//! Values of directives.

use key_parts::parts;
use proxied::{Proxied, split};

#[path = "../../src/nginx/src/config/key_parts.rs"]
mod key_parts;
#[path = "../../src/nginx/src/config/proxied.rs"]
mod proxied;

#[test]
fn a_key_is_cut_where_its_variables_end() {
    for (key, want) in [
        ("", &[][..]),
        ("text", &["text"][..]),
        ("$host", &["$host"]),
        ("$scheme$host", &["$scheme", "$host"]),
        ("a$b-c", &["a", "$b", "-c"]),
        ("${a}b$c", &["${a}", "b", "$c"]),
        ("$a_1/$b", &["$a_1", "/", "$b"]),
        ("${open", &["${open"]),
        ("$", &["$"]),
        ("$$a", &["$", "$a"]),
    ] {
        let cut: Vec<_> = parts(key.as_bytes())
            .into_iter()
            .map(|part| std::str::from_utf8(part).expect("text"))
            .collect();
        assert_eq!(cut, want, "{key}");
        assert_eq!(cut.concat(), key);
    }
}

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
