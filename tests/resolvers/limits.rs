//! Look-ups that hang: the system's resolver cannot be called back, so each holds a thread until it ends by itself.

use super::{inside, names_support::NXDOMAIN, net, show, system, world};
use caspian_net::{grants::Grants, net::Net};
use std::{process::Command, sync::Arc, thread};

#[test]
fn what_hangs_for_one_hangs_for_nobody_else() {
    inside("limits::hanging_in_a_namespace");
}

/// What cannot be read now is not taken for what is not there, now or later.
#[test]
fn files_that_cannot_be_read() {
    inside("limits::descriptors_in_a_namespace");
}

#[test]
#[ignore = "run by files_that_cannot_be_read, in a network namespace"]
fn descriptors_in_a_namespace() {
    let Some(world) = world() else { return };
    world.furnish("nameserver 127.1.0.1\n", &[Arc::new(|q| vec![q.reply(NXDOMAIN, &[], &[])])]);
    let script = "local held = {} \
        repeat local ok, s = pcall(net.udp) held[#held + 1] = ok and s or nil until not ok \
        local ok, err = pcall(net.resolve, 'inhosts', { timeout = 5 }) \
        for _, s in ipairs(held) do s:close() end \
        io.write(tostring(ok), ' ', err.class, ' ', table.concat(net.resolve('inhosts', { timeout = 5 }), ' '))";
    let out = Command::new("sh")
        .args([
            "-c",
            "ulimit -n 64; exec \"$0\" \"$@\"",
            env!("CARGO_BIN_EXE_caspian-net"),
            "--allow-net",
            "-e",
            script,
        ])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stdout);
    assert_eq!(said, "false puck.uno/error/network/socket 10.9.9.9", "{}", String::from_utf8_lossy(&out.stderr));
    assert!(world.take().is_empty(), "a name of the hosts file was asked for");
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
    let narrow = |net: &Net| net.narrow(&Grants::parse(&["--allow-net"]).unwrap()).unwrap();
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
