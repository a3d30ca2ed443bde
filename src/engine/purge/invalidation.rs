//! What an unsafe request invalidates: its target, the URIs that the response names (RFC 9111 §4.4), and the
//! destination of a copy (RFC 4918 §10.3).

use ::http::Method;

use crate::engine::key::query::Query;
use crate::engine::key::recipe::Recipe;
use crate::engine::key::split;
use crate::engine::key::url::Url;
use crate::engine::policy::{Invalidate, Policy};
use crate::engine::purge::tags;
use crate::http::fields::each_named;
use crate::http::invalidation::{invalidates, is_safe, named_target};
use crate::http::{Fields, cache_groups};

/// A request with a method that is not cached, and the origin's response to it.
pub struct Invalidation<'a> {
    /// The method, as sent.
    pub method: &'a [u8],
    /// The status of the response.
    pub status: u16,
    /// The primary key of the request, in the form that [`key`](crate::engine::key) describes.
    pub key: &'a [u8],
    /// How keys are made wherever the cache is used. A key can have the method in it, or be made otherwise in the
    /// location of the request.
    pub recipes: &'a [&'a Recipe],
    /// Scheme and authority as the client wrote them: `https://example.com:8443`.
    pub origin: &'a [u8],
    /// Path and query as the client wrote them.
    pub target: &'a [u8],
    /// The field lines of the request.
    pub asked: &'a dyn Fields,
    /// The field lines of the response.
    pub fields: &'a dyn Fields,
}

impl Invalidation<'_> {
    /// The labels of the origin's cache groups that the response invalidates; none for a safe method (RFC
    /// 9875 §3).
    pub(crate) fn groups(&self) -> Vec<u64> {
        let unsafe_method = Method::from_bytes(self.method).is_ok_and(|method| !is_safe(&method));
        let groups = match unsafe_method {
            true => cache_groups::parse(self.fields, cache_groups::INVALIDATION),
            false => Vec::new(),
        };
        let labels = groups
            .iter()
            .filter_map(|group| tags::group(self.origin, group));
        labels.collect()
    }

    /// The keys to be invalidated.
    pub(crate) fn keys(&self, policy: &Policy) -> Vec<Box<[u8]>> {
        let how = policy.invalidate;
        let method = Method::from_bytes(self.method);
        let invalid = method.is_ok_and(|method| invalidates(&method, self.status));
        if !invalid || how == Invalidate::Off {
            return Vec::new();
        }
        let mut keys = vec![Box::from(self.key)];
        let mut targets = match how {
            Invalidate::Target => Vec::new(),
            _ => self.named(),
        };
        self.each_alike(&policy.query, &targets, &mut |key| keys.push(key.into()));
        targets.extend(std::str::from_utf8(self.target).map(str::to_owned));
        self.each_made(&targets, &mut |key| keys.push(key));
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    /// Calls `f` with the keys by which these targets of the request's origin may be stored.
    fn each_made(&self, targets: &[String], f: &mut dyn FnMut(Box<[u8]>)) {
        let origin = String::from_utf8_lossy(self.origin);
        for url in targets
            .iter()
            .filter_map(|target| Url::read(&format!("{origin}{target}")))
        {
            self.recipes
                .iter()
                .for_each(|recipe| recipe.each_key(&url, f));
        }
    }

    /// The targets that `Location` and `Content-Location` name on the same origin, and the `Destination` of a `COPY` or
    /// `MOVE`.
    fn named(&self) -> Vec<String> {
        let (Ok(origin), Ok(target)) = (
            std::str::from_utf8(self.origin),
            std::str::from_utf8(self.target),
        ) else {
            return Vec::new();
        };
        let written_to: &[(&dyn Fields, &str)] = match self.method {
            b"COPY" | b"MOVE" => &[(self.asked, "destination")],
            _ => &[],
        };
        let named = [(self.fields, "location"), (self.fields, "content-location")];
        let mut targets = Vec::new();
        for (fields, name) in named.iter().chain(written_to) {
            each_named(*fields, name, &mut |value| {
                let reference = std::str::from_utf8(value).ok();
                targets.extend(reference.and_then(|value| named_target(origin, target, value)));
            });
        }
        targets
    }

    /// Calls `f` with the keys of these targets that are like the request's.
    ///
    /// If the text of a key ends in the request's target, or in what `query` makes of it, the key for the
    /// other target is made by replacing that end, as in the default key. For other keys it can't be
    /// determined.
    fn each_alike(&self, query: &Query, targets: &[String], f: &mut dyn FnMut(&[u8])) {
        let Some((text, lengths)) = split(self.key) else {
            return;
        };
        let keyed = text.strip_suffix(&*query.of_target(self.target));
        let Some(prefix) = keyed.or_else(|| text.strip_suffix(self.target)) else {
            return;
        };
        for other in targets.iter().map(|target| target.as_bytes()) {
            let keyed = query.of_target(other);
            f(&[prefix, &keyed, lengths].concat());
            // A configured key may contain the unchanged target.
            if *keyed != *other {
                f(&[prefix, other, lengths].concat());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::policy::Directives;

    fn named(key: &str, target: &str, fields: &[(&str, &str)]) -> Vec<String> {
        named_by("POST", key, target, fields, &Query::default())
    }

    fn named_by(
        method: &str,
        key: &str,
        target: &str,
        fields: &[(&str, &str)],
        query: &Query,
    ) -> Vec<String> {
        let mut keys = Vec::new();
        let key = format!("{key}\0");
        let invalidation = Invalidation {
            method: method.as_bytes(),
            status: 200,
            key: key.as_bytes(),
            recipes: &[],
            origin: b"http://h.example",
            target: target.as_bytes(),
            asked: &[("Destination", "http://h.example/copied")],
            fields: &fields,
        };
        invalidation.each_alike(query, &invalidation.named(), &mut |key| {
            keys.push(String::from_utf8_lossy(&key[..key.len() - 1]).into_owned())
        });
        keys
    }

    #[test]
    fn what_a_response_names_has_a_key_like_the_requests() {
        // RFC 9111 §4.4
        let fields = [
            ("Location", "/made/1?x"),
            ("content-location", "http://H.example:80/list"),
            ("Location", "http://other.example/"),
            ("Link", "</no>"),
        ];
        assert_eq!(
            named("httph.example/make", "/make", &fields),
            ["httph.example/made/1?x", "httph.example/list"]
        );
        assert_eq!(
            named("httph.example/make|de", "/make", &fields),
            [""; 0],
            "a key of another form"
        );
    }

    #[test]
    fn keys_are_made_as_in_each_location() {
        // RFC 9111 §4.4: the target, whatever the key of the request itself is.
        let query = Query::default();
        let recipes = [
            None,
            Some("$request_method$host$request_uri"),
            Some("$uri"),
            Some("$uri$cookie_a"),
        ]
        .map(|text| Recipe::new(text, &query));
        let recipes: Vec<_> = recipes.iter().collect();
        let keys = |invalidate| {
            let invalidation = Invalidation {
                method: b"POST",
                status: 303,
                key: b"POSTh.example/make\0",
                recipes: &recipes,
                origin: b"http://h.example",
                target: b"/make",
                asked: &[("", ""); 0],
                fields: &[("Location", "/made?x")],
            };
            let policy = Policy {
                invalidate,
                ..Policy::default()
            };
            let text = |key: &[u8]| {
                let (text, _) = split(key).expect("a key");
                String::from_utf8_lossy(text).into_owned()
            };
            invalidation
                .keys(&policy)
                .iter()
                .map(|key| text(key))
                .collect::<Vec<_>>()
        };
        let target = [
            "/make",
            "GETh.example/make",
            "HEADh.example/make",
            "POSTh.example/make",
            "httph.example/make",
        ];
        assert_eq!(keys(Invalidate::Target), target);
        let all = keys(Invalidate::On);
        let named = ["/made", "GETh.example/made?x", "httph.example/made?x"];
        for key in target.iter().chain(&named) {
            assert!(all.contains(&(*key).to_owned()), "{key}: {all:?}");
        }
    }

    #[test]
    fn the_query_of_what_is_named_is_as_in_keys() {
        let mut block = Directives::default();
        block.add("query", &[b"drop", b"tracking"]).expect("good");
        let query = block.policy().query;
        let fields = [
            ("Location", "/made?id=1&utm_source=x"),
            ("Content-Location", "/list?utm_id=2"),
        ];
        let named = |key, target| named_by("POST", key, target, &fields, &query);
        let both = [
            "httph.example/made?id=1",
            "httph.example/made?id=1&utm_source=x",
            "httph.example/list",
            "httph.example/list?utm_id=2",
        ];
        assert_eq!(named("httph.example/make", "/make?gclid=3"), both);
        assert_eq!(
            named("httph.example/make?gclid=3", "/make?gclid=3"),
            both,
            "a key of its own"
        );
        assert_eq!(named("httph.example/make?a", "/make?gclid=3"), [""; 0]);
    }

    #[test]
    fn a_copy_writes_to_its_destination() {
        // RFC 4918 §10.3
        for (method, destination) in [("COPY", true), ("MOVE", true), ("POST", false)] {
            let query = Query::default();
            let keys = named_by(method, "httph.example/a", "/a", &[], &query);
            assert_eq!(keys == ["httph.example/copied"], destination, "{method}");
            assert_eq!(keys.is_empty(), !destination, "{method}");
        }
    }
}
