//! The launcher: `caspian-net --allow-net=api.example.com script.lua`.
//!
//! One binary with Lua 5.4 and the files of `lua/` inside. It reads the command line, makes the Lua state and hands it
//! to `lua/caspian/net/launcher.lua`, which launches the network and runs the script in a sandbox. It grants nothing by
//! itself: the script gets what the command line names.

mod launcher;

#[global_allocator]
static MEMORY: caspian_net::reserve::Reserve = caspian_net::reserve::Reserve;

fn main() -> std::process::ExitCode {
    launcher::main()
}
