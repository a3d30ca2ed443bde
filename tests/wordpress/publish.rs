//! Something is published: every page that shows it is new at once, all others are still there.

use serde_json::json;

use crate::session::Session;
use crate::site::Site;

/// The pages that show an article of the category.
const SHOWN_ON: [&str; 4] = ["/", "/feed/", "/category/news/", "/author/editor/"];

/// The pages that do not.
const OTHERS: [&str; 3] = ["/article-1/", "/article-2/?utm_source=x", "/sample-page/"];

#[test]
fn wordpress_publishes_at_once() {
    let site = Site::start();
    let mut editor = site.visitor();
    editor.log_in("editor");
    for method in ["PURGE", "GET"] {
        site.purge_by(method);
        publishes(&site, &mut editor, &method.to_lowercase());
    }
}

fn publishes(site: &Site, editor: &mut Session, slug: &str) {
    let own = format!("/{slug}-news/");
    let fill = || {
        for path in SHOWN_ON.iter().chain(&OTHERS).chain([&&*own]) {
            site.fill(path);
        }
    };
    let shown = |title: &str| {
        for path in SHOWN_ON.iter().chain([&&*own]) {
            let page = site.get(path);
            assert!(
                page.text().contains(title),
                "{path} has no {title}: {page:?}"
            );
        }
        stay(site);
    };

    // First a draft, as the editor in the browser saves it. What is not there yet is a 404, which is stored, too.
    let draft = json!({ "title": format!("First {slug}"), "slug": format!("{slug}-news"), "status": "draft",
        "content": "Told first.", "categories": [site.news] });
    let id = editor.rest("POST", "/posts", &draft)["id"]
        .as_u64()
        .expect("an id");
    let post = format!("/posts/{id}");
    fill();
    assert_eq!(site.get(&own).status, 404);
    stay(site);
    editor.rest("POST", &post, &json!({ "status": "publish" }));
    shown(&format!("First {slug}"));
    assert_eq!(site.get(&own).status, 200);

    // It is changed.
    fill();
    let change = json!({ "title": format!("Second {slug}") });
    editor.rest("POST", &post, &change);
    shown(&format!("Second {slug}"));

    // A comment is on its page alone.
    fill();
    let comment = format!("comment_post_ID={id}&comment=A+comment+on+{slug}");
    let answer = editor.post("/wp-comments-post.php", &comment);
    assert_eq!(answer.status, 302, "{answer:?}");
    let page = site.get(&own).text();
    assert!(page.contains(&format!("A comment on {slug}")), "{page}");
    stay(site);

    // It goes.
    fill();
    editor.rest("DELETE", &post, &json!({}));
    assert_eq!(site.get(&own).status, 404);
    for path in SHOWN_ON {
        let page = site.get(path).text();
        assert!(!page.contains(&format!("Second {slug}")), "{path}: {page}");
    }
    stay(site);
}

#[track_caller]
fn stay(site: &Site) {
    for path in OTHERS {
        let page = site.get(path);
        assert_eq!(page.cache(), "HIT", "{path}: {page:?}");
    }
}
