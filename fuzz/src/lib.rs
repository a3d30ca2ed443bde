//! What the targets share: field lines out of arbitrary bytes.

/// Owned field lines.
pub type Lines = Vec<(Vec<u8>, Vec<u8>)>;

/// A line of `data` is a field: what is before the first colon is its name.
pub fn fields(data: &[u8]) -> Lines {
    let lines = data.split(|b| *b == b'\n').filter(|line| !line.is_empty());
    let parts = lines.map(|line| match line.iter().position(|b| *b == b':') {
        Some(at) => (&line[..at], &line[at + 1..]),
        None => (line, &b""[..]),
    });
    parts.map(|(n, v)| (n.to_vec(), v.to_vec())).collect()
}

/// The lines of `data` as those of one field.
pub fn lines_of(name: &str, data: &[u8]) -> Lines {
    let lines = data.split(|b| *b == b'\n');
    lines.map(|line| (name.into(), line.to_vec())).collect()
}

/// Two messages: what is before the first empty line, and the rest.
pub fn two(data: &[u8]) -> (Lines, Lines) {
    match data.windows(2).position(|pair| pair == b"\n\n") {
        Some(at) => (fields(&data[..at]), fields(&data[at + 2..])),
        None => (fields(data), Lines::new()),
    }
}
