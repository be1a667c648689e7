//! Look-ups that hang: the system's resolver cannot be called back, so each holds a thread until it ends by itself.

use super::{inside, net, show, system, world};
use caspian_net::{grants::Grants, net::Net};
use std::{sync::Arc, thread};

#[test]
fn what_hangs_for_one_hangs_for_nobody_else() {
    inside("limits::hanging_in_a_namespace");
}

/// Asks for names that nobody answers until no more are taken, each with next to no patience. How many were.
fn hang(net: &Net, most: usize) -> usize {
    let asked: Vec<_> = (0..8)
        .map(|turn| {
            let net = net.clone();
            thread::spawn(move || {
                (0..most / 8)
                    .take_while(|n| show(system(&net, &format!("x{turn}-{n}.hang"), 0.001)) == "!timeout")
                    .count()
            })
        })
        .collect();
    asked.into_iter().map(|thread| thread.join().unwrap()).sum()
}

#[test]
#[ignore = "run by what_hangs_for_one_hangs_for_nobody_else, in a network namespace"]
fn hanging_in_a_namespace() {
    let Some(world) = world() else { return };
    world.furnish(
        "nameserver 127.1.0.1\noptions timeout:30 attempts:5\n",
        &[Arc::new(|q| if q.name.ends_with(".hang") { Vec::new() } else { vec![q.a([192, 0, 2, 1])] })],
    );
    let root = net(&["--allow-net"]);
    let narrow = |net: &Net| net.narrow(&Grants::parse(&["--allow-net"]).unwrap());
    let (bad, good) = (narrow(&root), narrow(&root));
    let found = |net: &Net| show(system(net, "web.test", 10.0));
    assert_eq!(hang(&bad, 600), 128);
    assert_eq!(found(&bad), "!dns_failure");
    assert_eq!((found(&good), found(&root)), ("192.0.2.1".into(), "192.0.2.1".into()));
    // Nor by narrowing itself: what it makes shares places with what it made.
    let more: usize = (0..8).map(|_| hang(&narrow(&bad), 120)).sum();
    assert_eq!(more, 256);
    assert_eq!(
        (found(&good), found(&narrow(&good)), found(&root)),
        ("192.0.2.1".into(), "192.0.2.1".into(), "192.0.2.1".into())
    );
    // What needs no resolver goes on where it is full.
    let literal = bad.connect("tcp", &caspian_net::address::Host::parse("192.0.2.7").unwrap(), 80);
    assert!(literal.is_ok());
    assert_eq!(show(system(&bad, "localhost", 10.0)), "127.0.0.1 ::1");
}
