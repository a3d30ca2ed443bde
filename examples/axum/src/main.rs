//! Runs the example: `swrcache-axum PORT`. `/` is fresh for two seconds, and then refreshed where nobody waits.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use axum::http::header;
use axum::routing::get;
use axum::{Router, middleware};
use swrcache_axum::{Edge, cached};

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let port = std::env::args().nth(1).unwrap_or("8080".to_owned());
    let calls = Arc::new(AtomicU64::new(0));
    let page = move || async move {
        let control = "max-age=2, stale-while-revalidate=600";
        let call = calls.fetch_add(1, Relaxed) + 1;
        ([(header::CACHE_CONTROL, control)], format!("call {call}\n"))
    };
    let layer = middleware::from_fn_with_state(Edge::new(64 << 20)?, cached);
    let app = Router::new().route("/", get(page)).layer(layer);
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    axum::serve(listener, app).await
}
