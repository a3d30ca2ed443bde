//! The parts of a `swr_cache_key`.

/// Cuts a string at the ends of its variables, `$name` or `${name}`.
pub(crate) fn parts(mut word: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    while !word.is_empty() {
        let end = match word {
            [b'$', b'{', ..] => word.iter().position(|b| *b == b'}').map(|at| at + 1),
            [b'$', name @ ..] => name
                .iter()
                .position(|b| !b.is_ascii_alphanumeric() && *b != b'_')
                .map(|at| at + 1),
            _ => word.iter().position(|b| *b == b'$'),
        };
        let (part, rest) = word.split_at(end.unwrap_or(word.len()));
        parts.push(part);
        word = rest;
    }
    parts
}
