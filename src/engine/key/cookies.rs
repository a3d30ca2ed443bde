//! The cookies that a key is made of.
//!
//! A refresh carries no visitor's cookies, so that no visitor decides what the others get. Where the key itself is made
//! of cookies, as for the currency of a shop, a refresh without them would bring back the page of another key. They are
//! sent, as the fields are that `Vary` names: whoever asks by this key has the same ones.

/// The maximum number of cookies that are tried one by one.
const MOST: usize = 48;

/// Returns the cookies among those of a visitor's `Cookie` field that a refresh has to send; `None` if it needs none.
/// `is_same` tells whether a request with these cookies has the visitor's key.
///
/// If the key differs even with all of them, it holds something that can't be computed again (a variable that `set` has
/// made, or a capture of the location). It may be made of any cookie that the configuration, or who it asks, can read:
/// those whose names `is_read` knows are sent.
pub fn needed(
    sent: &[u8],
    is_same: &mut dyn FnMut(&[u8]) -> bool,
    is_read: &dyn Fn(&[u8]) -> bool,
) -> Option<Vec<u8>> {
    let mut kept: Vec<&[u8]> = sent.split(|b| *b == b';').map(<[u8]>::trim_ascii).collect();
    kept.retain(|cookie| !cookie.is_empty());
    if kept.is_empty() || is_same(b"") {
        return None;
    }
    if kept.len() <= MOST && is_same(&kept.join(SEPARATOR)) {
        // From the end: of two cookies of a name the first one counts.
        for at in (0..kept.len()).rev() {
            let others = [&kept[..at], &kept[at + 1..]].concat();
            if is_same(&others.join(SEPARATOR)) {
                kept = others;
            }
        }
    } else {
        kept.retain(|cookie| names(cookie).any(is_read));
    }
    (!kept.is_empty()).then(|| kept.join(SEPARATOR))
}

/// The names that nginx finds in a cookie: it takes what follows a comma for another (ngx_http_parse_multi_header_lines).
fn names(cookie: &[u8]) -> impl Iterator<Item = &[u8]> {
    let parts = cookie.split(|b| *b == b',');
    parts.map(|part| {
        part.split(|b| *b == b'=')
            .next()
            .unwrap_or_default()
            .trim_ascii()
    })
}

/// What stands between two cookies (RFC 6265 §4.2.1).
const SEPARATOR: &[u8] = b"; ";

#[cfg(test)]
mod tests {
    use super::*;

    /// A key made of the first cookie of this name.
    fn of(name: &'static str) -> impl Fn(&[u8]) -> String {
        move |cookies| {
            let text = String::from_utf8_lossy(cookies).into_owned();
            let pairs = text.split("; ").filter_map(|pair| pair.split_once('='));
            let mut values = pairs.filter(|(n, _)| *n == name).map(|(_, value)| value);
            values.next().unwrap_or_default().to_owned()
        }
    }

    #[test]
    fn only_those_that_the_key_is_made_of() {
        for (sent, want) in [
            ("lang=de", Some("lang=de")),
            ("id=1; lang=de; x=y", Some("lang=de")),
            ("id=1;lang=de;", Some("lang=de")),
            ("lang=de; lang=en", Some("lang=de")),
            ("lang=; id=1", None),
            ("id=1", None),
            ("; ;", None),
            ("", None),
        ] {
            let key = of("lang");
            let wanted = key(sent.replace(';', "; ").replace("  ", " ").as_bytes());
            let is_same = &mut |cookies: &[u8]| key(cookies) == wanted;
            let got = needed(sent.as_bytes(), is_same, &|_| unreachable!());
            let got = got.map(|got| String::from_utf8(got).expect("text"));
            assert_eq!(got.as_deref(), want, "{sent:?}");
        }
    }

    #[test]
    fn those_that_can_be_read_where_the_key_cannot_be_computed_again() {
        let of = |is_read: &dyn Fn(&[u8]) -> bool| {
            let got = needed(b"id=1;lang=de; flag", &mut |_| false, is_read);
            got.map(|got| String::from_utf8(got).expect("text"))
        };
        assert_eq!(of(&|_| true).as_deref(), Some("id=1; lang=de; flag"));
        assert_eq!(of(&|name| name == b"lang").as_deref(), Some("lang=de"));
        assert_eq!(of(&|name| name == b"flag").as_deref(), Some("flag"));
        assert_eq!(of(&|_| false), None);
        // With a comma, one visitor could have a refresh go without the cookie that makes the key.
        for sent in ["a=1, lang=de", "lang =de", "a,lang=de"] {
            let got = needed(sent.as_bytes(), &mut |_| false, &|name| name == b"lang");
            assert_eq!(got.as_deref(), Some(sent.as_bytes()));
        }
    }

    #[test]
    fn so_many_are_not_tried_one_by_one() {
        let sent = vec!["a=b"; MOST + 1].join("; ");
        let mut tried = 0;
        let mut is_same = |_: &[u8]| {
            tried += 1;
            tried > 1
        };
        let got = needed(sent.as_bytes(), &mut is_same, &|name| name == b"a");
        assert_eq!((got.as_deref(), tried), (Some(sent.as_bytes()), 1));
    }
}
