//! Every function that takes a host hands its name on as it was written: one with a dot at its end meets no search
//! domain, `localhost` no name server.

use super::{Says, inside, names_support::*, world};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/resolvers/doors.lua");

#[test]
fn every_door_hands_on_the_name() {
    inside("doors::doors_in_a_namespace");
}

#[test]
#[ignore = "run by every_door_hands_on_the_name, in a network namespace"]
fn doors_in_a_namespace() {
    let Some(world) = world() else { return };
    let conf = "nameserver 127.1.0.1\nsearch s.test\noptions timeout:1 attempts:1\n";
    // Nobody listens at any of these addresses: a name that is found is refused later, without a question.
    let zone: Says = Arc::new(|q: &Asked| {
        vec![match (&*q.name, q.kind) {
            ("short.s.test", A) => q.a([127, 3, 0, 1]),
            ("short.s.test" | "sub.localhost", _) => q.reply(0, &[], &[soa("test", 60)]),
            _ => q.reply(NXDOMAIN, &[], &[soa("test", 60)]),
        }]
    });
    // host, what has to be asked, whether it is found
    let rows: [(&str, &[&str], bool); 5] = [
        ("short.", &["1 short"], false),
        // A guard asks for names as they are written, dot or no dot.
        ("short", &["1 short.s.test"], true),
        ("localhost", &[], true),
        ("localhost.", &[], true),
        ("sub.localhost", &[], true),
    ];
    let mut wrong = String::new();
    for (host, asked, found) in rows {
        world.furnish(conf, std::slice::from_ref(&zone));
        let mut child = Command::new(env!("CARGO_BIN_EXE_caspian-net"))
            .args(["--allow-net", "--allow-listen", "--compat", SCRIPT, host])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (mut stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut count = 0;
        for line in BufReader::new(stdout).lines() {
            let line = line.unwrap();
            let (door, answer) = line.split_once('\t').unwrap_or((&line, ""));
            count += 1;
            let seen = world.take();
            let expected = if door == "guard" && host == "short" { &["1 short"][..] } else { asked };
            // What asked once may know it by now.
            if seen != expected && !(seen.is_empty() && door == "resolve") {
                wrong += &format!("{host} {door}: asked {seen:?}, expected {expected:?} ({answer})\n");
            }
            let lost = ["no such name", "no address", "not known", "failure in name", "host not found"];
            let lost = lost.iter().any(|words| answer.to_lowercase().contains(words));
            if lost == found && !(door == "guard" && host == "short") {
                wrong += &format!("{host} {door}: {answer}\n");
            }
            stdin.write_all(b"\n").unwrap();
        }
        if !ended(child) || count < 27 {
            wrong += &format!("{host}: {count} doors\n");
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

/// A connection that a search domain led to is nothing for the name with the dot.
#[test]
fn the_pool_knows_the_dot() {
    inside("doors::pool_in_a_namespace");
}

#[test]
#[ignore = "run by the_pool_knows_the_dot, in a network namespace"]
fn pool_in_a_namespace() {
    let Some(world) = world() else { return };
    let zone = Arc::new(|q: &Asked| {
        vec![match &*q.name {
            "web.s.test" => q.a([127, 3, 0, 1]),
            "web" => q.a([127, 3, 0, 2]),
            _ => q.reply(NXDOMAIN, &[], &[soa("test", 60)]),
        }]
    });
    world.furnish("nameserver 127.1.0.1\nsearch s.test\n", &[zone]);
    for (address, body) in [("127.3.0.1", "one"), ("127.3.0.2", "two")] {
        let listener = TcpListener::bind((address, 80)).unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                thread::spawn(move || {
                    let mut buffer = [0; 4096];
                    while stream.read(&mut buffer).is_ok_and(|count| count > 0) {
                        let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{body}");
                    }
                });
            }
        });
    }
    let script = "for _, url in ipairs{ 'http://web/', 'http://web./', 'http://web/', 'http://web.:80/' } do \
                  local r = net.fetch(url); io.write(r.body, tostring(r.timings.reused), r.url, ' ') end";
    let out = Command::new(env!("CARGO_BIN_EXE_caspian-net")).args(["--allow-net", "-e", script]).output().unwrap();
    let said = String::from_utf8_lossy(&out.stdout);
    let expected = "onefalsehttp://web/ twofalsehttp://web/ onetruehttp://web/ twotruehttp://web/ ";
    assert_eq!(said, expected, "{}", String::from_utf8_lossy(&out.stderr));
}

fn ended(mut child: Child) -> bool {
    child.wait().unwrap().success()
}
