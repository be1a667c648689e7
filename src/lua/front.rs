//! The front inside the crate: the files of `lua/` that make `%net`, for a host without the files. A test walks `lua/`
//! and checks that none is missing.

use super::{core, host};
use mlua::{Function, Lua, LuaString, Table, Value};

/// Module names and their sources, in the order of the tree; without what the launcher alone needs, and without `meta.lua`, which
/// is types for editors.
pub const MODULES: &[(&str, &str)] = &[
    ("caspian.net", include_str!("../../lua/caspian/net.lua")),
    ("caspian.net.args", include_str!("../../lua/caspian/net/args.lua")),
    ("caspian.net.capability", include_str!("../../lua/caspian/net/capability.lua")),
    ("caspian.net.codec", include_str!("../../lua/caspian/net/codec.lua")),
    ("caspian.net.compat", include_str!("../../lua/caspian/net/compat.lua")),
    ("caspian.net.compat.alpn", include_str!("../../lua/caspian/net/compat/alpn.lua")),
    ("caspian.net.compat.callables", include_str!("../../lua/caspian/net/compat/callables.lua")),
    ("caspian.net.compat.dns", include_str!("../../lua/caspian/net/compat/dns.lua")),
    ("caspian.net.compat.ftp", include_str!("../../lua/caspian/net/compat/ftp.lua")),
    ("caspian.net.compat.headers", include_str!("../../lua/caspian/net/compat/headers.lua")),
    ("caspian.net.compat.http", include_str!("../../lua/caspian/net/compat/http.lua")),
    ("caspian.net.compat.https", include_str!("../../lua/caspian/net/compat/https.lua")),
    ("caspian.net.compat.install", include_str!("../../lua/caspian/net/compat/install.lua")),
    ("caspian.net.compat.ltn12", include_str!("../../lua/caspian/net/compat/ltn12.lua")),
    ("caspian.net.compat.message", include_str!("../../lua/caspian/net/compat/message.lua")),
    ("caspian.net.compat.mime", include_str!("../../lua/caspian/net/compat/mime.lua")),
    ("caspian.net.compat.modules", include_str!("../../lua/caspian/net/compat/modules.lua")),
    ("caspian.net.compat.secure", include_str!("../../lua/caspian/net/compat/secure.lua")),
    ("caspian.net.compat.smtp", include_str!("../../lua/caspian/net/compat/smtp.lua")),
    ("caspian.net.compat.socket", include_str!("../../lua/caspian/net/compat/socket.lua")),
    ("caspian.net.compat.ssl", include_str!("../../lua/caspian/net/compat/ssl.lua")),
    ("caspian.net.compat.ssl_checks", include_str!("../../lua/caspian/net/compat/ssl_checks.lua")),
    ("caspian.net.compat.ssl_config", include_str!("../../lua/caspian/net/compat/ssl_config.lua")),
    ("caspian.net.compat.ssl_context", include_str!("../../lua/caspian/net/compat/ssl_context.lua")),
    ("caspian.net.compat.ssl_core", include_str!("../../lua/caspian/net/compat/ssl_core.lua")),
    ("caspian.net.compat.ssl_x509", include_str!("../../lua/caspian/net/compat/ssl_x509.lua")),
    ("caspian.net.compat.tp", include_str!("../../lua/caspian/net/compat/tp.lua")),
    ("caspian.net.compat.unix", include_str!("../../lua/caspian/net/compat/unix.lua")),
    ("caspian.net.compat.url", include_str!("../../lua/caspian/net/compat/url.lua")),
    ("caspian.net.dates", include_str!("../../lua/caspian/net/dates.lua")),
    ("caspian.net.error_methods", include_str!("../../lua/caspian/net/error_methods.lua")),
    ("caspian.net.errors", include_str!("../../lua/caspian/net/errors.lua")),
    ("caspian.net.events", include_str!("../../lua/caspian/net/events.lua")),
    ("caspian.net.files", include_str!("../../lua/caspian/net/files.lua")),
    ("caspian.net.ftp", include_str!("../../lua/caspian/net/ftp.lua")),
    ("caspian.net.ftp.data", include_str!("../../lua/caspian/net/ftp/data.lua")),
    ("caspian.net.ftp.listing", include_str!("../../lua/caspian/net/ftp/listing.lua")),
    ("caspian.net.ftp.replies", include_str!("../../lua/caspian/net/ftp/replies.lua")),
    ("caspian.net.guard", include_str!("../../lua/caspian/net/guard.lua")),
    ("caspian.net.guarded", include_str!("../../lua/caspian/net/guarded.lua")),
    ("caspian.net.har", include_str!("../../lua/caspian/net/har.lua")),
    ("caspian.net.hints", include_str!("../../lua/caspian/net/hints.lua")),
    ("caspian.net.http", include_str!("../../lua/caspian/net/http.lua")),
    ("caspian.net.identity", include_str!("../../lua/caspian/net/identity.lua")),
    ("caspian.net.lazy", include_str!("../../lua/caspian/net/lazy.lua")),
    ("caspian.net.mail", include_str!("../../lua/caspian/net/mail.lua")),
    ("caspian.net.mail.channel", include_str!("../../lua/caspian/net/mail/channel.lua")),
    ("caspian.net.mail.client", include_str!("../../lua/caspian/net/mail/client.lua")),
    ("caspian.net.mail.imap", include_str!("../../lua/caspian/net/mail/imap.lua")),
    ("caspian.net.mail.imap.arguments", include_str!("../../lua/caspian/net/mail/imap/arguments.lua")),
    ("caspian.net.mail.imap.commands", include_str!("../../lua/caspian/net/mail/imap/commands.lua")),
    ("caspian.net.mail.imap.messages", include_str!("../../lua/caspian/net/mail/imap/messages.lua")),
    ("caspian.net.mail.message", include_str!("../../lua/caspian/net/mail/message.lua")),
    ("caspian.net.mail.opening", include_str!("../../lua/caspian/net/mail/opening.lua")),
    ("caspian.net.mail.pop3", include_str!("../../lua/caspian/net/mail/pop3.lua")),
    ("caspian.net.mail.sasl", include_str!("../../lua/caspian/net/mail/sasl.lua")),
    ("caspian.net.mail.smtp", include_str!("../../lua/caspian/net/mail/smtp.lua")),
    ("caspian.net.methods", include_str!("../../lua/caspian/net/methods.lua")),
    ("caspian.net.middleware", include_str!("../../lua/caspian/net/middleware.lua")),
    ("caspian.net.names", include_str!("../../lua/caspian/net/names.lua")),
    ("caspian.net.objects", include_str!("../../lua/caspian/net/objects.lua")),
    ("caspian.net.opening", include_str!("../../lua/caspian/net/opening.lua")),
    ("caspian.net.pairs", include_str!("../../lua/caspian/net/pairs.lua")),
    ("caspian.net.pure", include_str!("../../lua/caspian/net/pure.lua")),
    ("caspian.net.requests", include_str!("../../lua/caspian/net/requests.lua")),
    ("caspian.net.responses", include_str!("../../lua/caspian/net/responses.lua")),
    ("caspian.net.sammy", include_str!("../../lua/caspian/net/sammy.lua")),
    ("caspian.net.sammy.chain", include_str!("../../lua/caspian/net/sammy/chain.lua")),
    ("caspian.net.sammy.csrf", include_str!("../../lua/caspian/net/sammy/csrf.lua")),
    ("caspian.net.sammy.patterns", include_str!("../../lua/caspian/net/sammy/patterns.lua")),
    ("caspian.net.sammy.response", include_str!("../../lua/caspian/net/sammy/response.lua")),
    ("caspian.net.sammy.sessions", include_str!("../../lua/caspian/net/sammy/sessions.lua")),
    ("caspian.net.sammy.static", include_str!("../../lua/caspian/net/sammy/static.lua")),
    ("caspian.net.sandbox", include_str!("../../lua/caspian/net/sandbox.lua")),
    ("caspian.net.server", include_str!("../../lua/caspian/net/server.lua")),
    ("caspian.net.server_answers", include_str!("../../lua/caspian/net/server_answers.lua")),
    ("caspian.net.server_events", include_str!("../../lua/caspian/net/server_events.lua")),
    ("caspian.net.server_form", include_str!("../../lua/caspian/net/server_form.lua")),
    ("caspian.net.server_objects", include_str!("../../lua/caspian/net/server_objects.lua")),
    ("caspian.net.server_request", include_str!("../../lua/caspian/net/server_request.lua")),
    ("caspian.net.sockets", include_str!("../../lua/caspian/net/sockets.lua")),
    ("caspian.net.uds", include_str!("../../lua/caspian/net/uds.lua")),
    ("caspian.net.websocket", include_str!("../../lua/caspian/net/websocket.lua")),
    ("caspian.net.within", include_str!("../../lua/caspian/net/within.lua")),
];

/// The name under which the state's own `pcall` is kept, as it was before a script could replace it.
const PCALL: &str = "caspian.net.pcall";

/// Makes `require("caspian.net")` and the other modules of the front work in this state, without a file: fills
/// `package.preload`. Grants nothing. The state needs the `package` library, and its own `require`.
///
/// # Errors
///
/// Where the state has no `package` library, or no memory.
pub fn preload(lua: &Lua) -> mlua::Result<()> {
    let preload = fill(lua)?;
    let native = |lua: &Lua, _: Value| {
        let core = core(lua)?;
        host::listen(lua, &core)?;
        Ok(core)
    };
    preload.raw_set("caspian_net", lua.create_function(native)?)?;
    lua.set_named_registry_value(PCALL, lua.globals().raw_get::<Function>("pcall")?)
}

/// Puts the front into `package.preload`, which it answers.
pub(super) fn fill(lua: &Lua) -> mlua::Result<Table> {
    let Some(package) = lua.globals().raw_get::<Option<Table>>("package")? else {
        return Err(mlua::Error::runtime("the Lua state has no `package` library (mlua::StdLib::PACKAGE)"));
    };
    let preload: Table = package.raw_get("preload")?;
    modules(lua, &preload, MODULES)?;
    Ok(preload)
}

/// Puts modules into `package.preload`.
#[doc(hidden)]
pub fn modules(lua: &Lua, preload: &Table, list: &'static [(&'static str, &'static str)]) -> mlua::Result<()> {
    for (name, text) in list {
        let load = move |lua: &Lua, name: LuaString| {
            let chunk = lua.load(*text).set_name(format!("=[{}]", name.to_string_lossy()));
            // Most of the front is compiled when it is first asked for.
            let compile = if name == LAZY { Some(lua.create_function(compile)?) } else { None };
            chunk.call::<Value>((name, compile))
        };
        preload.raw_set(*name, lua.create_function(load)?)?;
    }
    Ok(())
}

/// The module that has others compiled when they are asked for: by [`compile`], where their text is in here.
const LAZY: &str = "caspian.net.lazy";

/// compile(name, env) -> the chunk of a module of the front, whose globals are those of `env`. Needs no `load`, which a host may have
/// taken away.
fn compile(lua: &Lua, (name, env): (LuaString, Table)) -> mlua::Result<Function> {
    let name = name.to_string_lossy();
    let known = MODULES.iter().find(|(each, _)| *each == name);
    let (_, text) = known.ok_or_else(|| mlua::Error::runtime(format!("{name} is no part of the front")))?;
    lua.load(*text).set_name(format!("=[{name}]")).set_environment(env).into_function()
}

/// The state's `pcall`.
pub fn pcall(lua: &Lua) -> mlua::Result<Function> {
    match lua.named_registry_value(PCALL)? {
        Some(pcall) => Ok(pcall),
        None => lua.globals().raw_get("pcall"),
    }
}

#[cfg(test)]
mod tests {
    use super::MODULES;
    use std::{fs, path::Path};

    /// What src/launcher/embedded.rs has.
    const LAUNCHER: &[&str] =
        &["caspian.net.completion", "caspian.net.inspect", "caspian.net.launcher", "caspian.net.repl"];

    fn walk(dir: &Path, prefix: &str, found: &mut Vec<String>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let stem = path.file_stem().unwrap().to_str().unwrap();
            let name = format!("{prefix}{stem}");
            if path.is_dir() {
                walk(&path, &format!("{name}."), found);
            } else if path.extension().is_some_and(|ext| ext == "lua") && stem != "meta" {
                found.push(name.strip_suffix(".init").unwrap_or(&name).to_owned());
            }
        }
    }

    #[test]
    fn every_file_of_lua_is_embedded() {
        let mut found = Vec::new();
        walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("lua"), "", &mut found);
        found.sort();
        let listed = MODULES.iter().map(|(name, _)| name.to_string());
        let mut listed: Vec<_> = listed.chain(LAUNCHER.iter().map(|name| name.to_string())).collect();
        assert!(listed.iter().take(MODULES.len()).is_sorted(), "the list in src/lua/front.rs, sorted by name");
        listed.sort();
        assert_eq!(listed, found, "the list in src/lua/front.rs");
    }
}
