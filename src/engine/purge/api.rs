//! The JSON body of the purge API.

use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::error::Category;

use crate::engine::key::url::{Url, host_of};
use crate::engine::purge::mode::PurgeMode;
use crate::engine::purge::request::PurgeRequest;

/// Parses the body of a request to the purge API.
///
/// # Errors
/// What is wrong with it; nothing may be purged then.
pub fn read(body: &[u8]) -> Result<PurgeRequest, String> {
    let Members(members) = serde_json::from_slice(body).map_err(|e| match e.classify() {
        Category::Data => "not a JSON object".to_owned(),
        _ => format!("no JSON: {e}"),
    })?;
    let request = select(&members)?;
    if request.refresh && request.urls.is_empty() {
        return Err("\"refresh\" needs \"urls\": what is to be fetched".into());
    }
    Ok(request)
}

/// The members of an object, in order: of two with one name a map would drop the first, and its purge with it.
struct Members(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Members, D::Error> {
        deserializer.deserialize_map(Collector)
    }
}

struct Collector;

impl<'de> Visitor<'de> for Collector {
    type Value = Members;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Members(members))
    }
}

fn select(members: &[(String, Value)]) -> Result<PurgeRequest, String> {
    let mut request = PurgeRequest::default();
    let mut names = HashSet::new();
    for (name, value) in members {
        if !names.insert(name) {
            return Err(format!("\"{name}\" is given twice"));
        }
        let bytes = || -> Result<Vec<Box<[u8]>>, String> {
            let texts = strings(name, value)?.into_iter();
            Ok(texts.map(|text| text.as_bytes().into()).collect())
        };
        match name.as_str() {
            "urls" | "files" => add_urls(&mut request, &strings(name, value)?)?,
            "keys" => request.keys = bytes()?,
            "prefixes" => add_prefixes(&mut request, &strings(name, value)?),
            "hosts" => add_hosts(&mut request, &strings(name, value)?)?,
            "tags" => request.tags = bytes()?,
            "all" | "purge_everything" => request.all |= flag(name, value)?,
            "refresh" => request.refresh = flag(name, value)?,
            "soft" if flag(name, value)? => request.mode = PurgeMode::Soft,
            "soft" => {}
            _ => return Err(format!("unknown member \"{name}\"")),
        }
    }
    Ok(request)
}

fn flag(name: &str, value: &Value) -> Result<bool, String> {
    let wanted = || format!("\"{name}\" must be true or false");
    value.as_bool().ok_or_else(wanted)
}

fn strings<'a>(name: &str, value: &'a Value) -> Result<Vec<&'a str>, String> {
    let wanted = || format!("\"{name}\" must be an array of strings that are not empty");
    let members = value.as_array().ok_or_else(wanted)?.iter();
    let strings = members.map(|member| member.as_str().filter(|text| !text.is_empty()));
    strings.collect::<Option<_>>().ok_or_else(wanted)
}

fn add_urls(request: &mut PurgeRequest, texts: &[&str]) -> Result<(), String> {
    for text in texts {
        let url = Url::read(text).ok_or_else(|| format!("\"{text}\" is no http or https URL"))?;
        request.urls.push(url);
    }
    Ok(())
}

/// Adds prefixes unchanged, and those of the corresponding URLs if they look like URLs.
fn add_prefixes(request: &mut PurgeRequest, texts: &[&str]) {
    for text in texts {
        request.prefixes.push(text.as_bytes().into());
        request.below.extend(Url::read(text));
    }
}

fn add_hosts(request: &mut PurgeRequest, texts: &[&str]) -> Result<(), String> {
    for text in texts {
        // `*.example.com` would find nothing.
        let host =
            host_of(text).filter(|host| host.eq_ignore_ascii_case(text) && !host.contains('*'));
        let host = host.ok_or_else(|| format!("\"{text}\" is no host name without a port"))?;
        request.hosts.push(host.into_bytes().into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_read() {
        let body = r#"{"files": ["http://h/a"], "urls": ["https://h/b"], "keys": ["k"], "prefixes": ["httph/", "http://h/c"],
            "hosts": ["H.example"], "tags": ["t"], "purge_everything": false, "soft": true, "refresh": true}"#;
        let request = read(body.as_bytes()).expect("good");
        let url = |text| Url::read(text).expect("a URL");
        let expected = PurgeRequest {
            all: false,
            urls: vec![url("http://h/a"), url("https://h/b")],
            below: vec![url("http://h/c")],
            hosts: vec![b"h.example".as_slice().into()],
            keys: vec![b"k".as_slice().into()],
            prefixes: vec![b"httph/".as_slice().into(), b"http://h/c".as_slice().into()],
            tags: vec![b"t".as_slice().into()],
            mode: PurgeMode::Soft,
            refresh: true,
        };
        assert_eq!(request, expected);
        assert!(read(b"{\"purge_everything\": true}").expect("good").all);
        assert!(
            read(b"{\"all\": true, \"purge_everything\": false}")
                .expect("good")
                .all
        );
        assert_eq!(read(b"{}"), Ok(PurgeRequest::default()));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (body, why) in [
            ("", "no JSON"),
            ("[]", "not a JSON object"),
            ("{\"tag\": [\"a\"]}", "unknown member \"tag\""),
            ("{\"tags\": \"a\"}", "\"tags\" must be an array of strings"),
            ("{\"keys\": [\"\"]}", "not empty"),
            ("{\"soft\": 1}", "\"soft\" must be true or false"),
            ("{\"urls\": [\"/b\"]}", "\"/b\" is no http or https URL"),
            (
                "{\"urls\": [\"http://h/a\"], \"urls\": [\"http://h/b\"]}",
                "\"urls\" is given twice",
            ),
            ("{\"all\": true, \"all\": false}", "\"all\" is given twice"),
            ("{\"all\": true", "no JSON"),
            ("{\"hosts\": [\"h:80\"]}", "\"h:80\" is no host name"),
            (
                "{\"hosts\": [\"*.h\"]}",
                "\"*.h\" is no host name without a port",
            ),
            ("{\"hosts\": [\"http://h\"]}", "no host name"),
            (
                "{\"tags\": [\"a\"], \"refresh\": true}",
                "\"refresh\" needs \"urls\"",
            ),
        ] {
            let said = read(body.as_bytes()).expect_err(body);
            assert!(said.contains(why), "{body}: {said}");
        }
    }
}
