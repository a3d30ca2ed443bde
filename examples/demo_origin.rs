//! The origin of `make run`: an application that takes its time, and sends no validators.
//!
//! `/news` takes `SECONDS` for each page. A page is fresh for 4 s, may be served stale for 6 s more while it is fetched
//! anew, and for an hour when the origin fails. `/about` never changes and is fresh for an hour.
//!
//!     cargo run --example demo_origin -- ADDRESS SECONDS

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

static PAGES: AtomicU32 = AtomicU32::new(0);

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:3000".into());
    let seconds = arguments.next().and_then(|s| s.parse().ok()).unwrap_or(2);
    for stream in TcpListener::bind(address)?.incoming().flatten() {
        thread::spawn(move || {
            // A client that went away is no reason to stop.
            let _ = answer(stream, Duration::from_secs(seconds));
        });
    }
    Ok(())
}

fn answer(stream: TcpStream, takes: Duration) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    // The header's end; its fields don't matter here.
    while lines
        .next()
        .transpose()?
        .is_some_and(|line| !line.is_empty())
    {}
    let (status, control, body) = match request.split(' ').nth(1) {
        Some("/about") => ("200 OK", "max-age=3600", "About us.\n".to_owned()),
        Some("/" | "/news") => {
            thread::sleep(takes);
            let number = PAGES.fetch_add(1, Ordering::Relaxed) + 1;
            (
                "200 OK",
                "max-age=4, stale-while-revalidate=6, stale-if-error=3600",
                format!("News, edition {number}.\n"),
            )
        }
        _ => ("404 Not Found", "max-age=10", "Nothing here.\n".to_owned()),
    };
    let length = body.len();
    write!(
        &stream,
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nCache-Control: {control}\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}
