//! A host that lets a plugin use one API, and nothing else: the plugin sees two functions, the token stays here, and what goes wrong comes
//! back as an error with a class. Run it with `cargo run --example plugin`.

use caspian_net::{Grants, Kind, lua};
use mlua::{Function, Lua, Table, Value};
use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    thread,
};

const TOKEN: &str = "s3cr3t";

/// What the plugin's author wrote. Its globals are `print` and `fetch`.
const PLUGIN: &str = "
    local answer = fetch(API .. '/users/ada').json()
    print('plan: ' .. answer.plan)
    return answer
";

/// The guard, by the host's own Lua: one host, one route, the token on the way out.
const GUARD: &str = "
    local net, port, token = ...
    local guard = net.http.guard{
      rules = {
        host = '127.0.0.1', https_only = false, ports = { port },
        routes = { { path = '/users/:name', methods = 'GET' } },
        middleware = function(ctx, next)
          ctx.req:header('Authorization', 'Bearer ' .. token)
          return next()
        end,
      },
      allow_private = true, -- the API of this example is on loopback
    }
    return guard.fetch
";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port = api()?;
    let state = Lua::new();
    let grants = Grants::parse(&[format!("--allow-net=127.0.0.1:{port}")])?;
    let net = lua::launch(&state, grants)?.ok_or("nothing was granted")?;
    let fetch: Function = state.load(GUARD).call((net, port, TOKEN))?;

    // What the plugin sees is an allowlist: no `require`, no `net`.
    let plugin = |source: &str| -> mlua::Result<Function> {
        let seen = state.create_table()?;
        seen.set("print", state.globals().get::<Function>("print")?)?;
        seen.set("fetch", &fetch)?;
        seen.set("API", format!("http://127.0.0.1:{port}"))?;
        state
            .load(source)
            .set_name("=plugin")
            .set_mode(mlua::chunk::ChunkMode::Text)
            .set_environment(seen)
            .into_function()
    };
    let answer: Table = plugin(PLUGIN)?.call(())?;
    assert_eq!(answer.get::<String>("plan")?, "free");

    // What it must not do is refused, and says what it is.
    for (what, source, kind) in [
        ("another path", "fetch(API .. '/admin')", Kind::RequestNotAllowed),
        ("another method", "fetch(API .. '/users/ada', { method = 'DELETE' })", Kind::RequestNotAllowed),
        ("another host", "fetch('http://example.com/users/ada')", Kind::HostNotAllowed),
    ] {
        let err = plugin(source)?.call::<Value>(()).expect_err(what);
        let err = lua::raised(&state, &err).ok_or("not an error of the network")?;
        println!("{what}: {} ({})", err.class(), err.fields().url.as_deref().unwrap_or("no URL"));
        assert!(err.is(kind), "{what}: {err}");
    }
    // Its own mistakes are Lua's errors.
    let err = plugin("return net.tcp")?.call::<Value>(()).expect_err("there is no net");
    assert!(lua::raised(&state, &err).is_none(), "{err}");
    println!("its own mistake: {}", err.to_string().lines().next().unwrap_or_default());
    Ok(())
}

/// An API for this example: one answer to who has the token.
#[allow(clippy::disallowed_methods, reason = "the other end is not what is shown here")]
fn api() -> std::io::Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let head: Vec<String> = BufReader::new(&stream)
                .lines()
                .map_while(Result::ok)
                .take_while(|line| !line.is_empty())
                .map(|line| line.to_ascii_lowercase())
                .collect();
            let known = head.iter().any(|line| *line == format!("authorization: bearer {TOKEN}"));
            let (status, body) = if known { ("200 OK", "{\"plan\":\"free\"}") } else { ("401 Unauthorized", "{}") };
            let _ = write!(
                &stream,
                "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
        }
    });
    Ok(port)
}
