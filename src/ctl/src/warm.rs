//! Requesting what is to be stored.

use std::error::Error;
use std::fs;
use std::io::IsTerminal;
use std::thread::sleep;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesRef, Event};
use serde_json::json;
use ureq::Agent;

use crate::arguments::Warm;
use crate::client::agent;
use crate::{End, Ended};

/// Sitemaps within an index of sitemaps, at most.
const SITEMAPS: usize = 1_000;

/// The bytes of a sitemap, at most (sitemaps.org/protocol).
const SITEMAP: u64 = 52_428_800;

const BYTE_ORDER_MARK: char = '\u{feff}';

pub(crate) fn run(warm: &Warm, json: bool) -> Ended {
    let unix = warm
        .connect
        .as_deref()
        .and_then(|to| to.strip_prefix("unix:"));
    let client = agent(unix.map(Into::into));
    let urls = urls(warm, &client)?;
    if urls.is_empty() {
        return Err(format!("{}: no URL is in it", warm.source));
    }
    let bar = progress(urls.len(), json);
    let (mut stored, mut failed) = (0, Vec::new());
    let pause = Duration::from_secs(1) / warm.rate;
    let mut next = Instant::now();
    for url in &urls {
        sleep(next.saturating_duration_since(Instant::now()));
        next = Instant::now().max(next) + pause;
        match request(&client, warm, url) {
            Ok(()) => stored += 1,
            Err(why) => {
                bar.println(format!("{url}: {why}"));
                failed.push(json!({ "url": url, "error": why }));
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    match json {
        true => println!(
            "{}",
            json!({ "requested": urls.len(), "answered": stored, "failed": failed })
        ),
        false => println!(
            "{} requested, {stored} answered, {} failed",
            urls.len(),
            failed.len()
        ),
    }
    Ok(if failed.is_empty() {
        End::Done
    } else {
        End::Partly
    })
}

fn progress(count: usize, json: bool) -> ProgressBar {
    if json || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = "{bar:40} {pos}/{len}, {per_sec}, {eta} left";
    let bar = ProgressBar::new(count as u64);
    match ProgressStyle::with_template(style) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// A request whose answer is read to its end, so that it is stored whole.
fn request(client: &Agent, warm: &Warm, url: &str) -> Result<(), String> {
    let (to, host) = place(url, warm.connect.as_deref());
    let mut request = client.get(&to);
    if let Some(host) = host {
        request = request.header("Host", host);
    }
    for field in &warm.headers {
        let (name, value) = field.split_once(':').unwrap_or((field, ""));
        request = request.header(name.trim(), value.trim());
    }
    let mut response = request.call().map_err(|e| e.to_string())?;
    let mut body = response.body_mut().as_reader();
    std::io::copy(&mut body, &mut std::io::sink()).map_err(|e| e.to_string())?;
    match response.status().as_u16() {
        200..400 => Ok(()),
        status => Err(format!("the server says {status}")),
    }
}

/// Where to ask for a URL, and the `Host` to send where that is another place.
fn place<'a>(url: &'a str, connect: Option<&str>) -> (String, Option<&'a str>) {
    let Some(connect) = connect else {
        return (url.to_owned(), None);
    };
    let (_, rest) = url.split_once("://").unwrap_or(("", url));
    let (host, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let to = if connect.starts_with("unix:") {
        "localhost"
    } else {
        connect
    };
    (format!("http://{to}{path}"), Some(host))
}

/// The URLs of a sitemap, of the sitemaps that an index names, or of the lines of a file.
fn urls(warm: &Warm, client: &Agent) -> Result<Vec<String>, String> {
    let (mut left, mut urls) = (vec![warm.source.clone()], Vec::new());
    let mut seen = 0;
    while let Some(source) = left.pop() {
        seen += 1;
        if seen > SITEMAPS {
            return Err(format!(
                "{}: it names more than {SITEMAPS} sitemaps",
                warm.source
            ));
        }
        let text = read(&source, client, warm)?;
        let text = text.trim_start_matches(BYTE_ORDER_MARK);
        match text.trim_start().starts_with('<') {
            true => sitemap(text, &mut urls, &mut left).map_err(|e| format!("{source}: {e}"))?,
            false => urls.extend(lines(text)),
        }
    }
    Ok(urls)
}

fn lines(text: &str) -> impl Iterator<Item = String> {
    let lines = text.lines().map(str::trim);
    let urls = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    urls.map(str::to_owned)
}

fn read(source: &str, client: &Agent, warm: &Warm) -> Result<String, String> {
    if !(source.starts_with("http://") || source.starts_with("https://")) {
        return fs::read_to_string(source).map_err(|e| format!("{source}: {e}"));
    }
    let (to, host) = place(source, warm.connect.as_deref());
    let request = client.get(&to);
    let request = match host {
        Some(host) => request.header("Host", host),
        None => request,
    };
    let failed = |e: ureq::Error| format!("{source}: {e}");
    let mut response = request.call().map_err(failed)?;
    match response.status().as_u16() {
        200 => {
            let body = response.body_mut().with_config().limit(SITEMAP);
            body.read_to_string().map_err(failed)
        }
        status => Err(format!("{source}: the server says {status}")),
    }
}

/// Reads `<loc>` of `<url>` and of `<sitemap>` (sitemaps.org/protocol), not of what lies in these, such as an `<image:image>`.
fn sitemap(text: &str, urls: &mut Vec<String>, more: &mut Vec<String>) -> Result<(), String> {
    let mut reader = Reader::from_str(text);
    let (mut open, mut loc) = (Vec::new(), String::new());
    let failed = |e: &dyn Error| e.to_string();
    loop {
        match reader.read_event().map_err(|e| failed(&e))? {
            Event::Start(tag) => {
                open.push(tag.local_name().as_ref().to_vec());
                loc.clear();
            }
            Event::Text(part) => loc.push_str(&part.decode().map_err(|e| failed(&e))?),
            Event::CData(part) => loc.push_str(&part.decode().map_err(|e| failed(&e))?),
            Event::GeneralRef(reference) => loc.push(character(&reference)?),
            Event::End(_) => {
                let path: Vec<&[u8]> = open.iter().map(Vec::as_slice).collect();
                let list = match path.as_slice() {
                    [.., b"url", b"loc"] => Some(&mut *urls),
                    [.., b"sitemap", b"loc"] => Some(&mut *more),
                    _ => None,
                };
                let url = loc.trim();
                if let Some(list) = list.filter(|_| !url.is_empty()) {
                    list.push(url.to_owned());
                }
                open.pop();
            }
            Event::Eof => return Ok(()),
            _ => {}
        }
    }
}

/// The character that `&name;` stands for.
fn character(reference: &BytesRef<'_>) -> Result<char, String> {
    if let Some(c) = reference.resolve_char_ref().map_err(|e| e.to_string())? {
        return Ok(c);
    }
    let name = reference.decode().map_err(|e| e.to_string())?;
    let known = resolve_predefined_entity(&name).and_then(|text| text.chars().next());
    known.ok_or_else(|| format!("what is &{name};?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sitemap_names_urls_and_an_index_names_sitemaps() {
        let text = "<?xml version='1.0'?><urlset><url><loc> https://h/a?b=1&amp;c=2 </loc></url>\
                    <url><loc>https://h/b</loc></url></urlset>";
        let (mut urls, mut more) = (Vec::new(), Vec::new());
        sitemap(text, &mut urls, &mut more).expect("a sitemap");
        assert_eq!(urls, ["https://h/a?b=1&c=2", "https://h/b"]);
        let index = "<sitemapindex><sitemap><loc>https://h/s.xml</loc></sitemap></sitemapindex>";
        sitemap(index, &mut urls, &mut more).expect("an index");
        assert_eq!((urls.len(), more), (2, vec!["https://h/s.xml".to_owned()]));
        assert!(sitemap("<urlset><url>", &mut urls, &mut Vec::new()).is_ok());
        assert!(sitemap("<a></b>", &mut urls, &mut Vec::new()).is_err());
    }

    /// What a sitemap may have in it besides.
    #[test]
    fn a_sitemap_has_cdata_references_and_images() {
        let text = "<urlset><url><image:image><image:loc>https://cdn/i.png</image:loc></image:image>\
                    <loc><![CDATA[https://h/a?b=1&c=2]]></loc>\
                    <video:video><loc>https://cdn/v</loc></video:video></url>\
                    <url><loc>https://h/&#x2D;&#45;&quot;</loc><image:loc/></url></urlset>";
        let (mut urls, mut more) = (Vec::new(), Vec::new());
        sitemap(text, &mut urls, &mut more).expect("a sitemap");
        assert_eq!(urls, ["https://h/a?b=1&c=2", "https://h/--\""]);
        assert!(more.is_empty());
        assert!(sitemap("<url><loc>&nbsp;</loc></url>", &mut urls, &mut more).is_err());
    }

    #[test]
    fn another_place_keeps_the_host() {
        let asked = place("https://h.example:8443/a?b", Some("127.0.0.1:80"));
        assert_eq!(
            asked,
            ("http://127.0.0.1:80/a?b".to_owned(), Some("h.example:8443"))
        );
        assert_eq!(
            place("http://h", Some("unix:/s")),
            ("http://localhost".to_owned(), Some("h"))
        );
        assert_eq!(place("http://h/a", None), ("http://h/a".to_owned(), None));
    }
}
