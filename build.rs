//! One linker flag: the launcher shows its Lua to the C modules that `--allow-native` lets a script load. (No other
//! place of a package can ask for it, for its own binary only.)

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    #[allow(clippy::disallowed_methods, reason = "Cargo tells a build script its target this way")]
    let unix = std::env::var_os("CARGO_CFG_UNIX").is_some();
    if unix {
        println!("cargo::rustc-link-arg-bins=-rdynamic");
    }
}
