//! Many fetches at once, and how they are stopped. In a process of its own: an interrupt is the whole process's.

#![allow(clippy::disallowed_methods, reason = "the tests are the world outside")]

use caspian_net::{
    client::{
        Fetch, Options,
        batch::{Limits, gather},
        pool::Pool,
        stream::Stream,
    },
    deadline,
    error::Kind,
    grants::Grants,
    http::{
        request::{Method, Request},
        url::HttpUrl,
    },
    net::Net,
};
use std::{
    net::TcpListener,
    thread,
    time::{Duration, Instant},
};

#[test]
fn an_interrupt_ends_them_all() {
    // Accepts, by its backlog, and never says a word.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://127.0.0.1:{}/", listener.local_addr().unwrap().port());
    let net = Net::new(Grants::parse(&["--allow-net=127.0.0.1"]).unwrap()).unwrap();
    let pool = Pool::new();
    let fetch = || {
        let request = Request::new(Method::GET, HttpUrl::parse(&url).unwrap(), None);
        Stream::new(Fetch::new(&net, &pool, request, None, Options::default()))
    };
    let mut streams: Vec<_> = (0..20).map(|_| fetch()).collect();
    let started = Instant::now();
    let stop = thread::spawn(|| {
        thread::sleep(Duration::from_millis(100));
        deadline::interrupt();
    });
    let err = gather(streams.iter_mut().collect(), &Limits::default()).unwrap_err();
    stop.join().unwrap();
    assert_eq!(err.kind(), Kind::Interrupted);
    assert!(err.fields().message.contains("interrupted"), "{err:?}");
    assert!(started.elapsed() < Duration::from_secs(3));
    assert!(!deadline::take_interrupt(), "it was told");
}
