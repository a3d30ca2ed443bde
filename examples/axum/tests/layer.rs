//! The layer in front of handlers that count how often they are asked.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use http_body_util::channel::Channel;
use swrcache_axum::{Edge, cached};
use tokio::sync::Semaphore;
use tower::ServiceExt;

/// Handlers behind a layer.
struct Site {
    app: Router,
    calls: Arc<Calls>,
}

struct Calls {
    count: AtomicUsize,
    /// What holds the handlers of `/held` and the ends of bodies up.
    gate: Semaphore,
}

async fn handler(State(calls): State<Arc<Calls>>, request: Request) -> Response {
    let call = calls.count.fetch_add(1, Relaxed) + 1;
    let fields = |control| [(header::CACHE_CONTROL, control)];
    match request.uri().path() {
        "/page" => (fields("max-age=60"), "a page").into_response(),
        "/swr" => {
            let fields = [
                (
                    header::CACHE_CONTROL,
                    "max-age=60, stale-while-revalidate=600",
                ),
                (header::AGE, if call == 1 { "61" } else { "0" }),
            ];
            (fields, format!("call {call}")).into_response()
        }
        "/mine" => {
            let cookie = request.headers().get(header::COOKIE);
            let cookie = cookie.map_or(Bytes::new(), |cookie| {
                Bytes::copy_from_slice(cookie.as_bytes())
            });
            (fields("private"), [(header::SET_COOKIE, "id=1")], cookie).into_response()
        }
        "/held" => {
            let _held = calls.gate.acquire().await;
            (fields("max-age=60"), "held").into_response()
        }
        "/grows" => {
            let (mut to, body) = Channel::<Bytes>::new(1);
            tokio::spawn(async move {
                let _ = to.send_data("begun, ".into()).await;
                let _held = calls.gate.acquire().await;
                let _ = to.send_data("and whole".into()).await;
            });
            (fields("max-age=60"), Body::new(body)).into_response()
        }
        "/huge" => (fields("max-age=60"), vec![b'x'; 3 << 20]).into_response(),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

impl Site {
    /// In the calling test's runtime. `open`: nothing is held up.
    fn new(open: bool) -> Site {
        let calls = Arc::new(Calls {
            count: AtomicUsize::new(0),
            gate: Semaphore::new(if open { 1000 } else { 0 }),
        });
        let edge = Edge::new(16 << 20).expect("a cache");
        let app = Router::new()
            .fallback(handler)
            .with_state(Arc::clone(&calls));
        Site {
            app: app.layer(from_fn_with_state(edge, cached)),
            calls,
        }
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        field: Option<(header::HeaderName, &str)>,
    ) -> Response {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "site.example");
        if let Some((name, value)) = field {
            request = request.header(name, value);
        }
        let request = request.body(Body::empty()).expect("a request");
        self.app.clone().oneshot(request).await.expect("infallible")
    }

    async fn get(&self, path: &str) -> (u16, String, String) {
        told(self.ask(Method::GET, path, None).await).await
    }

    fn calls(&self) -> usize {
        self.calls.count.load(Relaxed)
    }
}

/// Status, `X-Cache` and body.
async fn told(response: Response) -> (u16, String, String) {
    let cache = response.headers().get("x-cache");
    let cache = cache
        .map_or("", |cache| cache.to_str().expect("text"))
        .to_owned();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.expect("a whole body");
    (
        status,
        cache,
        String::from_utf8(body.to_bytes().into()).expect("text"),
    )
}

fn is(status: u16, cache: &str, body: &str) -> (u16, String, String) {
    (status, cache.to_owned(), body.to_owned())
}

#[tokio::test]
async fn what_is_stored_is_served_and_answers_conditions_and_ranges() {
    let site = Site::new(true);
    assert_eq!(site.get("/page").await, is(200, "MISS", "a page"));
    let hit = site.ask(Method::GET, "/page", None).await;
    assert!(hit.headers().contains_key(header::AGE) && hit.headers().contains_key(header::DATE));
    let etag = hit.headers()[header::ETAG]
        .to_str()
        .expect("text")
        .to_owned();
    assert_eq!(told(hit).await, is(200, "HIT", "a page"));
    let known = site
        .ask(Method::GET, "/page", Some((header::IF_NONE_MATCH, &etag)))
        .await;
    assert_eq!(told(known).await, is(304, "HIT", ""));
    let part = site
        .ask(Method::GET, "/page", Some((header::RANGE, "bytes=2-3")))
        .await;
    assert_eq!(part.headers()[header::CONTENT_RANGE], "bytes 2-3/6");
    assert_eq!(told(part).await, is(206, "HIT", "pa"));
    let head = site.ask(Method::HEAD, "/page", None).await;
    assert_eq!(head.headers()[header::CONTENT_LENGTH], "6");
    assert_eq!(told(head).await, is(200, "HIT", ""));
    assert_eq!(site.calls(), 1);
}

#[tokio::test]
async fn nobody_waits_for_a_refresh() {
    let site = Site::new(true);
    assert_eq!(site.get("/swr").await, is(200, "MISS", "call 1"));
    assert_eq!(site.get("/swr").await, is(200, "UPDATING", "call 1"));
    while site.get("/swr").await != is(200, "HIT", "call 2") {
        tokio::task::yield_now().await;
    }
    assert_eq!(site.calls(), 2);
}

#[tokio::test]
async fn what_is_private_comes_from_the_handler_for_each() {
    let site = Site::new(true);
    for cookie in ["a=b", "c=d"] {
        let answer = site
            .ask(Method::GET, "/mine", Some((header::COOKIE, cookie)))
            .await;
        assert_eq!(answer.headers()[header::SET_COOKIE], "id=1");
        assert_eq!(told(answer).await, is(200, "", cookie));
    }
    assert_eq!(site.calls(), 2);
}

#[tokio::test]
async fn an_unsafe_request_makes_invalid_what_is_stored() {
    let site = Site::new(true);
    site.get("/page").await;
    assert_eq!(
        told(site.ask(Method::POST, "/page", None).await).await,
        is(200, "", "a page")
    );
    assert_eq!(site.get("/page").await, is(200, "MISS", "a page"));
}

#[tokio::test]
async fn one_call_for_all_who_ask_at_once() {
    let site = Arc::new(Site::new(false));
    let clients: Vec<_> = (0..20)
        .map(|_| {
            let site = Arc::clone(&site);
            tokio::spawn(async move { site.get("/held").await.2 })
        })
        .collect();
    while site.calls() == 0 {
        tokio::task::yield_now().await;
    }
    site.calls.gate.add_permits(1000);
    for client in clients {
        assert_eq!(client.await.expect("a client"), "held");
    }
    assert_eq!(site.calls(), 1);
}

/// The body comes as it grows; and a client that goes away leaves it to the others.
#[tokio::test]
async fn a_body_is_followed_as_it_grows() {
    let site = Site::new(false);
    let mut first = site.ask(Method::GET, "/grows", None).await.into_body();
    let frame = first.frame().await.expect("a frame").expect("bytes");
    assert_eq!(frame.into_data().expect("data"), "begun, ");
    drop(first);
    let second = site.ask(Method::GET, "/grows", None).await;
    site.calls.gate.add_permits(1);
    assert_eq!(told(second).await.2, "begun, and whole");
    assert_eq!(site.calls(), 1);
}

/// An eighth of the memory is the most that is stored; the client that leads gets all of it.
#[tokio::test]
async fn a_body_that_outgrows_the_store_comes_whole() {
    let site = Site::new(true);
    for _ in 0..2 {
        let (status, _, body) = tokio::time::timeout(Duration::from_secs(20), site.get("/huge"))
            .await
            .expect("in time");
        assert_eq!((status, body.len()), (200, 3 << 20));
    }
    assert_eq!(site.calls(), 2);
}
