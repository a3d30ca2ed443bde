//! Twenty visitors at once, each with something that is theirs alone: nobody sees what is another's, whoever fetched the page.

use std::thread;

use crate::session::Session;
use crate::site::Site;
use crate::support::Response;

/// The seed of what they ask for.
const SEED: u64 = 0x5EED;

/// xorshift64*, to choose what is asked for.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % sides
    }

    fn one_of<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.roll(words.len())]
    }
}

/// A visitor, the texts that pages may have for this one and not for all, and those that they had.
struct Visitor {
    session: Session,
    may_see: Vec<String>,
    has_seen: Vec<Sight>,
}

/// What is somebody's, on which page.
struct Sight {
    mark: String,
    page: String,
}

impl Visitor {
    fn new(site: &Site) -> Visitor {
        Visitor {
            session: site.visitor(),
            may_see: Vec::new(),
            has_seen: Vec::new(),
        }
    }

    /// Logged in; the first two may read drafts.
    fn member(site: &Site, n: usize) -> Visitor {
        let mut visitor = Visitor::new(site);
        visitor.session.log_in(&format!("member{n}"));
        visitor.may_see.push(format!("name-of-member-{n}-"));
        if n < 2 {
            visitor.may_see.push(DRAFT.to_owned());
        }
        visitor
    }

    /// Has left a comment, which waits for approval; its form knows the name and the address from then on.
    fn commenter(site: &Site, n: usize) -> Visitor {
        let mut visitor = Visitor::new(site);
        let form = format!(
            "comment_post_ID=1&comment=comment-of-guest-{n}-&author=name-of-guest-{n}-&email=guest{n}%40wp.example\
             &wp-comment-cookies-consent=yes"
        );
        let answer = visitor.session.post("/wp-comments-post.php", &form);
        assert_eq!(answer.status, 302, "{answer:?}");
        for what in ["comment-of", "name-of"] {
            visitor.may_see.push(format!("{what}-guest-{n}-"));
        }
        visitor
    }

    /// Knows the password of the protected post.
    fn initiate(site: &Site) -> Visitor {
        let mut visitor = Visitor::new(site);
        let answer = visitor
            .session
            .post("/wp-login.php?action=postpass", "post_password=sesame");
        let is_there = |cookie: &String| cookie.starts_with("wp-postpass_");
        let mut cookies = visitor.session.cookies.keys();
        assert!(cookies.any(is_there), "{answer:?}");
        visitor.may_see.push(SECRET.to_owned());
        visitor
    }

    /// Has put something into the cart.
    fn shopper(site: &Site, n: usize) -> Visitor {
        let mut visitor = Visitor::new(site);
        let cart = format!("cart-of-shopper-{n}-");
        for (name, value) in [
            ("woocommerce_items_in_cart", "1"),
            ("woocommerce_cart_hash", &*cart),
        ] {
            visitor
                .session
                .cookies
                .insert(name.to_owned(), value.to_owned());
        }
        visitor.may_see.push(cart);
        visitor
    }
}

const SECRET: &str = "text-behind-the-password";
const DRAFT: &str = "text-of-the-draft";

fn visitors(site: &Site) -> Vec<Visitor> {
    let members = (0..5).map(|n| Visitor::member(site, n));
    let commenters = (0..3).map(|n| Visitor::commenter(site, n));
    let initiates = (0..2).map(|_| Visitor::initiate(site));
    let shoppers = (0..2).map(|n| Visitor::shopper(site, n));
    let strangers = (0..8).map(|_| Visitor::new(site));
    members
        .chain(commenters)
        .chain(initiates)
        .chain(shoppers)
        .chain(strangers)
        .collect()
}

/// Any page of the site, in any spelling of its URL that leads to the same.
fn any_path(dice: &mut Dice, draft: u64) -> String {
    let path = match dice.roll(12) {
        0 | 1 => "/".to_owned(),
        2 | 3 => "/secret/".to_owned(),
        4 | 5 => "/hello-world/".to_owned(),
        6 => format!("/?p={draft}&preview=true"),
        7 => format!("/article-{}/", 1 + dice.roll(9)),
        8 => format!("/?s=article+{}", dice.roll(4)),
        9 => dice
            .one_of(&[
                "/wp-admin/profile.php",
                "/wp-login.php",
                "/wp-json/wp/v2/posts",
            ])
            .to_owned(),
        _ => dice
            .one_of(&[
                "/feed/",
                "/category/news/",
                "/author/editor/",
                "/sample-page/",
            ])
            .to_owned(),
    };
    match (dice.roll(4), path.contains('?')) {
        (0, false) => format!("{path}?utm_source={}", dice.roll(3)),
        (0, true) => format!("{path}&fbclid={}", dice.roll(3)),
        _ => path,
    }
}

/// What of `all` is in a response: in its body or in any field, cookies included.
fn marks<'a>(response: &Response, all: &'a [String]) -> impl Iterator<Item = &'a String> {
    let text = format!("{:?}{}", response.headers, response.text());
    all.iter().filter(move |mark| text.contains(mark.as_str()))
}

impl Visitor {
    /// Asks for so many random pages, and purges some, so that whoever comes next fetches them. Notes what pages have of `all`.
    fn wander(&mut self, mut dice: Dice, count: usize, draft: u64, all: &[String]) {
        for _ in 0..count {
            let path = any_path(&mut dice, draft);
            let method = if dice.roll(10) == 0 { "PURGE" } else { "GET" };
            let answer = self.session.request(method, &path, &[], "");
            assert!(answer.status < 500, "{method} {path}: {answer:?}");
            let page = format!("{path}, {}", answer.cache());
            self.has_seen.extend(marks(&answer, all).map(|mark| Sight {
                mark: mark.clone(),
                page: page.clone(),
            }));
        }
    }

    /// What this one should not have seen.
    fn foreign(&self) -> impl Iterator<Item = &Sight> {
        let is_foreign = |sight: &&Sight| !self.may_see.contains(&sight.mark);
        self.has_seen.iter().filter(is_foreign)
    }
}

/// The visitors after so many requests of all together.
fn after(site: &Site, requests: usize) -> Vec<Visitor> {
    let mut visitors = visitors(site);
    assert_eq!(visitors.len(), 20);
    let all: Vec<String> = visitors.iter().flat_map(|v| v.may_see.clone()).collect();
    let (all, count) = (&all, requests / visitors.len());
    thread::scope(|scope| {
        for (n, visitor) in visitors.iter_mut().enumerate() {
            let dice = Dice(SEED * (n as u64 + 1));
            scope.spawn(move || visitor.wander(dice, count, site.draft, all));
        }
    });
    visitors
}

#[test]
fn wordpress_keeps_what_is_personal() {
    for visitor in after(&Site::start(), 3000) {
        if let Some(Sight { mark, page }) = visitor.foreign().next() {
            panic!(
                "{mark} on {page} was seen by the visitor of {:?}",
                visitor.may_see
            );
        }
        for mark in &visitor.may_see {
            let is_there = visitor.has_seen.iter().any(|sight| sight.mark == *mark);
            assert!(is_there, "{mark} was not to be seen at all");
        }
    }
}

/// The same visitors do see what is others' where the configuration forgets the cookies.
#[test]
fn wordpress_without_its_cookies_leaks() {
    let site = Site::start_with(&[("$has_session $is_private", "$is_private")]);
    let visitors = after(&site, 600);
    let leaks = visitors
        .iter()
        .any(|visitor| visitor.foreign().next().is_some());
    assert!(leaks, "nothing was shared");
}
