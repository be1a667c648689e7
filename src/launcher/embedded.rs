//! The files of `lua/` for the launcher alone, inside the binary. The others are in the crate (`caspian_net::lua`),
//! whose test knows these, too.

/// Module names and their sources, in the order of the tree.
pub const MODULES: &[(&str, &str)] = &[
    ("caspian.net.completion", include_str!("../../lua/caspian/net/completion.lua")),
    ("caspian.net.inspect", include_str!("../../lua/caspian/net/inspect.lua")),
    ("caspian.net.launcher", include_str!("../../lua/caspian/net/launcher.lua")),
    ("caspian.net.repl", include_str!("../../lua/caspian/net/repl.lua")),
];
