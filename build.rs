//! Two linker flags. The launcher shows its Lua to the C modules that `--allow-native` lets a script load (no other
//! place of a package can ask for it, for its own binary only). The module stays in memory once it is loaded: a Lua that
//! closes unloads it while threads of ours may still wait for the system's resolver, and LuaJIT finalizes values that
//! finalizers made after that.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    #[allow(clippy::disallowed_methods, reason = "Cargo tells a build script its target this way")]
    let unix = std::env::var_os("CARGO_CFG_UNIX").is_some();
    if unix {
        println!("cargo::rustc-link-arg-bins=-rdynamic");
    }
    #[allow(clippy::disallowed_methods, reason = "as above")]
    let linux = std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|system| system == "linux");
    if linux {
        println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
    }
}
