//! Zones of link-local addresses, in a network namespace with two interfaces whose neighbours have the same address: only
//! the zone tells one from the other. The scripts (`zones/`) speak with them over raw sockets and over the drop-in; the
//! drop-in's answers are compared with the original's, where LuaSocket is installed.
//!
//! Needs Linux, `unshare` and `ip`, and to be root or to be allowed namespaces of users; says so where it is not.
#![cfg(all(feature = "embedded", target_os = "linux"))]
#![allow(clippy::disallowed_methods, reason = "the test is the world outside")]

#[path = "zones/neighbour.rs"]
mod neighbour;

use neighbour::NEIGHBOUR;
use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, Command, Stdio},
};

const RAW: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/zones/raw.lua");
const DROPIN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/zones/dropin.lua");
/// Says to the test that it is inside.
const INSIDE: &str = "CASPIAN_NET_ZONES";

fn say(words: &str) {
    // Past the harness, which keeps what a test that passes says to itself.
    std::io::stderr().write_all(words.as_bytes()).unwrap();
}

/// Runs [`inside`] in a namespace of its own.
#[test]
fn zones_lead_to_the_right_interface() {
    let root = Command::new("id").arg("-u").output().is_ok_and(|out| out.stdout == b"0\n");
    let mut unshare: Vec<&str> = vec!["--net", "--kill-child"];
    if !root {
        unshare.push("--map-root-user");
    }
    let probe = Command::new("unshare")
        .args(&unshare)
        .args(["sh", "-c", "ip link add eth0 type veth peer name up0 && ip addr add fe80::1/64 dev eth0 nodad"])
        .output();
    if !probe.as_ref().is_ok_and(|out| out.status.success()) {
        let why = probe.map_or_else(|e| e.to_string(), |out| String::from_utf8_lossy(&out.stderr).trim().to_owned());
        say(&format!("SKIPPED zones_lead_to_the_right_interface: no interfaces can be made here ({why})\n"));
        return;
    }
    let inside = Command::new("unshare")
        .args(&unshare)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "inside", "--ignored", "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&inside.stdout) + String::from_utf8_lossy(&inside.stderr);
    assert!(inside.status.success(), "{said}");
    assert!(said.contains(" checks of zones"), "nothing was run: {said}");
}

fn sh(script: &str) {
    let out = Command::new("sh").args(["-ec", script]).output().unwrap();
    assert!(out.status.success(), "{script}: {}", String::from_utf8_lossy(&out.stderr));
}

/// A machine at the other end of `eth0` or `eth1`, in a network namespace of its own.
struct Neighbour(Child);

impl Neighbour {
    fn start(number: usize) -> Neighbour {
        let mut child = Command::new("unshare")
            .arg("--net")
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "neighbour", "--ignored", "--nocapture"])
            .env(NEIGHBOUR, (number + 1).to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (pid, mut said) = (child.id(), BufReader::new(child.stdout.take().unwrap()).lines());
        let mut expect = |word: &str| assert!(said.any(|line| line.unwrap().contains(word)), "a neighbour died");
        expect("HERE");
        sh(&format!(
            "ip link add eth{number} type veth peer name up{number}
             ip link set eth{number} addrgenmode none
             ip link set up{number} netns {pid} name wire
             ip addr add fe80::1/64 dev eth{number} nodad
             ip addr add 10.9.{number}.1/24 brd + dev eth{number}
             ip link set eth{number} up"
        ));
        child.stdin.as_mut().unwrap().write_all(b"wired\n").unwrap();
        expect("SERVING");
        Neighbour(child)
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Not a test of its own: what [`zones_lead_to_the_right_interface`] runs in the namespace.
#[test]
#[ignore = "run by zones_lead_to_the_right_interface, in a network namespace"]
fn inside() {
    if std::env::var_os(INSIDE).is_none() {
        return;
    }
    sh("ip link set lo up");
    let _neighbours = [0, 1].map(Neighbour::start);
    let index = |name: &str| {
        let told = Command::new("ip").args(["-o", "link", "show", "dev", name]).output().unwrap();
        String::from_utf8(told.stdout).unwrap().split(':').next().unwrap().to_owned()
    };
    let indices = [index("eth0"), index("eth1")];

    let run = |command: &mut Command, script: &str| {
        let out = command.arg(script).args(&indices).output().unwrap();
        let said = String::from_utf8_lossy(&out.stdout) + String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "{script}: {said}");
        said.into_owned()
    };
    let launcher = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_caspian-net"));
        command.args(["--allow-net", "--allow-listen"]);
        command
    };
    say(&run(&mut launcher(), RAW));

    let mine = run(launcher().arg("--compat"), DROPIN);
    assert!(mine.contains("done"), "{mine}");
    let original = Command::new("lua5.4").args(["-e", "require 'socket'"]).output();
    match original.is_ok_and(|out| out.status.success()) {
        true => assert_eq!(mine, run(&mut Command::new("lua5.4"), DROPIN), "the drop-in, and the original"),
        false => say("SKIPPED the original: LuaSocket is not installed for lua5.4\n"),
    }
}

/// Not a test of its own: a neighbour, in a network namespace of its own.
#[test]
#[ignore = "run by zones_lead_to_the_right_interface, as a neighbour"]
fn neighbour() {
    if let Ok(number) = std::env::var(NEIGHBOUR) {
        neighbour::serve(&number);
    }
}
