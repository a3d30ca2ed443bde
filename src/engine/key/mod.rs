//! The form of a primary key made of parts, such as `$scheme$host$request_uri`.
//!
//! With the text alone, a client could move bytes from one part to the next: `http` and `shop.example` have
//! the same text as `https` and `hop.example`. A key is therefore its text, followed by the length of each
//! part but the last, and the number of these lengths. Parsed from its end, it has only one meaning. Keys
//! with one part end in a zero.
//!
//! ```text
//! text | length of part 1 (u32, little-endian) | length of part 2 | ... | count (u8)
//! ```
//!
//! The same target can lead to different places inside a server: by `try_files`, an index, `rewrite`, a named
//! location, or an origin that names another place (`X-Accel-Redirect`). A response found in one place must
//! not be served for another, so the key then has a branch: the parts that identify the place. It comes last,
//! so that a purge by the key, its text or a prefix of its text finds all branches.
//!
//! ```text
//! key | key of the branch's parts | its length (u32) | 255
//! ```

use crate::store::key::{BRANCHED, trunk};

pub mod cookies;
pub mod query;
pub mod recipe;
pub mod url;

/// The size of a length in bytes.
const LENGTH: usize = 4;

/// The length of the key made of these parts, in bytes.
pub fn length<'a>(parts: impl Iterator<Item = &'a [u8]>) -> usize {
    let (count, text) = parts.fold((0, 0), |(count, text), part| (count + 1, text + part.len()));
    text + usize::saturating_sub(count, 1) * LENGTH + 1
}

/// Writes the key made of these parts (at most 255), piece by piece.
pub fn write<'a>(parts: impl Iterator<Item = &'a [u8]> + Clone, out: &mut dyn FnMut(&[u8])) {
    let counted = parts.clone().count().saturating_sub(1);
    parts.clone().for_each(&mut *out);
    for part in parts.take(counted) {
        // Shorter than 2^32 bytes: the parts come from a request's header, or from its body in memory.
        out(&(part.len() as u32).to_le_bytes());
    }
    out(&[counted as u8]);
}

/// The key of a URL: its scheme, its authority, its path with the query. `scheme` and `authority` are taken where it has none of its own,
/// as in most requests; an authority has no case (RFC 9110 §4.2.3).
///
/// ```
/// use http::Uri;
/// use swrcache::engine::key;
///
/// let key = key::of_uri("https", "www.Example.com", &Uri::from_static("/a?b"));
/// assert_eq!(key::display(&key), "https://www.example.com/a?b");
/// ```
pub fn of_uri(scheme: &str, authority: &str, uri: &::http::Uri) -> Vec<u8> {
    let authority = uri.authority().map_or(authority, |own| own.as_str());
    let parts = [
        uri.scheme_str().unwrap_or(scheme),
        &authority.to_ascii_lowercase(),
        uri.path_and_query().map_or("/", |target| target.as_str()),
    ];
    let parts = parts.iter().map(|part| part.as_bytes());
    let mut key = Vec::with_capacity(length(parts.clone()));
    write(parts, &mut |bytes| key.extend_from_slice(bytes));
    key
}

/// The length of the branch made of these parts, in bytes.
pub fn branch_length<'a>(parts: impl Iterator<Item = &'a [u8]>) -> usize {
    length(parts) + LENGTH + 1
}

/// Writes the branch made of these parts, which follows the key.
pub fn write_branch<'a>(parts: impl Iterator<Item = &'a [u8]> + Clone, out: &mut dyn FnMut(&[u8])) {
    // Shorter than 2^32 bytes, as the parts are.
    let length = length(parts.clone()) as u32;
    write(parts, out);
    out(&length.to_le_bytes());
    out(&[BRANCHED]);
}

/// Splits a key without its branch into its text and the rest; `None` if it does not have this form.
pub fn split(key: &[u8]) -> Option<(&[u8], &[u8])> {
    let trunk = trunk(key);
    let count = usize::from(*trunk.last()?);
    trunk.split_at_checked(trunk.len().checked_sub(count * LENGTH + 1)?)
}

/// The text of a key; the key itself if it does not have this form.
pub fn text(key: &[u8]) -> &[u8] {
    split(key).map_or(key, |(text, _)| text)
}

/// A key in readable form: as a URL if it has the parts of one, else its text. Bytes that are not UTF-8 are
/// replaced.
pub fn display(key: &[u8]) -> String {
    let parts = parts(key);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match parts.as_deref() {
        Some([scheme @ (b"http" | b"https"), host, target]) if target.starts_with(b"/") => {
            format!("{}://{}{}", text(scheme), text(host), text(target))
        }
        Some([scheme @ (b"http" | b"https"), _, authority, target]) if target.starts_with(b"/") => {
            format!("{}://{}{}", text(scheme), text(authority), text(target))
        }
        _ => text(self::text(key)),
    }
}

/// The parts of a key; `None` if it does not have this form.
pub fn parts(key: &[u8]) -> Option<Vec<&[u8]>> {
    let (mut rest, tail) = split(key)?;
    let lengths = tail.chunks_exact(LENGTH);
    let mut parts = Vec::with_capacity(lengths.len() + 1);
    for length in lengths {
        let length = u32::from_le_bytes(length.try_into().ok()?);
        let (part, after) = rest.split_at_checked(length as usize)?;
        parts.push(part);
        rest = after;
    }
    parts.push(rest);
    Some(parts)
}

/// The ends of branches that are not made of parts. No other branch ends like this: it would need as many lengths as the number of the
/// letter.
const HEAD: &[u8] = b"H";
const FORM: &[u8] = b"E";

/// The key of a `HEAD` that is stored separately from the `GET` of `key`: a branch of the same trunk, so that
/// a purge of one removes the other. A branch that `key` already has remains part of it.
pub(crate) fn of_head(key: &[u8]) -> Vec<u8> {
    beside(key, &[HEAD])
}

/// The key of an encoded form of what is stored under `key`, made of bytes with this hash and length; a branch of the same trunk.
pub(crate) fn of_form(key: &[u8], hash: u64, length: u64, coding: u8) -> Vec<u8> {
    beside(
        key,
        &[&hash.to_le_bytes(), &length.to_le_bytes(), &[coding], FORM],
    )
}

fn beside(key: &[u8], more: &[&[u8]]) -> Vec<u8> {
    let trunk = trunk(key);
    let rest = key.get(trunk.len()..).unwrap_or_default();
    let branch = rest
        .get(..rest.len().saturating_sub(LENGTH + 1))
        .unwrap_or_default();
    let length = branch.len() + more.iter().map(|part| part.len()).sum::<usize>();
    let mut beside = Vec::with_capacity(trunk.len() + length + LENGTH + 1);
    beside.extend_from_slice(trunk);
    beside.extend_from_slice(branch);
    more.iter().for_each(|part| beside.extend_from_slice(part));
    beside.extend_from_slice(&(length as u32).to_le_bytes());
    beside.push(BRANCHED);
    beside
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(parts: &[&str]) -> Vec<u8> {
        let parts = parts.iter().map(|part| part.as_bytes());
        let mut key = Vec::new();
        write(parts.clone(), &mut |bytes| key.extend_from_slice(bytes));
        assert_eq!(key.len(), length(parts));
        key
    }

    #[test]
    fn bytes_cannot_move_between_parts() {
        let same_text = [
            key(&["http", "shop.example", "/x"]),
            key(&["https", "hop.example", "/x"]),
            key(&["https", "hop.example/x"]),
            key(&["httpshop.example/x"]),
            key(&["httpshop.example/x", ""]),
            key(&["", "httpshop.example/x"]),
        ];
        for (at, one) in same_text.iter().enumerate() {
            assert_eq!(text(one), b"httpshop.example/x");
            assert!(same_text.iter().skip(at + 1).all(|other| other != one));
        }
    }

    #[test]
    fn what_stands_behind_the_text_serves_another_target() {
        let made = key(&["http", "h.example", "/a"]);
        let (text, rest) = split(&made).expect("a key");
        let prefix = text.strip_suffix(b"/a").expect("its target");
        let other = [prefix, b"/longer", rest].concat();
        assert_eq!(other, key(&["http", "h.example", "/longer"]));
    }

    fn branch(key: &[u8], parts: &[&str]) -> Vec<u8> {
        let parts = parts.iter().map(|part| part.as_bytes());
        let mut branched = key.to_vec();
        write_branch(parts.clone(), &mut |bytes| {
            branched.extend_from_slice(bytes)
        });
        assert_eq!(branched.len(), key.len() + branch_length(parts));
        branched
    }

    #[test]
    fn branches_of_a_key_differ_and_are_found_by_it() {
        let (one, other) = (key(&["http", "h", "/a"]), key(&["http", "h", "/b"]));
        let places: [&[&str]; 4] = [
            &["", "/x", "y"],
            &["", "/xy", ""],
            &["@app", "/a", ""],
            &["", "", ""],
        ];
        let mut all = vec![one.clone(), other.clone()];
        for place in places {
            let branched = branch(&one, place);
            assert_eq!(split(&branched), split(&one));
            assert!(branched.starts_with(text(&one)));
            all.extend([branched, branch(&other, place)]);
        }
        for (at, key) in all.iter().enumerate() {
            assert!(all.iter().skip(at + 1).all(|other| other != key));
        }
    }

    #[test]
    fn a_key_is_shown_as_the_url_that_it_stands_for() {
        let shown = |parts: &[&str]| display(&key(parts));
        assert_eq!(
            shown(&["http", "h.example", "/a?b"]),
            "http://h.example/a?b"
        );
        let other_port = ["https", "h.example", "h.example:8443", "/a"];
        assert_eq!(shown(&other_port), "https://h.example:8443/a");
        assert_eq!(shown(&["one", "two"]), "onetwo");
        assert_eq!(shown(&["/a"]), "/a");
        assert_eq!(display(b"a\xff"), "a\u{fffd}");
    }

    #[test]
    fn a_heads_key_is_a_branch_of_its_own() {
        let plain = key(&["http", "h.example", "/a"]);
        let mut branched = plain.clone();
        let place = [&b"/index.php"[..], b"a=1"].into_iter();
        write_branch(place, &mut |bytes| branched.extend_from_slice(bytes));
        let all = [of_head(&plain), of_head(&branched), plain.clone(), branched];
        for (i, one) in all.iter().enumerate() {
            assert_eq!((trunk(one), text(one)), (&plain[..], text(&plain)));
            assert!(all[i + 1..].iter().all(|other| other != one));
        }
    }

    #[test]
    fn the_key_of_a_form_is_a_branch_of_its_own() {
        let plain = key(&["http", "h.example", "/a"]);
        let forms = [
            of_form(&plain, 1, 2, 0),
            of_form(&plain, 1, 2, 1),
            of_form(&plain, 1, 3, 0),
            of_form(&plain, 2, 2, 0),
            of_form(&of_head(&plain), 1, 2, 0),
            of_head(&plain),
            plain.clone(),
        ];
        for (i, one) in forms.iter().enumerate() {
            assert_eq!((trunk(one), text(one)), (&plain[..], text(&plain)));
            assert!(forms[i + 1..].iter().all(|other| other != one));
        }
    }

    #[test]
    fn other_bytes_are_no_key() {
        for bytes in [
            &b""[..],
            b"\x01",
            b"abc\x01",
            b"a\xff",
            b"a\0\x09\0\0\0\xff",
        ] {
            assert_eq!(split(bytes), None);
            assert_eq!(text(bytes), bytes);
        }
        assert_eq!(text(b"\0"), b"");
    }
}
