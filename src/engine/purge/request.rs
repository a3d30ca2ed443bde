//! A request to purge, and the keys by which the store finds what it asks for.

use crate::engine::key::recipe::Recipe;
use crate::engine::key::url::Url;
use crate::engine::purge::Selection;
use crate::engine::purge::mode::PurgeMode;

/// What to purge: everything that matches any of these.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PurgeRequest {
    /// Everything stored.
    pub all: bool,
    /// URLs, with all variants.
    pub urls: Vec<Url>,
    /// Every URL whose path begins with that of one of these, on the same host and scheme.
    pub below: Vec<Url>,
    /// Every URL of these hosts, under both schemes.
    pub hosts: Vec<Box<[u8]>>,
    /// Keys by their text.
    pub keys: Vec<Box<[u8]>>,
    /// Prefixes of the texts of keys.
    pub prefixes: Vec<Box<[u8]>>,
    /// Tags of responses.
    pub tags: Vec<Box<[u8]>>,
    /// What happens to the responses found.
    pub mode: PurgeMode,
    /// Whether to fetch the URLs again.
    pub refresh: bool,
}

/// The selection for certain key recipes, and the recipes with which nothing can be found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    /// What to purge.
    pub selection: Selection,
    /// The configured keys that a URL does not determine. If there are any, some responses may not have been
    /// found.
    pub missed: Vec<Box<str>>,
}

impl Resolved {
    /// Whether none of this many recipes finds anything by a URL.
    pub fn misses_all(&self, ways: usize) -> bool {
        let selection = &self.selection;
        let mut lists = [&selection.keys, &selection.prefixes, &selection.hosts].into_iter();
        ways > 0 && !self.missed.is_empty() && lists.all(|list| list.is_empty())
    }

    /// The warning for the sender if some responses may not have been found.
    pub fn warning(&self) -> Option<String> {
        let missed = self.missed.join("\", \"");
        (!self.missed.is_empty()).then(|| {
            format!(
                "a URL does not determine keys made of \"{missed}\", so responses stored under these were not purged: purge them by tag or key"
            )
        })
    }
}

impl PurgeRequest {
    /// The selection that finds all of this if keys are made by these recipes.
    pub fn found_by<'r>(&self, recipes: impl IntoIterator<Item = &'r Recipe>) -> Resolved {
        let mut found = Resolved {
            selection: Selection {
                all: self.all,
                texts: self.keys.clone(),
                prefixes: self.prefixes.clone(),
                tags: self.tags.clone(),
                ..Selection::default()
            },
            missed: Vec::new(),
        };
        for recipe in recipes {
            if !self.find_by(recipe, &mut found.selection) {
                found.missed.push(recipe.text().into());
            }
        }
        let Selection {
            keys,
            prefixes,
            hosts,
            ..
        } = &mut found.selection;
        for list in [keys, prefixes, hosts] {
            list.sort_unstable();
            list.dedup();
        }
        found.missed.sort_unstable();
        found.missed.dedup();
        found
    }

    /// Adds what this recipe finds. Returns whether it can find everything requested.
    fn find_by(&self, recipe: &Recipe, selection: &mut Selection) -> bool {
        for url in &self.urls {
            recipe.each_key(url, &mut |key| selection.keys.push(key));
        }
        let mut prefixes = true;
        for url in &self.below {
            prefixes &= recipe.each_prefix(url, &mut |prefix| selection.prefixes.push(prefix));
        }
        for host in &self.hosts {
            prefixes &= recipe.each_of_host(host, &mut |prefix| selection.hosts.push(prefix));
        }
        prefixes && (self.urls.is_empty() || recipe.is_of_urls())
    }

    /// Whether it selects by URL.
    pub fn is_by_url(&self) -> bool {
        !(self.urls.is_empty() && self.below.is_empty() && self.hosts.is_empty())
    }

    /// A word for `Cache-Purge-Result`.
    pub fn kind(&self) -> &'static str {
        match self {
            PurgeRequest { all: true, .. } => "all",
            PurgeRequest { tags, .. } if !tags.is_empty() => "tags",
            PurgeRequest { below, hosts, .. } if !below.is_empty() || !hosts.is_empty() => "prefix",
            _ => "url",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::key::query::Query;

    fn url(text: &str) -> Url {
        Url::read(text).expect("a URL")
    }

    fn bytes(texts: &[&str]) -> Vec<Box<[u8]>> {
        texts.iter().map(|text| text.as_bytes().into()).collect()
    }

    #[test]
    fn each_way_of_making_keys_is_asked() {
        let recipe = |text: &str| Recipe::new(Some(text), &Query::default());
        let recipes = [
            Recipe::new(None, &Query::default()),
            recipe("$uri"),
            recipe("$uri$cookie_a"),
            recipe("$cookie_a$uri"),
        ];
        let request = PurgeRequest {
            below: vec![url("http://h/a")],
            hosts: bytes(&["x"]),
            keys: bytes(&["k"]),
            tags: bytes(&["t"]),
            ..PurgeRequest::default()
        };
        let found = request.found_by(&recipes);
        assert_eq!(found.selection.prefixes, bytes(&["/a", "httph/a"]));
        assert_eq!(
            found.selection.hosts,
            bytes(&["/", "httpsx/", "httpsxx:", "httpx/", "httpxx:"])
        );
        assert_eq!(
            (found.selection.texts.len(), found.selection.tags.len()),
            (1, 1)
        );
        assert_eq!(found.missed, [Box::from("$cookie_a$uri")]);
        assert!(
            found
                .warning()
                .is_some_and(|said| said.contains("$cookie_a$uri"))
        );
        assert!(!found.misses_all(4));

        let request = PurgeRequest {
            urls: vec![url("http://h/a"), url("http://h/a")],
            ..PurgeRequest::default()
        };
        let found = request.found_by(&recipes);
        assert_eq!((found.selection.keys.len(), found.missed.len()), (2, 2));
        let found = request.found_by(&recipes[2..]);
        assert!(found.misses_all(2) && !request.found_by([]).misses_all(0));
    }
}
