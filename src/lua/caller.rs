//! Where a script called the front: what stands before the words of a wrong argument.
//!
//! Found on the stack, since no check can know how many functions of the front lie between it and the script.

use super::{answer::Answer, define};
use mlua::{Lua, Table};

/// What functions of the front have before the names of their modules: chunks are named by file or, embedded, by module.
fn home(source: &str) -> Option<String> {
    let path = source.strip_suffix("/args.lua").or_else(|| source.strip_suffix("\\args.lua"));
    path.or_else(|| source.strip_suffix(".args]")).map(str::to_owned)
}

fn is_front(source: &str, home: &str) -> bool {
    source.strip_prefix(home).is_some_and(|rest| rest.starts_with(['/', '\\', '.', ']']))
}

pub(super) fn register(lua: &Lua, core: &Table) -> mlua::Result<()> {
    // caller() -> "file:line: " of the first function on the stack that is none of the front's; "" where that is C's, or unknown. To be
    // called by `args` alone, whose file shows where the front is.
    define(lua, core, "caller", |lua, ()| Ok(caller(lua)) as Answer<String>)
}

/// How many functions are looked at: the front never has so many above each other, and to find one takes time by how far down it is.
const MOST: usize = 64;

fn caller(lua: &Lua) -> String {
    // Between this function and `args` stands the relay of signals.
    let asks = |level| lua.inspect_stack(level, |one| home(&one.source().source?)).flatten().map(|home| (level, home));
    let Some((asker, home)) = (1..4).find_map(asks) else { return String::new() };
    let place = |level| {
        lua.inspect_stack(level, |one| {
            let source = one.source();
            match source.source.as_deref() {
                // Lua 5.1's mark for a frame that a tail call took.
                Some("=(tail call)") => None,
                Some(name) if is_front(name, &home) => None,
                _ => Some(match (source.short_src, one.current_line()) {
                    (Some(file), Some(line)) => format!("{file}:{line}: "),
                    _ => String::new(),
                }),
            }
        })
    };
    (asker..asker + MOST).map_while(place).flatten().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{home, is_front};

    #[test]
    fn the_front_is_known_by_its_files() {
        let rows: &[(&str, &str, bool)] = &[
            ("@/usr/share/lua/caspian/net/args.lua", "@/usr/share/lua/caspian/net/http.lua", true),
            ("@/usr/share/lua/caspian/net/args.lua", "@/usr/share/lua/caspian/net.lua", true),
            ("@/usr/share/lua/caspian/net/args.lua", "@/usr/share/lua/caspian/net_test.lua", false),
            ("@C:\\lua\\caspian\\net\\args.lua", "@C:\\lua\\caspian\\net\\mail\\imap.lua", true),
            ("=[caspian.net.args]", "=[caspian.net.http]", true),
            ("=[caspian.net.args]", "=[caspian.net]", true),
            ("=[caspian.net.args]", "@script.lua", false),
            ("=[caspian.net.args]", "=[C]", false),
        ];
        for (args, source, front) in rows {
            assert_eq!(is_front(source, &home(args).unwrap()), *front, "{source}");
        }
        assert_eq!(home("=?"), None, "a front without its names");
    }
}
