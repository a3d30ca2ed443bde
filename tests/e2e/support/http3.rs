//! An HTTP/3 client: one connection, and many requests on it at a time.

use std::future::poll_fn;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use h3::client::{RequestStream, SendRequest};
use h3_quinn::{BidiStream, OpenStreams};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Endpoint};
use tokio::runtime::Runtime;
use tokio::time::timeout;

use super::tls::Identity;
use super::{PATIENCE, Response};

/// A connection, which is at work only while a request is.
pub(crate) struct Http3 {
    runtime: Runtime,
    endpoint: Endpoint,
    requests: SendRequest<OpenStreams, Bytes>,
    addr: SocketAddr,
}

impl Http3 {
    pub(crate) fn connect(addr: SocketAddr, identity: &Identity) -> Http3 {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let mut tls = identity.client();
        Arc::make_mut(&mut tls).alpn_protocols = vec![b"h3".to_vec()];
        let config = QuicClientConfig::try_from(tls).expect("TLS 1.3");
        let connecting = async {
            let mut endpoint = Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).expect("a socket");
            endpoint.set_default_client_config(ClientConfig::new(Arc::new(config)));
            let connection = endpoint.connect(addr, "localhost").expect("a connection");
            let connection = timeout(PATIENCE, connection).await.expect("in time");
            let connection = connection.expect("nginx answers");
            // nginx 1.28 takes a reserved frame at the end of a request for an error (RFC 9114 §7.2.8).
            let mut h3 = h3::client::builder();
            let h3 = h3.send_grease(false);
            let h3 = h3.build(h3_quinn::Connection::new(connection));
            let (mut driver, requests) = h3.await.expect("HTTP/3");
            tokio::spawn(async move { poll_fn(|cx| driver.poll_close(cx)).await });
            (endpoint, requests)
        };
        let (endpoint, requests) = runtime.block_on(connecting);
        Http3 {
            runtime,
            endpoint,
            requests,
            addr,
        }
    }

    pub(crate) fn get(&mut self, path: &str, fields: &[(&str, &str)]) -> Response {
        let asked = ask(self.requests.clone(), self.addr, path, fields);
        self.runtime.block_on(async { whole(asked.await).await })
    }

    /// The interim responses that came first, and the final one.
    pub(crate) fn get_with_interim(&mut self, path: &str) -> (Vec<Response>, Response) {
        let asked = ask(self.requests.clone(), self.addr, path, &[]);
        let read = async {
            let mut stream = asked.await;
            let mut interim = Vec::new();
            loop {
                let head = head_of(&mut stream).await;
                if head.status >= 200 {
                    return (interim, body_of(stream, head).await);
                }
                interim.push(head);
            }
        };
        let read = async { timeout(PATIENCE, read).await.expect("an answer in time") };
        self.runtime.block_on(read)
    }

    /// Asks for it on so many streams at once.
    pub(crate) fn get_many(&mut self, count: usize, path: &'static str) -> Vec<Response> {
        let (requests, addr) = (&self.requests, self.addr);
        self.runtime.block_on(async {
            let streams = (0..count).map(|_| {
                let requests = requests.clone();
                tokio::spawn(async move { whole(ask(requests, addr, path, &[]).await).await })
            });
            let mut responses = Vec::new();
            for stream in streams.collect::<Vec<_>>() {
                responses.push(stream.await.expect("an answer"));
            }
            responses
        })
    }

    /// Asks for it, and wants no more when `is_asked` says so, before there is an answer.
    pub(crate) fn refuse(&mut self, path: &str, is_asked: impl Fn() -> bool) {
        let asked = ask(self.requests.clone(), self.addr, path, &[]);
        self.runtime.block_on(async {
            let mut stream = asked.await;
            let wait = async {
                while !is_asked() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            timeout(PATIENCE, wait).await.expect("it is asked for");
            stream.stop_sending(h3::error::Code::H3_REQUEST_CANCELLED);
            tokio::time::sleep(Duration::from_millis(50)).await;
        });
    }

    /// Asks for it, and gives up the stream when the header has come.
    pub(crate) fn give_up(&mut self, path: &str) {
        let asked = ask(self.requests.clone(), self.addr, path, &[]);
        self.runtime.block_on(async {
            let mut stream = asked.await;
            let head = timeout(PATIENCE, stream.recv_response()).await;
            head.expect("in time").expect("a header");
            stream.stop_sending(h3::error::Code::H3_REQUEST_CANCELLED);
        });
    }
}

impl Drop for Http3 {
    /// Closes the connection, whatever is under way on it, and has nginx know: it would wait for it at its end.
    fn drop(&mut self) {
        self.endpoint.close(0x100_u32.into(), b"");
        let told = async { timeout(PATIENCE, self.endpoint.wait_idle()).await };
        let _ = self.runtime.block_on(told);
    }
}

type Stream = RequestStream<BidiStream<Bytes>, Bytes>;

async fn ask(
    mut requests: SendRequest<OpenStreams, Bytes>,
    addr: SocketAddr,
    path: &str,
    fields: &[(&str, &str)],
) -> Stream {
    let mut request = http::Request::get(format!("https://localhost:{}{path}", addr.port()));
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let request = request.body(()).expect("a request");
    let mut stream = requests.send_request(request).await.expect("a stream");
    stream.finish().await.expect("sent");
    stream
}

async fn whole(mut stream: Stream) -> Response {
    let read = async {
        let head = head_of(&mut stream).await;
        body_of(stream, head).await
    };
    timeout(PATIENCE, read).await.expect("an answer in time")
}

async fn head_of(stream: &mut Stream) -> Response {
    let sent = Instant::now();
    let head = stream.recv_response().await.expect("a header");
    let mut response = Response {
        version: 3,
        status: head.status().as_u16(),
        first: sent.elapsed(),
        ..Response::default()
    };
    for (name, value) in head.headers() {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        response.headers.push((name.to_string(), value));
    }
    response
}

async fn body_of(mut stream: Stream, mut response: Response) -> Response {
    let since = Instant::now();
    loop {
        match stream.recv_data().await {
            Ok(Some(mut data)) => response.body.extend(data.copy_to_bytes(data.remaining())),
            Ok(None) => break,
            Err(e) => {
                response.broken = Some(e.to_string());
                break;
            }
        }
    }
    response.total = response.first + since.elapsed();
    response
}
