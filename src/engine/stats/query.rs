//! Parses a request to the statistics: `?format=`, `?zone=`, or `?explain=URL` with `&header=NAME:VALUE` ...

use std::borrow::Cow;

use percent_encoding::percent_decode;

use crate::engine::key::url::Url;
use crate::http::syntax::{is_token, members, trim};

/// The format of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// JSON.
    Json,
    /// Prometheus's text exposition format.
    Prometheus,
    /// An HTML page.
    Html,
}

/// A request to explain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explain {
    /// The URL.
    pub url: Url,
    /// The header fields.
    pub headers: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What is requested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatisticsRequest {
    /// The format of the answer.
    pub form: Format,
    /// The zone to report; all zones if `None`.
    pub zone: Option<Vec<u8>>,
    /// The request to explain, instead of reporting statistics.
    pub explain: Option<Explain>,
}

impl StatisticsRequest {
    /// Parses a query string (without its `?`) and the value of `Accept`. The error names the parameter and what was
    /// expected.
    pub fn parse(args: &[u8], accept: &[u8]) -> Result<StatisticsRequest, String> {
        let mut query = StatisticsRequest {
            form: accepted(accept),
            zone: None,
            explain: None,
        };
        let (mut form, mut headers) = (None, Vec::new());
        for pair in args.split(|b| *b == b'&').filter(|pair| !pair.is_empty()) {
            let (name, value) = cut(pair, b'=').unwrap_or((pair, b""));
            let value: Cow<'_, [u8]> = percent_decode(value).into();
            match name {
                b"format" => once("format", &mut form, self::form(&value)?)?,
                b"zone" => once("zone", &mut query.zone, value.into_owned())?,
                b"explain" => {
                    let explain = Explain {
                        url: url(&value)?,
                        headers: Vec::new(),
                    };
                    once("explain", &mut query.explain, explain)?;
                }
                b"header" => add(&mut headers, header(&value)?)?,
                name => {
                    let name = String::from_utf8_lossy(name);
                    let known = "expected format, zone, explain or header";
                    return Err(format!("unknown parameter \"{name}\": {known}"));
                }
            }
        }
        query.form = form.unwrap_or(query.form);
        match &mut query.explain {
            Some(_) if query.zone.is_some() || form.is_some() => {
                let those = "the answer is JSON for the zone of the URL's location";
                return Err(format!(
                    "\"zone\" and \"format\" can't be used with \"explain\": {those}"
                ));
            }
            Some(explain) => explain.headers = headers,
            None if headers.is_empty() => {}
            None => return Err("\"header\" can be used with \"explain\" only".to_owned()),
        }
        Ok(query)
    }
}

fn add(
    headers: &mut Vec<(Vec<u8>, Vec<u8>)>,
    (name, value): (Vec<u8>, Vec<u8>),
) -> Result<(), String> {
    let text = String::from_utf8_lossy(&name);
    if name.eq_ignore_ascii_case(b"host") {
        return Err(format!("\"header\" is \"{text}\": the URL gives the host"));
    }
    if ["Content-Length", "Transfer-Encoding"]
        .iter()
        .any(|body| text.eq_ignore_ascii_case(body))
    {
        return Err(format!(
            "\"header\" is \"{text}\": what is explained is a GET without a body"
        ));
    }
    if headers
        .iter()
        .any(|(known, _)| known.eq_ignore_ascii_case(&name))
    {
        return Err(format!(
            "\"header\" gives \"{text}\" twice: join the values with a comma"
        ));
    }
    headers.push((name, value));
    Ok(())
}

fn once<T>(name: &str, place: &mut Option<T>, value: T) -> Result<(), String> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(format!("\"{name}\" is given twice")),
    }
}

fn form(value: &[u8]) -> Result<Format, String> {
    match value {
        b"json" => Ok(Format::Json),
        b"prometheus" => Ok(Format::Prometheus),
        b"html" => Ok(Format::Html),
        other => Err(format!(
            "\"format\" is \"{}\": expected json, prometheus or html",
            String::from_utf8_lossy(other)
        )),
    }
}

fn url(value: &[u8]) -> Result<Url, String> {
    let text = String::from_utf8_lossy(value);
    Url::read(&text)
        .ok_or_else(|| format!("\"explain\" is \"{text}\": expected an http or https URL"))
}

fn header(value: &[u8]) -> Result<(Vec<u8>, Vec<u8>), String> {
    let field = cut(value, b':').filter(|(name, value)| {
        let is_text = |b: &u8| *b == b'\t' || *b >= b' ' && *b != 0x7f;
        is_token(name) && value.iter().all(is_text)
    });
    let (name, value) = field.ok_or_else(|| {
        let text = String::from_utf8_lossy(value);
        format!("\"header\" is \"{text}\": expected NAME:VALUE")
    })?;
    Ok((name.to_vec(), trim(value).to_vec()))
}

/// The format that the client prefers (RFC 9110 §12.5.1), or JSON if it has no preference.
fn accepted(accept: &[u8]) -> Format {
    let mut best = (Format::Json, 0);
    for member in members(accept) {
        let (media_type, weight) = weighted(member);
        let form = match media_type.to_ascii_lowercase().as_slice() {
            b"application/json" | b"*/*" | b"application/*" => Format::Json,
            b"text/html" | b"text/*" => Format::Html,
            b"text/plain" | b"application/openmetrics-text" => Format::Prometheus,
            _ => continue,
        };
        if weight > best.1 {
            best = (form, weight);
        }
    }
    best.0
}

/// Splits a media range into its type and its weight in thousandths.
fn weighted(member: &[u8]) -> (&[u8], u32) {
    let mut parts = member.split(|b| *b == b';').map(trim);
    let media_type = parts.next().unwrap_or_default();
    let weight = parts.find_map(|part| {
        let value = part.strip_prefix(b"q=").or(part.strip_prefix(b"Q="))?;
        std::str::from_utf8(value).ok()?.parse::<f32>().ok()
    });
    (
        media_type,
        (weight.unwrap_or(1.0).clamp(0.0, 1.0) * 1_000.0) as u32,
    )
}

fn cut(bytes: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let place = bytes.iter().position(|b| *b == at)?;
    Some((&bytes[..place], &bytes[place + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &str) -> Result<StatisticsRequest, String> {
        StatisticsRequest::parse(args.as_bytes(), b"")
    }

    #[test]
    fn the_form_is_what_is_asked_for_else_what_is_liked_best() {
        for (accept, form) in [
            ("", Format::Json),
            ("*/*", Format::Json),
            (
                "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
                Format::Html,
            ),
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                 text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                Format::Prometheus,
            ),
            ("application/json, text/html;q=0.5", Format::Json),
            ("text/html;q=0, application/json;q=0.1", Format::Json),
            ("image/png", Format::Json),
        ] {
            let query = StatisticsRequest::parse(b"", accept.as_bytes()).expect("a query");
            assert_eq!(query.form, form, "{accept}");
            let asked = StatisticsRequest::parse(b"format=prometheus", accept.as_bytes());
            assert_eq!(asked.expect("a query").form, Format::Prometheus);
        }
    }

    #[test]
    fn what_is_to_be_explained_is_decoded_once() {
        let query =
            parse("explain=https://h.example/a%3Fb%3D1+2%26c&header=Accept:%20de&header=X:")
                .expect("a query");
        let explain = query.explain.expect("a URL");
        assert_eq!(*explain.url.target, *b"/a?b=1+2&c");
        let headers = [("Accept", "de"), ("X", "")];
        let headers = headers.map(|(n, v)| (n.as_bytes().to_vec(), v.as_bytes().to_vec()));
        assert_eq!(explain.headers, headers);
        assert_eq!(
            parse("zone=main&").expect("a query").zone.as_deref(),
            Some(&b"main"[..])
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (args, named) in [
            ("format=xml", "\"format\" is \"xml\""),
            ("format", "\"format\""),
            ("zone=a&zone=b", "\"zone\""),
            ("zon=a", "\"zon\""),
            ("<script>=1", "\"<script>\""),
            ("explain=/a", "\"explain\" is \"/a\""),
            ("explain=", "\"explain\""),
            ("explain=http://", "\"explain\""),
            ("explain=ftp://h/", "\"explain\""),
            ("explain=http://h/%0d%0aX:1", "\"explain\""),
            ("explain=http://h/%00", "\"explain\""),
            ("explain=http://h/&header=a", "\"header\" is \"a\""),
            ("explain=http://h/&header=a%0a:1", "\"header\""),
            ("explain=http://h/&header=a:%0d%0aX:1", "\"header\""),
            ("header=a:1", "\"header\""),
            ("explain=http://h/&header=Host:x", "\"Host\""),
            (
                "explain=http://h/&header=content-length:1",
                "\"content-length\"",
            ),
            (
                "explain=http://h/&header=Transfer-Encoding:foo",
                "\"Transfer-Encoding\"",
            ),
            ("explain=http://h/&header=a:1&header=A:2", "\"A\" twice"),
            ("explain=http://h/&zone=main", "\"zone\""),
            ("explain=http://h/&format=html", "\"format\""),
        ] {
            let error = parse(args).expect_err(args);
            assert!(error.contains(named), "{args}: {error}");
        }
    }
}
