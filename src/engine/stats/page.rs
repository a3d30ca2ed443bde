//! The statistics page: the tree as one self-contained HTML document, which updates itself.

use super::tree::Tree;

/// The media type of the page.
pub const PAGE_TYPE: &str = "text/html; charset=utf-8";

const TEMPLATE: &str = include_str!("page.html");

/// Makes the page; its script then requests the JSON of the same location every two seconds.
pub fn page(tree: &Tree) -> String {
    let json = serde_json::to_string(tree).unwrap_or_default();
    let mut out = String::with_capacity(TEMPLATE.len() + json.len() + 1024);
    let mut rest = TEMPLATE;
    // One pass: inserted text is not searched for placeholders again.
    for (place, text) in [
        ("{{summary}}", escaped(&tree.summary)),
        ("{{tree}}", inert(&json)),
    ] {
        let (before, after) = rest.split_once(place).unwrap_or((rest, ""));
        out.push_str(before);
        out.push_str(&text);
        rest = after;
    }
    out.push_str(rest);
    out
}

/// Escapes text for HTML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// Escapes JSON so that it can neither end the element that contains it nor begin a comment there.
fn inert(json: &str) -> String {
    json.replace('<', "\\u003c")
}

#[cfg(test)]
mod tests {
    use super::super::tree::{Failing, Zone};
    use super::*;

    #[test]
    fn nothing_that_comes_from_a_request_is_markup() {
        let key = "http://h/</script><script>alert(1)</script>{{tree}}<!--";
        let failing = Failing {
            key: key.to_owned(),
            ..Failing::default()
        };
        let zone = Zone {
            failing: vec![failing],
            ..Zone::default()
        };
        let tree = Tree {
            summary: format!("1 refresh failing: {key} 503"),
            zones: [("main".to_owned(), zone)].into(),
            ..Tree::default()
        };
        let page = page(&tree);
        assert!(!page.contains("<script>alert"), "{page}");
        assert_eq!(page.matches("</script>").count(), 2);
        let (_, rest) = page.split_once("id=\"first\">").expect("the data");
        let (json, _) = rest.split_once("</script>").expect("its end");
        assert_eq!(serde_json::from_str::<Tree>(json).expect("JSON"), tree);
    }

    #[test]
    fn it_asks_nobody_else_for_anything() {
        for foreign in ["http://", "https://", "src=", "@import", "url("] {
            let own = TEMPLATE
                .replace("http://www.w3.org/2000/svg", "")
                .replace("https://example.com/page", "");
            assert!(!own.contains(foreign), "{foreign}");
        }
    }
}
