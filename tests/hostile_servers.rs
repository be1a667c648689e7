//! What hostile servers do, as a table: bytes and pauses of scripted servers on loopback, what the client is asked, what
//! must come of it, and what the servers must (not) have seen. Rows are numbered by subject:
//!
//! | | | where |
//! |---|---|---|
//! | A | redirects and credentials | `hostile/redirects.rs`; which addresses a name may have (17): `layers.rs` |
//! | B | framing and smuggling | `hostile/framing.rs`; without sockets, cut in every way: `http_framing.rs` |
//! | C | the pool | `hostile/pool.rs`, [`many_idle_hosts`]; forks and collected sockets (49): `spec/life_spec.lua` |
//! | D | time | `hostile/time.rs`, [`an_address_that_does_not_answer`]; a silent name server (52): `names/` |
//! | E | memory and decoding | `hostile/memory.rs`, `hostile/json.rs`, `hostile/codings.rs`, `src/http/decode/tests.rs` |
//! | F | cookies | `hostile/identity.rs`, `src/http/cookies/tests.rs` |
//! | G | proxies and credentials | `http_proxy.rs`, `hostile/identity.rs`, `src/http/auth/tests.rs` |
//! | H | the request's side | `hostile/requests.rs`; multipart (79): `src/http/multipart.rs` |
//! | I | URLs | `hostile/requests.rs`, `src/http/url.rs`, `grants/cases.rs` |
//! | J | WebSockets, Server-Sent Events | `websocket/`, `src/client/websocket.rs`; `hostile/events.rs`, `src/http/events.rs` |
//!
//! Every row has a deadline; several run at a time.

#![allow(clippy::disallowed_methods, reason = "the tests are the world outside")]

#[path = "hostile/codings.rs"]
mod codings;
#[path = "hostile/cuts.rs"]
mod cuts;
#[path = "hostile/events.rs"]
mod events;
#[path = "hostile/framing.rs"]
mod framing;
mod http_support;
#[path = "hostile/identity.rs"]
mod identity;
#[path = "hostile/json.rs"]
mod json;
#[path = "hostile/memory.rs"]
mod memory;
#[path = "hostile/pool.rs"]
mod pool;
#[path = "hostile/redirects.rs"]
mod redirects;
#[path = "hostile/requests.rs"]
mod requests;
#[path = "hostile/row.rs"]
mod row;
#[path = "hostile/server.rs"]
mod server;
#[path = "hostile/time.rs"]
mod time;
mod tls_support;

use caspian_net::{
    address::{Endpoint, Host},
    client::{Fetch, pool::Pool},
    deadline::Deadline,
    error::Kind,
    grants::Grants,
    http::{
        request::{Method, Request},
        url::HttpUrl,
    },
    net::Net,
    wire::Wire,
};
use socket2::{Domain, Socket, Type};
use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

#[test]
fn redirects_and_credentials() {
    row::run(redirects::rows());
}

#[test]
fn framing_and_smuggling() {
    row::run(framing::rows());
}

#[test]
fn the_pool() {
    row::run(pool::rows());
}

#[test]
fn time_is_kept() {
    row::run(time::rows());
}

#[test]
fn requests_and_urls() {
    row::run(requests::rows());
}

#[test]
fn codings_of_bodies() {
    row::run(codings::rows());
}

#[test]
fn cookies_and_credentials() {
    row::run(identity::rows());
}

#[test]
fn event_streams() {
    events::run();
}

#[test]
fn json_texts() {
    json::run();
}

#[test]
fn answers_cut_at_every_byte() {
    cuts::run();
}

#[test]
fn memory_is_bounded() {
    memory::run();
}

/// Not a test of its own: what [`memory_is_bounded`] runs in another process.
#[test]
fn memory_child() {
    memory::child();
}

/// D50: nobody answers. The queue of a listener that accepts nothing is full, so it drops what else knocks.
#[test]
fn an_address_that_does_not_answer() {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(0).unwrap();
    let port = socket.local_addr().unwrap().as_socket().unwrap().port();
    let knocks: Vec<_> = (0..3)
        .map(|_| {
            let knock = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            knock.set_nonblocking(true).unwrap();
            let _ = knock.connect(&SocketAddr::from(([127, 0, 0, 1], port)).into());
            knock
        })
        .collect();
    let net = Net::new(Grants::parse(&["--allow-net"]).unwrap()).unwrap();
    let request = Request::new(Method::GET, HttpUrl::parse(&format!("http://a.test:{port}/")).unwrap(), None);
    let mut options = row::defaults([port; 2]);
    options.connect_timeout = Some(ms(200));
    let started = Instant::now();
    let failed = Fetch::new(&net, &Pool::new(), request, None, options).step().unwrap_err();
    assert_eq!(failed.kind(), Kind::Timeout, "{failed}");
    assert!(started.elapsed() >= ms(200) && started.elapsed() < ms(3000));

    // Where there is another address, it is tried soon.
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.bind(&SocketAddr::from(([127, 0, 0, 2], port)).into()).unwrap();
    listener.listen(1).unwrap();
    let host = Host::parse("a.test").unwrap();
    let granted = net.connect("tcp", &host, port).unwrap();
    let both = net.permit("tcp", &granted, &[[127, 0, 0, 1].into(), [127, 0, 0, 2].into()]).unwrap();
    let wire = Wire::connect("a.test", &both, None, &Deadline::after(ms(3000))).unwrap();
    assert_eq!(wire.remote().unwrap().ip(), IpAddr::from([127, 0, 0, 2]));
    drop(knocks);
}

/// C49: idle connections to many hosts are not kept without end, and none outlives the pool.
#[test]
fn many_idle_hosts() {
    const HOSTS: usize = 140;
    let bound = server::Bound::new();
    let port = bound.port;
    let scripts = vec![row::ok("x"); HOSTS];
    let server = server::Server::run(bound, server::Below::Plain, scripts, [port; 2]);
    let net = Net::new(Grants::parse(&["--allow-net"]).unwrap()).unwrap();
    let pool = Pool::new();
    for at in 0..HOSTS {
        let name = format!("n{at}.test:{port}");
        let request = Request::new(Method::GET, HttpUrl::parse(&format!("http://{name}/")).unwrap(), None);
        let mut options = row::defaults([port; 2]);
        options.resolve = vec![(Endpoint::parse(&name).unwrap(), [127, 0, 0, 1].into())];
        let mut fetch = Fetch::new(&net, &pool, request, None, options);
        fetch.step().unwrap();
        assert_eq!(fetch.body().unwrap(), b"x");
    }
    assert!(pool.len() <= 128 && pool.len() > 64, "{} are idle", pool.len());
    pool.close();
    assert!(pool.is_empty());
    // The servers' threads end when their connections do.
    drop(server);
}
