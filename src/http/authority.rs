//! The authority of a URI (RFC 3986 §3.2).

/// Parses a port as written in an authority, with its colon (`:443`). Returns `None` if it is not written as
/// numbers are, such as `:+80` and `:080`, which an origin may treat as different text.
pub fn port(text: &[u8]) -> Option<u16> {
    let digits = text.strip_prefix(b":")?;
    let number = digits.iter().try_fold(0u16, |n, digit| match digit {
        b'0'..=b'9' if n > 0 || *digit != b'0' => {
            n.checked_mul(10)?.checked_add(u16::from(digit - b'0'))
        }
        _ => None,
    });
    number.filter(|n| *n > 0)
}

#[cfg(test)]
mod tests {
    use super::port;

    #[test]
    fn a_port_is_a_number_as_it_is_written() {
        for (text, number) in [
            (":80", Some(80)),
            (":443", Some(443)),
            (":65535", Some(65535)),
            (":65536", None),
            (":99999999999999999999", None),
            (":", None),
            ("", None),
            ("80", None),
            (":0", None),
            (":080", None),
            (":+80", None),
            (":8 0", None),
            (":80a", None),
            ("::80", None),
        ] {
            assert_eq!(port(text.as_bytes()), number, "{text}");
        }
    }
}
