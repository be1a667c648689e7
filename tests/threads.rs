//! Two Lua states in two threads of one process, each with a grant of its own: a hundred thousand calls between them, and
//! neither ever has what the other was given. Real connections among them: to a server that only one of the two may reach.
#![cfg(feature = "embedded")]
#![allow(clippy::disallowed_methods, reason = "the test is the world outside")]

use mlua::Lua;
use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    sync::{
        Arc, Barrier,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
};

/// Of each thread; eight calls to a round.
const ROUNDS: usize = 7_000;

/// What each state runs. `own` and `other` are the names of the two.
const CODE: &str = r#"
    local own, other, own_port, other_port, rounds = ...
    local caspian = require("caspian.net")
    local net = caspian.launch{ "--allow-net=127.0.0.1:" .. own_port, "--allow-net=" .. own .. ".test" }
    assert(not pcall(caspian.launch, { "--allow-net" }), "launched twice")
    local function refused(class, f, ...)
      local ok, err = pcall(f, ...)
      assert(not ok and err:is("network/" .. class), tostring(err))
    end
    local client = net.http.client.new{ timeout = 5 }
    for round = 1, rounds do
      assert(net.allows(own .. ".test", round % 60000 + 1))
      assert(not net.allows(other .. ".test", round % 60000 + 1))
      refused("host_not_allowed", net.tcp, other .. ".test", 80)
      local less = net.narrow{ "--allow-net" }
      assert(#less.grants() > 0 and not less.allows(other .. ".test", 80))
      if round % 2 == 0 then less.revoke() end
      if round % 25 == 0 then
        refused("port_not_allowed", net.tcp, "127.0.0.1", other_port)
        refused("port_not_allowed", client.get, client, "http://127.0.0.1:" .. other_port .. "/")
        local socket = net.tcp("127.0.0.1", own_port, { timeout = 5 })
        socket:send_all(own .. "\n")
        assert(socket:recv_line() == own .. "\n", "another's answer")
        socket:close()
      end
      if round % 250 == 0 then collectgarbage() end
      assert(net.grants()[1]:find("127.0.0.1:" .. own_port, 1, true))
    end
"#;

/// Answers each line with itself, and counts those that are not `own`.
fn serve(own: &'static str, strangers: Arc<AtomicUsize>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut line = String::new();
            let _ = BufReader::new(&stream).read_line(&mut line);
            if line.trim_end() != own {
                strangers.fetch_add(1, SeqCst);
            }
            let _ = (&stream).write_all(line.as_bytes());
        }
    });
    port
}

fn run(own: &str, other: &str, ports: [u16; 2], start: &Barrier) {
    let lua = Lua::new();
    let package: mlua::Table = lua.globals().get("package").unwrap();
    package.set("path", concat!(env!("CARGO_MANIFEST_DIR"), "/lua/?.lua")).unwrap();
    let core = lua.create_function(|lua, _: mlua::Value| caspian_net::lua::core(lua)).unwrap();
    package.get::<mlua::Table>("preload").unwrap().set("caspian_net", core).unwrap();
    start.wait();
    lua.load(CODE).call::<()>((own, other, ports[0], ports[1], ROUNDS)).unwrap_or_else(|e| panic!("{own}: {e}"));
}

#[test]
fn no_authority_goes_from_one_state_to_another() {
    let strangers = Arc::new(AtomicUsize::new(0));
    let (one, two) = (serve("one", Arc::clone(&strangers)), serve("two", Arc::clone(&strangers)));
    let start = Barrier::new(2);
    thread::scope(|scope| {
        scope.spawn(|| run("one", "two", [one, two], &start));
        scope.spawn(|| run("two", "one", [two, one], &start));
    });
    assert_eq!(strangers.load(SeqCst), 0);
}
