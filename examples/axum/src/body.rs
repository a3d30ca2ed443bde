//! Bodies out of the store, as they grow.

use std::time::Duration;

use axum::body::{Body, Bytes};
use http_body_util::channel::{Channel, Sender};
use swrcache::engine::{ReadOn, ReplyBody, Serve};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

/// How long one waits for a ring before one looks by oneself.
pub(crate) const UNRUNG: Duration = Duration::from_secs(1);

/// Why a body ends before its end.
#[derive(Debug)]
struct Broken;

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the rest of the body will never come")
    }
}

impl std::error::Error for Broken {}

/// The body of `serve`, and behind it what `rest` brings: what the store did not take.
pub(crate) fn stream(
    reply: ReplyBody,
    serve: Serve,
    rest: Option<mpsc::Receiver<Bytes>>,
    rung: watch::Receiver<()>,
) -> Body {
    let (sender, body) = Channel::<Bytes, Broken>::new(1);
    tokio::spawn(send(sender, (reply, serve), rest, rung));
    Body::new(body)
}

/// Sends on to a client until it has gone away.
async fn send(
    mut to: Sender<Bytes, Broken>,
    (mut reply, serve): (ReplyBody, Serve),
    mut rest: Option<mpsc::Receiver<Bytes>>,
    mut rung: watch::Receiver<()>,
) {
    loop {
        rung.borrow_and_update();
        let bytes = match reply.read_on(&serve) {
            ReadOn::Bytes(bytes) => Bytes::copy_from_slice(bytes),
            ReadOn::End => return,
            ReadOn::Later => {
                // Rung or not, it looks again.
                let _ = timeout(UNRUNG, rung.changed()).await;
                continue;
            }
            ReadOn::Broken => break,
        };
        if to.send_data(bytes).await.is_err() {
            return;
        }
    }
    let mut goes_on = false;
    while let Some(bytes) = rest_of(&mut rest).await {
        goes_on = true;
        if to.send_data(bytes).await.is_err() {
            return;
        }
    }
    if !goes_on {
        to.abort(Broken);
    }
}

async fn rest_of(rest: &mut Option<mpsc::Receiver<Bytes>>) -> Option<Bytes> {
    rest.as_mut()?.recv().await
}
