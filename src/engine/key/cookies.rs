//! The cookies that a key is made of.
//!
//! A refresh carries no visitor's cookies, so that no visitor decides what the others get. Where the key itself is made
//! of cookies, as for the currency of a shop, a refresh without them would bring back the page of another key. They are
//! sent, as the fields are that `Vary` names: whoever asks by this key has the same ones.

/// The maximum number of cookies that are tried one by one; more are sent as they came.
const MOST: usize = 48;

/// Returns the cookies among those of a visitor's `Cookie` field that a refresh has to send; `None` if the key is the
/// same without any. `is_same` tells whether a request with these cookies has the visitor's key.
///
/// If the key differs even with all of them, it holds something that can't be computed again (a variable that
/// `set` has made); nobody knows of which cookies, and all are sent.
pub fn needed(sent: &[u8], is_same: &mut dyn FnMut(&[u8]) -> bool) -> Option<Vec<u8>> {
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
    }
    Some(kept.join(SEPARATOR))
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
            let got = needed(sent.as_bytes(), &mut |cookies| key(cookies) == wanted);
            let got = got.map(|got| String::from_utf8(got).expect("text"));
            assert_eq!(got.as_deref(), want, "{sent:?}");
        }
    }

    #[test]
    fn all_where_the_key_cannot_be_computed_again() {
        let got = needed(b"id=1;lang=de", &mut |_| false);
        assert_eq!(got.as_deref(), Some(b"id=1; lang=de".as_slice()));
    }

    #[test]
    fn so_many_are_not_tried_one_by_one() {
        let sent = vec!["a=b"; MOST + 1].join("; ");
        let mut tried = 0;
        let got = needed(sent.as_bytes(), &mut |_| {
            tried += 1;
            tried > 1
        });
        assert_eq!((got.as_deref(), tried), (Some(sent.as_bytes()), 1));
    }
}
