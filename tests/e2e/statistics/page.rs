//! The page in a browser.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::*;

/// The page in a browser, under traffic: its first line is the sentence, its numbers are those of the JSON, a key that is markup is
/// text, and the keyboard does for all of it. Leaves pictures in the folder of the tests' output.
#[test]
fn statistics_page_in_a_browser() {
    let origin = Origin::start();
    let key = "/%3Cscript%3E?<script>document.title='taken'</script>";
    origin.on("/%3Cscript%3E", Reply::cached("max-age=600", "body"));
    origin.script("/prices", [Reply::aged(100, SWR, "old"), Reply::new(503)]);
    let proxied = format!("swr_cache other; proxy_pass http://{};", origin.addr);
    let nginx = with(&origin, "swr_cache_refresh_backoff 60s 60s;")
        .http("swr_cache_zone zone=other:1m;")
        .location("/other", &proxied)
        .start();
    let browser = Browser::start();
    browser.open(&format!("http://{}/swr?format=html", nginx.addr));
    let zone = || browser.text("document.getElementById('zone').value");
    let traffic = || {
        (0..10).for_each(|_| _ = nginx.get(key));
        (0..2).for_each(|_| _ = nginx.get("/prices"));
    };
    eventually("traffic is in the chart", || {
        traffic();
        let hits = "document.querySelector('#statuses-legend b').textContent";
        browser.text(hits).parse().is_ok_and(|rate: f64| rate > 0.0)
            && browser.text("document.querySelectorAll('#statuses path').length") != "0"
    });
    browser.open(&format!("http://{}/swr?format=html", nginx.addr));
    assert_eq!(
        zone(),
        "main",
        "the zone that fails is not the one that is shown"
    );
    let mut tree = Value::Null;
    let same = eventually_so(|| {
        tree = self::tree(&nginx);
        browser.text("document.getElementById('summary').textContent")
            == tree["summary"].take_string()
    });
    let summary = tree["summary"].take_string();
    assert!(same, "the first line is not {summary}");
    assert!(summary.contains("1 refresh failing"), "{summary}");
    let main = &tree["zones"]["main"];
    let tile = |name: &str, part: &str| {
        browser.text(&format!(
            "[...document.querySelectorAll('#tiles div')].find(tile => tile.children[0].textContent === '{name}').querySelector('.{part}').textContent"
        ))
    };
    for (name, count) in [
        ("Visitors who waited", &main["waited"]["responses"]),
        ("Origin requests saved", &main["origin"]["saved_requests"]),
        ("Refreshes failing", &main["refresh"]["backing_off"]),
    ] {
        assert_eq!(
            tile(name, "big").replace(',', ""),
            count.to_string(),
            "{name}"
        );
    }
    let rows = |id: &str| {
        let rows = "[...document.querySelectorAll('#ID tbody tr')].map(row => [...row.cells].map(cell => cell.textContent).join(' ')).join('\\n')";
        browser.text(&rows.replace("ID", id)).replace(',', "")
    };
    for (word, count) in main["reasons"].as_object().expect("reasons") {
        let row = format!("{word} {count}");
        assert_eq!(
            rows("reasons").lines().any(|r| r == row),
            *count != 0,
            "{row}: {}",
            rows("reasons")
        );
    }
    let asked = &main["top"]["keys"][0];
    assert!(asked["name"].take_string().contains("<script>"), "{asked}");
    assert_eq!(
        rows("keys").lines().next(),
        Some(&*format!(
            "{} {}",
            asked["name"].take_string(),
            asked["hits"]
        ))
    );
    assert!(
        rows("failing").contains("/prices 503"),
        "{}",
        rows("failing")
    );
    assert_ne!(browser.text("document.title"), "taken", "a key was run");
    let output = root().join("target/tmp");
    fs::create_dir_all(&output).expect("a folder");
    for (name, width, scheme) in [
        ("statistics-wide", 1280, "light"),
        ("statistics-wide-dark", 1280, "dark"),
        ("statistics-phone", 390, "light"),
        ("statistics-phone-dark", 390, "dark"),
    ] {
        browser.look(width, scheme);
        let wide = browser.text("document.documentElement.scrollWidth");
        assert_eq!(wide, width.to_string(), "{name} is wider than the screen");
        let picture = output.join(format!("{name}.png"));
        browser.picture(&picture);
        assert!(is_picture(&picture), "{}", picture.display());
    }
    // Without a mouse.
    const ENTER: char = '\u{e007}';
    browser.look(1280, "light");
    let pressed = || browser.text("document.getElementById('pause').getAttribute('aria-pressed')");
    browser.press("p");
    assert_eq!(pressed(), "true");
    browser.press("p");
    assert_eq!(pressed(), "false");
    let focus = || browser.text("document.activeElement.id || document.activeElement.dataset.zone");
    browser.press("z");
    assert_eq!(focus(), "zone");
    browser.run("document.querySelector('[data-zone=other]').focus()");
    browser.press(&ENTER.to_string());
    assert_eq!((zone(), focus()), ("other".to_owned(), "other".to_owned()));
    browser.press("e");
    assert_eq!(focus(), "url");
    browser.press(&format!("http://localhost/prices{ENTER}"));
    eventually("it is explained", || {
        let said = browser.text("document.getElementById('explained').textContent");
        said.contains("would be answered from the store (STALE)")
    });
}

/// Ten zones, and an hour of looking.
#[test]
fn statistics_page_stays_light() {
    let origin = Origin::start();
    let zones: String = (0..10)
        .map(|i| format!("swr_cache_zone zone=zone{i}:1m;\n"))
        .collect();
    let nginx = conf(&origin).http(&zones).start();
    let page = nginx.get("/swr?format=html");
    assert!(page.body.len() < 120_000, "{} bytes", page.body.len());
    let browser = Browser::start();
    browser.open(&format!("http://{}/swr?format=html", nginx.addr));
    let said = browser.run(
        "clearTimeout(timer);
         for (let i = 0; i < 1800; i++) {
           tree = structuredClone(tree); tree.time += 2;
           for (const zone of Object.values(tree.zones)) { zone.hit.responses += i % 7; zone.miss.responses += 1; }
           remember(tree);
         }
         const before = performance.now(); render();
         return { ms: performance.now() - before, elements: document.querySelectorAll('*').length,
                  points: Math.max(...[...history.values()].map(points => points.length)),
                  covered: document.getElementById('span').textContent };",
    );
    assert!(said["ms"].as_f64() < Some(500.0), "{said}");
    assert!(said["elements"].as_u64() < Some(2_000), "{said}");
    assert!(said["points"].as_u64() <= Some(180), "{said}");
    assert_eq!(said["covered"], "(the last 60 min)", "{said}");
}

fn is_picture(path: &Path) -> bool {
    fs::read(path).is_ok_and(|bytes| bytes.starts_with(b"\x89PNG") && bytes.len() > 10_000)
}
