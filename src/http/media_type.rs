//! The parameters of a media type (RFC 9110 §8.3.1) that hosts use.

/// Returns the charset that the value of a `Content-Type` names, without its quotes, and the offset at which
/// the value without that parameter ends: that of the semicolon before it.
pub fn charset(value: &[u8]) -> Option<(usize, &[u8])> {
    const NAME: &[u8] = b"charset=";
    if !value.contains(&b';') {
        return None;
    }
    let mut ends = value.iter().enumerate().filter(|(_, b)| **b == b';');
    ends.find_map(|(end, _)| {
        let rest = value.get(end + 1..)?.trim_ascii_start();
        let (name, charset) = rest.split_at_checked(NAME.len())?;
        let charset = charset.strip_prefix(b"\"").unwrap_or(charset);
        let charset = charset.strip_suffix(b"\"").unwrap_or(charset);
        (name.eq_ignore_ascii_case(NAME) && !charset.is_empty()).then_some((end, charset))
    })
}

#[cfg(test)]
mod tests {
    use super::charset;

    #[test]
    fn the_charset_of_a_media_type() {
        for (value, named) in [
            ("text/html", None),
            ("text/html;", None),
            ("text/html; charset=utf-8", Some((9, "utf-8"))),
            ("text/html;charset=utf-8", Some((9, "utf-8"))),
            ("text/html; CharSet=\"UTF-8\"", Some((9, "UTF-8"))),
            ("text/html; charset=", None),
            ("text/html; charset=\"\"", None),
            ("text/html; q=1; charset=utf-8", Some((14, "utf-8"))),
            ("charset=utf-8", None),
            ("text/html; xcharset=utf-8", None),
        ] {
            let named = named.map(|(end, name): (usize, &str)| (end, name.as_bytes()));
            assert_eq!(charset(value.as_bytes()), named, "{value}");
        }
    }
}
