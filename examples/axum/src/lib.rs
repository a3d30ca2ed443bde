//! A layer of axum that caches what the handlers below it answer, by the engine of swrcache: stale answers at once, refreshed in the
//! background; one call of a handler for any number of requests at the same time; conditional requests and ranges answered from what is
//! stored.
//!
//! ```no_run
//! # async fn serve() -> std::io::Result<()> {
//! use axum::{Router, http::header, middleware, routing::get};
//! use swrcache_axum::{Edge, cached};
//!
//! let edge = Edge::new(64 << 20)?;
//! let page = || async { ([(header::CACHE_CONTROL, "max-age=60, stale-while-revalidate=600")], "hello") };
//! let app = Router::new().route("/", get(page)).layer(middleware::from_fn_with_state(edge, cached));
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
//! axum::serve(listener, app).await
//! # }
//! ```

mod body;

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::response;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use swrcache::engine::{
    self, Cache, Decision, Delivery, Fetch, Invalidation, Order, Policy, ReplyBody, Serve, Turn,
    Wants, key,
};
use swrcache::store::{Region, RegionOptions, WakerId, Wakers};
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{sleep, timeout};

use self::body::UNRUNG;

/// A cache in front of handlers. Cheap to clone.
#[derive(Clone)]
pub struct Edge {
    cache: Cache,
    policy: Arc<Policy>,
    /// Changes when something has moved in the store.
    rung: watch::Receiver<()>,
}

/// What the store rings.
struct Bell(Arc<Wakers>, WakerId);

impl AsRawFd for Bell {
    fn as_raw_fd(&self) -> RawFd {
        self.0.fd(self.1)
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}

impl Edge {
    /// A cache in so many bytes of this process's memory, with every directive as the nginx module has it by default. Call it where tokio
    /// runs.
    pub fn new(size: usize) -> io::Result<Edge> {
        let wakers = Arc::new(Wakers::new(1)?);
        let waker = wakers.claim().ok_or(io::ErrorKind::OutOfMemory)?;
        let bell = Bell(Arc::clone(&wakers), waker);
        let region = Region::private(size, &RegionOptions::default()).map_err(io::Error::other)?;
        region
            .enter(Some((wakers, waker)))
            .map_err(io::Error::other)?;
        Ok(Edge {
            cache: Cache::new(Arc::new(region)),
            policy: Arc::default(),
            // SAFETY: the wakers keep the descriptor open, and the bell keeps the wakers.
            rung: listen(unsafe { AsyncFd::register(bell) }?),
        })
    }

    /// An answer out of the store. To a client that leads a fetch `rest` brings what the store did not take.
    fn answer(
        &self,
        serve: Serve,
        method: &Method,
        rest: Option<mpsc::Receiver<Bytes>>,
    ) -> Response {
        let reply = ReplyBody::new(&serve, method.into());
        let mut response = StatusCode::from_u16(serve.status_code())
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
            .into_response();
        let headers = response.headers_mut();
        reply.head(&serve, headers);
        headers.insert("x-cache", HeaderValue::from_static(serve.status.as_str()));
        *response.body_mut() = body::stream(reply, serve, rest, self.rung.clone());
        response
    }

    /// Carries a fetch out, in a task that outlives the client: what is stored is so for all. Gives back what `client` gets, the request
    /// that leads it.
    async fn lead(&self, fetch: Fetch, asked: Arc<Asked>) -> Response {
        let (answer, answered) = oneshot::channel();
        tokio::spawn(self.clone().carry(fetch, Arc::clone(&asked), Some(answer)));
        match answered.await {
            Ok(response) => response,
            Err(_) => StatusCode::BAD_GATEWAY.into_response(),
        }
    }

    fn decide(&self, asked: &Asked, key: &[u8], turn: Turn) -> Decision {
        let request = engine::Request::new(&asked.parts.method, key, &asked.parts.headers);
        self.cache.decide(&request, &self.policy, turn, now())
    }

    /// The handlers have answered a request with the fields `sent`.
    fn answered(
        &self,
        fetch: &mut Fetch,
        head: &response::Parts,
        sent: &HeaderMap,
        began: u64,
    ) -> Order {
        let response = engine::Response::new(head.status, &head.headers, (began, now()));
        fetch.header(&response, sent, &self.policy, now())
    }

    async fn carry(
        self,
        mut fetch: Fetch,
        asked: Arc<Asked>,
        answer: Option<oneshot::Sender<Response>>,
    ) {
        let (rest, of_rest) = mpsc::channel(1);
        let mut client = Client {
            edge: self.clone(),
            asked: Arc::clone(&asked),
            answer,
            rest: Some(of_rest),
        };
        loop {
            let mut sent = HeaderMap::new();
            fetch.fields(&asked.parts.headers, &mut |name, value| {
                let name = HeaderName::from_bytes(name);
                if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value)) {
                    sent.append(name, value);
                }
            });
            let began = now();
            let (head, mut body) = asked.ask(sent.clone()).await.into_parts();
            match self.answered(&mut fetch, &head, &sent, began) {
                Order::AskAgain => continue,
                Order::Relay(_) => return client.give(Response::from_parts(head, body)),
                Order::HandOver(_) => return client.give(asked.pass().await),
                Order::GatewayTimeout(_) => {
                    client.give(StatusCode::GATEWAY_TIMEOUT.into_response())
                }
                Order::Fail(_) => client.give(Response::from_parts(head, Body::empty())),
                Order::Deliver(brought) => client.deliver(&brought),
                Order::RelayRest(_) | Order::Nothing => {}
            }
            if fetch.wants() == Wants::Store {
                store(&mut fetch, &mut body, &mut client, rest, &self.policy).await;
            }
            return;
        }
    }
}

/// Has a task listen to the bell.
fn listen(bell: AsyncFd<Bell>) -> watch::Receiver<()> {
    let (ring, rung) = watch::channel(());
    tokio::spawn(async move {
        while let Ok(mut ready) =
            tokio::select! { ready = bell.readable() => ready, () = ring.closed() => return }
        {
            let Bell(wakers, waker) = bell.get_ref();
            wakers.drain(*waker);
            ready.clear_ready();
            ring.send_replace(());
        }
    });
    rung
}

/// A client's request without its body, and the handlers below.
struct Asked {
    parts: Parts,
    next: Next,
}

impl Asked {
    /// Asks the handlers, with these fields.
    async fn ask(&self, headers: HeaderMap) -> Response {
        let mut parts = self.parts.clone();
        parts.headers = headers;
        if parts.method == Method::HEAD {
            // It is answered from what a GET brings.
            parts.method = Method::GET;
        }
        let request = Request::from_parts(parts, Body::empty());
        self.next.clone().run(request).await
    }

    /// Asks them as the client does.
    async fn pass(&self) -> Response {
        let request = Request::from_parts(self.parts.clone(), Body::empty());
        self.next.clone().run(request).await
    }
}

/// The client that leads a fetch, if there is one that has not been answered.
struct Client {
    edge: Edge,
    asked: Arc<Asked>,
    answer: Option<oneshot::Sender<Response>>,
    rest: Option<mpsc::Receiver<Bytes>>,
}

impl Client {
    fn give(&mut self, response: Response) {
        if let Some(answer) = self.answer.take() {
            // It may have gone away.
            let _ = answer.send(response);
        }
    }

    fn deliver(&mut self, brought: &Delivery) {
        let edge = &self.edge;
        let parts = &self.asked.parts;
        let key = key_of(parts);
        let request = engine::Request::new(&parts.method, &key, &parts.headers);
        let response = match edge.cache.deliver(brought, &request, &edge.policy, now()) {
            Ok(serve) => edge.answer(serve, &parts.method, self.rest.take()),
            Err(_) => StatusCode::BAD_GATEWAY.into_response(),
        };
        self.give(response);
    }
}

/// Stores a body, or hands over what the store does not take of it.
async fn store(
    fetch: &mut Fetch,
    body: &mut Body,
    client: &mut Client,
    rest: mpsc::Sender<Bytes>,
    policy: &Policy,
) {
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            if let Order::Deliver(stale) = fetch.failed(engine::Failure::Error, None, policy, now())
            {
                client.deliver(&stale);
            }
            return;
        };
        let Ok(bytes) = frame.into_data() else {
            continue;
        };
        if fetch.wants() == Wants::Store {
            let Err(why) = fetch.write(&bytes) else {
                continue;
            };
            // It outgrows the store: first what that has taken, then the rest.
            if let Order::RelayRest(Some(taken)) = fetch.outgrew(why, now()) {
                client.deliver(&taken);
            }
        }
        if fetch.wants() != Wants::Relay || rest.send(bytes).await.is_err() {
            return;
        }
    }
    if let Order::Deliver(brought) = fetch.end(now()) {
        client.deliver(&brought);
    }
}

/// The key of a request: its URL.
fn key_of(parts: &Parts) -> Vec<u8> {
    let host = parts.headers.get(header::HOST);
    let host = host.and_then(|host| host.to_str().ok()).unwrap_or_default();
    key::of_uri("http", host, &parts.uri)
}

/// The layer: `middleware::from_fn_with_state(edge, cached)`.
pub async fn cached(State(edge): State<Edge>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let key = key_of(&parts);
    let mut rung = edge.rung.clone();
    let (mut turn, mut until) = (Turn::First, u64::MAX);
    let asked = Arc::new(Asked { parts, next });
    loop {
        rung.borrow_and_update();
        match edge.decide(&asked, &key, turn) {
            Decision::Serve(mut serve) => {
                if let Some(refresh) = serve.refresh.take() {
                    tokio::spawn(edge.clone().carry(*refresh, Arc::clone(&asked), None));
                }
                return edge.answer(serve, &asked.parts.method, None);
            }
            Decision::Fetch(fetch) => return edge.lead(*fetch, asked).await,
            Decision::GatewayTimeout(_) => return StatusCode::GATEWAY_TIMEOUT.into_response(),
            Decision::Pass(_) => return pass(&edge, &asked, &key, body).await,
            Decision::Wait(wait) => {
                until = until.min(wait.until);
                let left = Duration::from_millis(until.saturating_sub(now()));
                let changed = timeout(left.min(UNRUNG), rung.changed()).await;
                turn = match now() < until {
                    true => Turn::Waited,
                    false => Turn::TimedOut,
                };
                if let Ok(Err(_)) = changed {
                    sleep(Duration::from_millis(20)).await;
                }
            }
        }
    }
}

/// A request that the cache takes no part in, but that may make invalid what is stored (RFC 9111 §4.4).
async fn pass(edge: &Edge, asked: &Asked, key: &[u8], body: Body) -> Response {
    let request = Request::from_parts(asked.parts.clone(), body);
    let response = asked.next.clone().run(request).await;
    let host = asked.parts.headers.get(header::HOST);
    let origin = [
        &b"http://"[..],
        host.map_or(&b""[..], HeaderValue::as_bytes),
    ]
    .concat();
    let target = asked
        .parts
        .uri
        .path_and_query()
        .map_or("", |target| target.as_str());
    let written = Invalidation {
        method: asked.parts.method.as_str().as_bytes(),
        status: response.status().as_u16(),
        key,
        // All keys are made alike.
        recipes: &[],
        origin: &origin,
        target: target.as_bytes(),
        asked: &asked.parts.headers,
        fields: response.headers(),
    };
    let mut removal = edge.cache.invalidate(&written, &edge.policy, now());
    while let Ok(false) = removal.step(u32::MAX) {}
    response
}
