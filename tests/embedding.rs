//! The crate as a host of Lua sees it: what it grants, and errors with their fields.
#![cfg(all(feature = "lua", not(feature = "module")))]

use caspian_net::{Error, Grants, Kind, lua};
use mlua::{Function, Lua, LuaOptions, MultiValue, StdLib, Table, Value};
use std::{cell::RefCell, rc::Rc};

fn state(flags: &[&str]) -> (Lua, Option<Table>) {
    let state = Lua::new();
    let net = lua::launch(&state, Grants::parse(flags).unwrap()).unwrap();
    (state, net)
}

fn function(state: &Lua, code: &str) -> Function {
    state.load(code).into_function().unwrap()
}

/// What `code` raises, with the network as its argument.
fn raised(flags: &[&str], code: &str) -> mlua::Error {
    let (state, net) = state(flags);
    lua::call::<MultiValue>(&state, &function(&state, code), net).expect_err(code)
}

#[test]
fn a_state_gets_what_was_granted_once() {
    assert!(state(&[]).1.is_none());
    let (one, net) = state(&["--allow-net=a.example:443", "--deny-net=private"]);
    let net = net.unwrap();
    let allows = function(
        &one,
        "local net = ... return net.allows('a.example', 443), net.allows('a.example', 80), #net.grants()",
    );
    assert_eq!(lua::call::<(bool, bool, u8)>(&one, &allows, &net).unwrap(), (true, false, 2));
    assert!(one.globals().get::<Value>("net").unwrap().is_nil(), "nobody sees it but the host");

    let again = lua::launch(&one, Grants::parse(&["--allow-net"]).unwrap()).unwrap_err();
    assert!(again.to_string().contains("already launched"), "{again}");
    let script = function(&one, "return require('caspian.net').launch{ '--allow-net' }");
    assert!(lua::call::<Value>(&one, &script, ()).unwrap_err().to_string().contains("already launched"));
    // Another state is another state.
    assert!(state(&["--allow-net"]).1.is_some());
}

#[test]
fn what_a_host_has_narrowed_holds() {
    let grants = Grants::parse(&["--allow-net=a.example,b.example"]).unwrap();
    let grants = grants.narrow(&Grants::parse(&["--allow-net=a.example:1-10"]).unwrap());
    let state = Lua::new();
    let net = lua::launch(&state, grants).unwrap();
    let asked = function(
        &state,
        "local n = ... return n.allows('a.example', 9), n.allows('a.example', 11), n.allows('b.example', 9)",
    );
    assert_eq!(lua::call::<(bool, bool, bool)>(&state, &asked, net).unwrap(), (true, false, false));
}

#[test]
fn errors_of_the_network_keep_their_fields() {
    let closed =
        "local net = ... local l = net.tcp_listen('127.0.0.1', 0) local port = l.local_port l:close() PORT = port ";
    let all = &["--allow-net=127.0.0.1", "--allow-listen=127.0.0.1:0"];
    for (flags, code, kind, op, host) in [
        (
            &["--allow-net=127.0.0.1:9"][..],
            "(...).tcp('a.example', 80)",
            Kind::HostNotAllowed,
            "tcp",
            Some("a.example"),
        ),
        (&["--allow-net=127.0.0.1:9"], "(...).tcp('127.0.0.1', 80)", Kind::PortNotAllowed, "tcp", Some("127.0.0.1")),
        (
            &["--allow-net=127.0.0.1:9"],
            "(...).fetch('http://a.example/p?q')",
            Kind::HostNotAllowed,
            "fetch",
            Some("a.example"),
        ),
        (all, &format!("{closed} net.tcp('127.0.0.1', port)"), Kind::ConnectionRefused, "tcp", Some("127.0.0.1")),
        (
            all,
            &format!("{closed} net.tcp_listen('127.0.0.1', 0):accept{{ timeout = 0 }}"),
            Kind::Timeout,
            "accept",
            Some("127.0.0.1"),
        ),
        // through a pcall and through a coroutine of the script's own
        (
            &["--allow-net=127.0.0.1:9"],
            "local ok, err = pcall((...).tcp, 'a.example', 80) error(err)",
            Kind::HostNotAllowed,
            "tcp",
            Some("a.example"),
        ),
        (
            &["--allow-net=127.0.0.1:9"],
            "local net = ... coroutine.wrap(function() net.tcp('a.example', 80) end)()",
            Kind::HostNotAllowed,
            "tcp",
            Some("a.example"),
        ),
    ] {
        let err = raised(flags, code);
        let err: &Error = err.downcast_ref().unwrap_or_else(|| panic!("{code}: {err}"));
        let fields = err.fields();
        let found = (err.kind(), err.class().ends_with(kind.word()), fields.op.as_deref(), fields.host.as_deref());
        assert_eq!(found, (kind, true, Some(op), host), "{code}: {err:?}");
        assert!(fields.port.is_some() && !fields.message.is_empty(), "{code}: {err:?}");
        assert_eq!(fields.timeout.is_some(), kind == Kind::Timeout, "{code}: {err:?}");
    }
}

#[test]
fn bytes_and_counts_come_along() {
    let (state, net) = state(&["--allow-net=127.0.0.1", "--allow-listen=127.0.0.1:0"]);
    let code = "local net = ... local l = net.tcp_listen('127.0.0.1', 0) local c = net.tcp('127.0.0.1', l.local_port)
        local s = l:accept() c:send_all('ab\\255') c:close() s:recv_exact(9)";
    let err = lua::call::<Value>(&state, &function(&state, code), net).unwrap_err();
    let err: &Error = err.downcast_ref().unwrap();
    assert_eq!((err.kind(), err.fields().partial.as_deref()), (Kind::ConnectionReset, Some(&b"ab\xff"[..])));
}

#[test]
fn errors_that_are_values() {
    let (state, net) = state(&["--allow-net=127.0.0.1:9"]);
    let code = "return (...).fetch_all{ 'http://a.example/', 'http://b.example/' }";
    let results: Vec<Error> = lua::call(&state, &function(&state, code), net).unwrap();
    let hosts: Vec<_> = results.iter().map(|err| (err.kind(), err.fields().host.as_deref())).collect();
    assert_eq!(hosts, [(Kind::HostNotAllowed, Some("a.example")), (Kind::HostNotAllowed, Some("b.example"))]);
    for other in [
        "nil",
        "1",
        "'network/timeout: x'",
        "{}",
        "{ class = 'puck.uno/error/network/timeout', message = 'x' }",
        "print",
    ] {
        let value = state.load(other).eval::<Value>().unwrap();
        assert!(lua::error(&state, &value).is_none(), "{other}");
        assert!(state.load(other).eval::<Error>().is_err(), "{other}");
    }
}

/// Whichever call of mlua it is: mlua has made text of the error.
#[test]
fn errors_of_the_network_are_found_in_those_of_mlua() {
    let flags = &["--allow-net=127.0.0.1:9"];
    let refused = "net.tcp('a.example', 80)";
    let check = |what: &str, state: &Lua, err: mlua::Error| {
        let found = lua::raised(state, &err).unwrap_or_else(|| panic!("{what}: {err:?}"));
        let fields = found.fields();
        let seen = (found.class(), fields.op.as_deref(), fields.host.as_deref(), fields.port);
        assert_eq!(
            seen,
            ("puck.uno/error/network/host_not_allowed", Some("tcp"), Some("a.example"), Some(80)),
            "{what}"
        );
        assert!(fields.message.contains("--allow-net=a.example:80"), "{what}: {}", fields.message);
    };
    let global = || {
        let (state, net) = state(flags);
        state.globals().set("net", net).unwrap();
        state
    };
    let state = global();
    check("exec", &state, state.load(refused).exec().unwrap_err());
    check("eval", &state, state.load(format!("1, {refused}")).eval::<Value>().unwrap_err());
    check("call", &state, function(&state, refused).call::<()>(()).unwrap_err());
    check("lua::call", &state, lua::call::<()>(&state, &function(&state, refused), ()).unwrap_err());
    let thread = state.create_thread(function(&state, refused)).unwrap();
    check("resume", &state, thread.resume::<()>(()).unwrap_err());
    // through callbacks of the host's, whose errors mlua wraps
    let inner = function(&state, refused);
    let callback = state.create_function(move |_, ()| inner.call::<()>(())).unwrap();
    check("a callback", &state, function(&state, "(...)()").call::<()>(callback.clone()).unwrap_err());
    let twice = state.create_function(move |_, ()| callback.call::<()>(())).unwrap();
    check("two callbacks", &state, twice.call::<()>(()).unwrap_err());
    // after others were made text
    state.load("tostring(select(2, pcall(net.tcp, 'b.example', 1)))").exec().unwrap();
    check("after another", &state, state.load(refused).exec().unwrap_err());
    // raised again, later and elsewhere
    state.load(format!("ok, kept = pcall(function() {refused} end)")).exec().unwrap();
    check("raised again", &state, state.load("error(kept)").exec().unwrap_err());

    // What is none.
    let plain = [
        "error('network/timeout: x', 0)",
        "error(tostring(kept) .. '!', 0)",
        "error({})",
        "error()",
        "local x <const> = = 1",
        "net.tcp('a.example', 70000)",
        "error(setmetatable({}, { __tostring = function() return 'told' end }))",
    ];
    for code in plain {
        let err = state.load(code).exec().unwrap_err();
        assert!(lua::raised(&state, &err).is_none(), "{code}: {err}");
    }
    assert!(lua::raised(&state, &mlua::Error::runtime("network/timeout: x")).is_none());
    assert!(lua::raised(&Lua::new(), &mlua::Error::runtime("x")).is_none(), "a state that was never launched");
}

/// Who has the core and no network neither learns of an error nor makes one.
#[test]
fn what_is_told_of_errors_is_the_hosts() {
    let (state, net) = state(&["--allow-net=127.0.0.1:9"]);
    state.globals().set("net", net).unwrap();
    let script = "local core = require('caspian_net')
        core.tell({}, 'x') core.tell(setmetatable({}, { __index = print }), 'x')
        pcall(core.tell) pcall(core.tell, 1, 2)
        assert(core.told == nil)
        error('x', 0)";
    let err = state.load(script).exec().unwrap_err();
    assert!(lua::raised(&state, &err).is_none(), "{err}");
    let again = state.load("net.tcp('a.example', 80)").exec().unwrap_err();
    assert_eq!(lua::raised(&state, &again).map(|err| err.kind()), Some(Kind::HostNotAllowed));
}

/// A host that holds nothing but a function: mlua keeps the state until the call ends, and no longer.
#[test]
#[allow(clippy::disallowed_methods, reason = "asks whether the port is free")]
fn a_state_that_is_dropped_in_a_plain_call_lives_until_it_ends() {
    for raises in [false, true] {
        let (state, net) = state(&["--allow-net=127.0.0.1", "--allow-listen=127.0.0.1:0"]);
        let script = function(
            &state,
            "local net, raises, let_go = ... local l = net.tcp_listen('127.0.0.1', 0) let_go() collectgarbage()
             local c = net.tcp('127.0.0.1', l.local_port) c:send_all('x') local got = l:accept():recv(1)
             if raises then net.tcp('a.example', 80) end
             return got, l.local_port",
        );
        let held = Rc::new(RefCell::new(Some(state.clone())));
        let own = Rc::clone(&held);
        let let_go = state
            .create_function(move |_, ()| {
                drop(own.take());
                Ok(())
            })
            .unwrap();
        let weak = state.weak();
        drop(state);
        let answer = script.call::<(String, u16)>((net.unwrap(), raises, let_go));
        assert!(held.borrow().is_none());
        match answer {
            Ok((got, port)) => {
                assert_eq!((got.as_str(), raises), ("x", false));
                // What it had open is closed with it.
                assert!(weak.try_upgrade().is_none(), "the state is gone");
                drop(std::net::TcpListener::bind(("127.0.0.1", port)).unwrap());
            }
            Err(err) => assert!(raises && err.to_string().contains("network/host_not_allowed"), "{err}"),
        }
    }
}

#[test]
fn other_errors_are_other_errors() {
    for (code, words) in [
        ("error('mine', 0)", "mine"),
        // Lua 5.5 has words of its own for it.
        ("error()", if cfg!(feature = "lua55") { "no error object" } else { "nil" }),
        ("error({})", "table"),
        ("error(setmetatable({}, { __tostring = function() return 'told' end }))", "told"),
        ("error(setmetatable({}, { __tostring = function() error('worse') end }))", "table"),
        ("error(7)", "7"),
        ("(...).tcp('127.0.0.1', 70000)", "port must be 1..65535, got 70000"),
    ] {
        let err = raised(&["--allow-net=127.0.0.1:9"], code);
        assert!(err.downcast_ref::<Error>().is_none() && err.to_string().contains(words), "{code}: {err}");
    }
}

#[test]
fn a_callback_of_the_hosts_ends_with_its_error() {
    let (state, net) = state(&["--allow-net=127.0.0.1:9"]);
    let own = state.clone();
    let inner = function(&state, "(...).tcp('a.example', 80)");
    let callback = state.create_function(move |_, net: Table| lua::call::<()>(&own, &inner, net)).unwrap();
    let outer = function(&state, "local net, callback = ... callback(net)");
    let err = lua::call::<()>(&state, &outer, (net, callback)).unwrap_err();
    assert_eq!(err.downcast_ref::<Error>().map(Error::kind), Some(Kind::HostNotAllowed), "{err}");

    let fails =
        state.create_function(|_, ()| -> mlua::Result<()> { Err(Error::new(Kind::Tls, "own words"))? }).unwrap();
    let err = lua::call::<()>(&state, &fails, ()).unwrap_err();
    assert_eq!(err.downcast_ref::<Error>().map(Error::kind), Some(Kind::Tls), "{err}");
}

#[test]
fn a_script_cannot_get_between() {
    let (state, net) = state(&["--allow-net=127.0.0.1:9"]);
    state
        .load("pcall = function() return true, 'forged' end error = pcall tostring = pcall require = pcall")
        .exec()
        .unwrap();
    let err = lua::call::<Value>(&state, &function(&state, "(...).tcp('a.example', 80)"), net).unwrap_err();
    assert_eq!(err.downcast_ref::<Error>().map(Error::kind), Some(Kind::HostNotAllowed), "{err}");
}

#[test]
fn results_are_what_was_asked_for() {
    let (state, _) = state(&[]);
    let three = function(&state, "return 1, 'two', nil");
    assert_eq!(lua::call::<(u8, String, Option<u8>)>(&state, &three, ()).unwrap(), (1, "two".into(), None));
    assert!(lua::call::<Table>(&state, &three, ()).is_err());
    assert_eq!(
        lua::call::<i64>(&state, &function(&state, "return select('#', ...)"), (1, Value::Nil, 3, Value::Nil)).unwrap(),
        4
    );
}

#[test]
fn grants_are_the_hosts_alone() {
    let state = Lua::new();
    lua::preload(&state).unwrap();
    for given in ["io.stdout", "newproxy and newproxy() or io.stderr", "print", "nil"] {
        let script = function(&state, &format!("return require('caspian.net').launch({given})"));
        let err = lua::call::<Value>(&state, &script, ()).unwrap_err().to_string();
        assert!(err.contains("bad argument #1 to 'launch' (a table of flags expected"), "{given}: {err}");
    }
    // A call that delivers nothing does not seal.
    assert!(lua::launch(&state, Grants::parse(&["--allow-net"]).unwrap()).unwrap().is_some());
}

#[test]
fn parts_that_are_compiled_late_are_the_fronts_own() {
    let (state, net) = state(&["--allow-net=127.0.0.1:9"]);
    // What a script does between the launch and the first use has no say in it.
    let spoilt = "for _, name in ipairs{ 'load', 'loadstring', 'setfenv', 'require', 'error', 'pcall', 'setmetatable' } do _G[name] = nil end
        string.find, string.match, table.concat = nil, nil, nil
        package.preload['caspian.net.http'] = function() SEEN = 'preload' end
        package.loaded['caspian.net.requests'] = { prepare = function() SEEN = 'loaded' end }";
    state.load(spoilt).exec().unwrap();
    let asked = function(
        &state,
        "local net = ... return net.url.parse('http://a.example/b').path, net.http.client.new() ~= nil, SEEN",
    );
    let (path, made, seen) = asked.call::<(String, bool, Value)>(net).unwrap();
    assert_eq!((path.as_str(), made, seen.is_nil()), ("/b", true, true));
}

#[test]
fn a_state_without_package_is_told() {
    let state = Lua::new_with(StdLib::STRING | StdLib::TABLE, LuaOptions::default()).unwrap();
    let err = lua::launch(&state, Grants::parse(&["--allow-net"]).unwrap()).unwrap_err();
    assert!(err.to_string().contains("`package` library"), "{err}");
}

/// The host lets go of its state while a call of it runs.
#[test]
fn a_state_that_is_dropped_meanwhile_lives_until_the_call_ends() {
    let (state, net) = state(&["--allow-net=127.0.0.1", "--allow-listen=127.0.0.1:0"]);
    let script = function(
        &state,
        "local net, let_go = ... local l = net.tcp_listen('127.0.0.1', 0) let_go() collectgarbage()
         local c = net.tcp('127.0.0.1', l.local_port) c:send_all('x') return l:accept():recv(1)",
    );
    let held = Rc::new(RefCell::new(Some(state.clone())));
    let own = Rc::clone(&held);
    let let_go = state
        .create_function(move |_, ()| {
            drop(own.take());
            Ok(())
        })
        .unwrap();
    drop(state);
    let state = held.borrow().clone().unwrap();
    let args = (net, let_go);
    assert_eq!(lua::call::<String>(&state, &script, args).unwrap(), "x");
    assert!(held.borrow().is_none());
}

/// Lua 5.5 has constants where the others have variables: those of loops.
#[test]
fn every_file_of_lua_compiles_on_this_lua() {
    fn walk(dir: &std::path::Path, lua: &Lua, count: &mut usize, wrong: &mut Vec<String>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, lua, count, wrong);
            } else if path.extension().is_some_and(|e| e == "lua") {
                *count += 1;
                let code = lua.load(std::fs::read(&path).unwrap()).set_name(format!("={}", path.display()));
                wrong.extend(code.into_function().err().map(|e| e.to_string()));
            }
        }
    }
    let (lua, mut count, mut wrong) = (Lua::new(), 0, Vec::new());
    walk(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("lua"), &lua, &mut count, &mut wrong);
    assert!(wrong.is_empty() && count > 50, "{count} files: {}", wrong.join("\n"));
}

/// The state's allocator says no while Lua copies what was received: the socket lets go of its buffer, and keeps what is in it.
#[test]
fn a_socket_outlives_a_string_that_there_is_no_memory_for() {
    let (state, net) = state(&["--allow-net=127.0.0.1", "--allow-listen=127.0.0.1:0"]);
    let net = net.unwrap();
    let ready = function(
        &state,
        "local net = ...
         require('caspian.net.compat').install(net)
         local listener = net.tcp_listen('127.0.0.1', 0)
         local sent = ('x'):rep(60000)
         local function pair(client, ...) local server = listener:accept() server:send_all(sent) server:close() return client, ... end
         CORE = pair(net.tcp('127.0.0.1', listener.local_port))
         DROP_IN = pair(require('socket').connect('127.0.0.1', listener.local_port))",
    );
    lua::call::<()>(&state, &ready, &net).unwrap();
    for (name, method) in [("CORE", "recv_exact"), ("DROP_IN", "receive")] {
        let code = format!("return {name}:{method}(...)");
        let read = function(&state, &code);
        assert_eq!(lua::call::<String>(&state, &read, 1).unwrap(), "x");
        // Nothing is left that could be collected for it.
        state.gc_collect().unwrap();
        state.set_memory_limit(state.used_memory() + 20_000).unwrap();
        let refused = lua::call::<String>(&state, &read, 50_000).unwrap_err();
        state.set_memory_limit(0).unwrap();
        assert!(refused.to_string().contains("not enough memory"), "{name}: {refused}");
        assert_eq!(lua::call::<String>(&state, &read, 59_999).unwrap(), "x".repeat(59_999), "{name}");
    }
}
