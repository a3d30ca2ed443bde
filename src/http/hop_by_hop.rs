//! Which fields of a response are stored and forwarded (RFC 9110 §7.6.1, RFC 9111 §3.1).

use super::fields::each_named;
use super::syntax::{Lower, is_token, members};
use super::{CacheControl, Fields, Scope};

/// Returns whether a field concerns a single connection or proxy, and is therefore neither stored nor
/// forwarded.
pub fn is_hop_by_hop(name: &[u8]) -> bool {
    let Some(name) = Lower::<25>::of(name) else {
        return false;
    };
    match name.as_bytes() {
        // RFC 9110 §7.6.1
        b"connection" | b"proxy-connection" | b"keep-alive" | b"te" | b"transfer-encoding"
        | b"upgrade" | b"trailer" => true,
        // RFC 9111 §3.1
        b"proxy-authenticate" | b"proxy-authentication-info" | b"proxy-authorization" => true,
        _ => false,
    }
}

/// The fields of a response that are not stored: hop-by-hop fields, fields that `Connection` names, and
/// fields that a qualified `no-cache` or `private` names.
#[derive(Clone, Debug, Default)]
pub struct Exclusions {
    names: Vec<Box<[u8]>>,
}

impl Exclusions {
    /// Collects them from a response and the directives that govern it.
    pub fn of(fields: &dyn Fields, control: &CacheControl) -> Exclusions {
        let mut exclusions = Exclusions::connection(fields);
        for scope in [&control.no_cache, &control.private] {
            if let Scope::Fields(names) = scope {
                names.iter().for_each(|n| exclusions.exclude(n.as_bytes()));
            }
        }
        exclusions
    }

    /// Collects those of any message: the hop-by-hop fields and those that `Connection` names.
    pub fn connection(fields: &dyn Fields) -> Exclusions {
        let mut exclusions = Exclusions::default();
        each_named(fields, "connection", &mut |line| {
            members(line)
                .filter(|option| is_token(option) && !is_plain_option(option))
                .for_each(|option| exclusions.exclude(option));
        });
        exclusions
    }

    /// Adds the field `name`.
    pub fn exclude(&mut self, name: &[u8]) {
        if !self.excludes(name) {
            self.names.push(name.to_ascii_lowercase().into());
        }
    }

    /// Returns whether the field `name` is excluded.
    pub fn excludes(&self, name: &[u8]) -> bool {
        is_hop_by_hop(name) || self.names.iter().any(|n| name.eq_ignore_ascii_case(n))
    }

    /// Calls `f(name, value)` for every field line that is not excluded, in order.
    pub fn kept(&self, fields: &dyn Fields, f: &mut dyn FnMut(&[u8], &[u8])) {
        fields.each(&mut |name, value| {
            if !self.excludes(name) {
                f(name, value);
            }
        });
    }
}

/// Whether a connection option is `close`, which is not the name of a field.
fn is_plain_option(option: &[u8]) -> bool {
    option.eq_ignore_ascii_case(b"close")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(fields: &[(&str, &str)]) -> Vec<String> {
        let control = CacheControl::response(&fields);
        let mut names = Vec::new();
        Exclusions::of(&fields, &control).kept(&fields, &mut |name, value| {
            let (name, value) = (
                String::from_utf8_lossy(name),
                String::from_utf8_lossy(value),
            );
            names.push(format!("{name}={value}"));
        });
        names
    }

    #[test]
    fn drops_what_concerns_one_connection_or_proxy() {
        // RFC 9110 §7.6.1, RFC 9111 §3.1
        for name in [
            "Connection",
            "Keep-Alive",
            "Proxy-Connection",
            "TE",
            "Trailer",
            "transfer-encoding",
            "UPGRADE",
            "Proxy-Authenticate",
            "Proxy-Authentication-Info",
            "Proxy-Authorization",
        ] {
            assert!(is_hop_by_hop(name.as_bytes()), "{name}");
        }
        for name in [
            "Proxy-Status",
            "Trailers",
            "Cache-Control",
            "",
            "X-Connection",
        ] {
            assert!(!is_hop_by_hop(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn drops_what_connection_names() {
        // RFC 9110 §7.6.1
        let got = kept(&[
            ("Connection", "close, X-Hop"),
            ("connection", "\"x\", Other"),
            ("x-hop", "1"),
            ("OTHER", "2"),
            ("X", "3"),
            ("Close", "4"),
        ]);
        assert_eq!(got, ["X=3", "Close=4"]);
    }

    #[test]
    fn drops_what_directives_name() {
        // RFC 9111 §5.2.2.4, §5.2.2.7
        let cc = "max-age=1, private=\"Set-Cookie, x-user\", no-cache=\"X-Once\"";
        let got = kept(&[
            ("Set-Cookie", "a=b"),
            ("X-User", "1"),
            ("x-once", "2"),
            ("Unknown", "3"),
            ("Cache-Control", cc),
        ]);
        assert_eq!(got, ["Unknown=3".to_owned(), format!("Cache-Control={cc}")]);
    }

    #[test]
    fn keeps_the_rest_in_order_with_duplicates() {
        // RFC 9110 §5.3
        let got = kept(&[("Link", "a"), ("X", ""), ("link", "b")]);
        assert_eq!(got, ["Link=a", "X=", "link=b"]);
    }
}
