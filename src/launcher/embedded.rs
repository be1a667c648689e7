//! The files of `lua/` that the launcher alone needs, inside the binary. The others are the crate's (`caspian_net::lua`), whose test
//! knows these, too.

/// Module names and their sources, in the order of the tree.
pub const MODULES: &[(&str, &str)] = &[
    ("caspian.net.completion", include_str!("../../lua/caspian/net/completion.lua")),
    ("caspian.net.inspect", include_str!("../../lua/caspian/net/inspect.lua")),
    ("caspian.net.launcher", include_str!("../../lua/caspian/net/launcher.lua")),
    ("caspian.net.repl", include_str!("../../lua/caspian/net/repl.lua")),
];
