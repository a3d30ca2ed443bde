//! What clients, servers and files say, as it is safe for a log or a terminal.

use std::borrow::Cow;

/// Returns the text with its control characters written out, which keys may have: they could forge a line or drive a terminal.
pub fn one_line(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return text.into();
    }
    let mut line = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c.is_control() {
            true => line.extend(c.escape_default()),
            false => line.push(c),
        }
    }
    line.into()
}

#[cfg(test)]
mod tests {
    use super::one_line;

    #[test]
    fn control_characters_are_written_out() {
        for (text, line) in [
            ("/\u{e9} \"x\"", "/\u{e9} \"x\""),
            (
                "/\u{e9}\u{1b}[31m\n\u{9b}x\u{7f}",
                "/\u{e9}\\u{1b}[31m\\n\\u{9b}x\\u{7f}",
            ),
        ] {
            assert_eq!(one_line(text), line);
        }
    }
}
