//! The request that the measures of the engine and of the C library make.

/// Milliseconds since the epoch.
pub(crate) const NOW: u64 = 1_700_000_000_000;
/// As nginx makes it by default.
pub(crate) const KEY: &[u8] = b"httpwww.example.com/some/path/to/a/page.html?with=query";

/// What a browser sends.
pub(crate) const BROWSER: [(&str, &str); 10] = [
    ("Host", "www.example.com"),
    (
        "User-Agent",
        "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    ),
    (
        "Accept",
        "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    ),
    ("Accept-Language", "en-US,en;q=0.5"),
    ("Accept-Encoding", "gzip, deflate, br, zstd"),
    ("Connection", "keep-alive"),
    ("Cookie", "session=0123456789abcdef; theme=dark"),
    ("Upgrade-Insecure-Requests", "1"),
    ("Sec-Fetch-Dest", "document"),
    ("Sec-Fetch-Mode", "navigate"),
];
