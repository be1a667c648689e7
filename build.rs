//! Linker flags, which no other place of a package can ask for one of its binaries only; and the refusal of systems that are not Unix.
#![allow(clippy::disallowed_methods, reason = "Cargo tells a build script its target by the environment")]

use std::{env::var, fs, path::Path, process::Command};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // Said here, in one sentence: the compiler would name what it misses, file by file.
    if var("CARGO_CFG_UNIX").is_err() {
        let target = var("TARGET").unwrap_or_default();
        println!(
            "cargo::error=caspian-net needs a Unix system (Linux, macOS), and {target} is none: its sockets, files and signals are \
             those of POSIX. The state of each system: docs/getting-started.md, \"Install\""
        );
        return;
    }
    // The launcher shows its Lua to the C modules that `--allow-native` lets a script load.
    println!("cargo::rustc-link-arg-bins=-rdynamic");
    // The module stays in memory once it is loaded: a Lua that closes unloads it while threads of ours may still wait for
    // the system's resolver, and LuaJIT finalizes values that finalizers made after that.
    if linux() {
        println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
    }
    // A module's Lua functions are found when it is loaded. Apple's linker has to be told.
    if var("CARGO_FEATURE_MODULE").is_ok() && var("CARGO_CFG_TARGET_VENDOR").is_ok_and(|vendor| vendor == "apple") {
        println!("cargo::rustc-cdylib-link-arg=-Wl,-undefined,dynamic_lookup");
    }
    // LuaJIT's C functions go through src/lua/returns.rs.
    if var("CARGO_FEATURE_LUAJIT").is_ok() && var("CARGO_FEATURE_MODULE").is_ok() && linux() {
        println!("cargo::rustc-cdylib-link-arg=-Wl,--wrap=lua_pushcclosure,--wrap=lua_cpcall");
    }
    // Its relative relocations are packed where the C library can unpack them: 0.1 MB. What is built for another machine, or
    // by a linker that was chosen (zig cc links for older systems under the same target), may meet an older library.
    let here =
        var("HOST").is_ok_and(|host| var("TARGET").is_ok_and(|target| target == host)) && var("RUSTC_LINKER").is_err();
    if here && glibc().is_some_and(|version| version >= (2, 36)) {
        println!("cargo::rustc-cdylib-link-arg=-Wl,-z,pack-relative-relocs");
    }
    // Generic functions whose code came out the same for several types are kept once (lld can; GNU ld cannot).
    if linux() && links("-Wl,--icf=all") {
        println!("cargo::rustc-cdylib-link-arg=-Wl,--icf=all");
    }
}

/// Whether the linker that Rust will call takes this argument.
fn links(argument: &str) -> bool {
    let (Ok(rustc), Ok(target), Ok(out)) = (var("RUSTC"), var("TARGET"), var("OUT_DIR")) else { return false };
    let probe = Path::new(&out).join("probe.rs");
    let mut command = Command::new(rustc);
    command.args([
        "--crate-type",
        "cdylib",
        "--target",
        &target,
        "-C",
        &format!("link-arg={argument}"),
        "--out-dir",
        &out,
    ]);
    if let Ok(linker) = var("RUSTC_LINKER") {
        command.args(["-C", &format!("linker={linker}")]);
    }
    let flags = var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    command.args(flags.split('\x1f').filter(|flag| !flag.is_empty())).arg(&probe);
    fs::write(&probe, "").is_ok() && command.output().is_ok_and(|output| output.status.success())
}

fn linux() -> bool {
    var("CARGO_CFG_TARGET_OS").is_ok_and(|system| system == "linux")
}

/// This machine's glibc, if that is what it has.
fn glibc() -> Option<(u32, u32)> {
    let said = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?.stdout;
    let (major, minor) = std::str::from_utf8(&said).ok()?.trim().strip_prefix("glibc ")?.split_once('.')?;
    let minor = minor.split('.').next()?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}
