//! What a browser shows.

use std::path::Path;

use crate::site::{HOST, Site};
use crate::support::Browser;

/// Twice: from PHP, and from the cache.
#[test]
fn wordpress_page_is_styled_in_a_browser() {
    let site = Site::start();
    let mapped = format!("--host-resolver-rules=MAP {HOST} {}", site.nginx.addr);
    let browser = Browser::start_with(&[mapped, "--disable-features=HttpsUpgrades".to_owned()]);
    for cache in ["MISS", "HIT"] {
        browser.open(&format!("http://{HOST}/"));
        let text = browser.text("document.body.innerText");
        assert!(text.contains("Article 8"), "{cache}: {text}");
        let applied = "[...document.styleSheets].filter(s => s.href && s.cssRules.length).length";
        let applied: usize = browser.text(applied).parse().expect("a number");
        assert!(applied > 0, "{cache}: no stylesheet was applied");
        assert_eq!(
            browser.text("getComputedStyle(document.body).margin"),
            "0px",
            "{cache}: the browser's own style"
        );
        let picture = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("wordpress-{cache}.png"));
        browser.picture(&picture);
    }
    assert_eq!(site.get("/").cache(), "HIT");
    let sheets =
        browser.text("[...document.styleSheets].filter(s => s.href).map(s => s.href).join(' ')");
    for sheet in sheets.split_whitespace() {
        let path = sheet.split(HOST).nth(1).expect("a stylesheet of this site");
        let answer = site.get(path);
        let of_type = answer.header("Content-Type");
        assert_eq!((answer.status, of_type), (200, Some("text/css")), "{sheet}");
    }
}
