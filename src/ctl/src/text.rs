//! What servers and files say, as it is safe for a terminal.

/// The text without control characters, which keys may have: they could drive the terminal, or forge a line.
pub(crate) fn plain(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c.is_control() {
            true => shown.extend(c.escape_default()),
            false => shown.push(c),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn control_characters_are_written_out() {
        assert_eq!(
            plain("/é\u{1b}[31m\n\u{9b}x\u{7f}"),
            "/é\\u{1b}[31m\\n\\u{9b}x\\u{7f}"
        );
    }
}
