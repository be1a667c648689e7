//! The rooms of the launcher: the command line, the embedded Lua files, the file paths of a script, the REPL's terminal, memory,
//! Ctrl-C.

mod embedded;
mod files;
mod help;
mod memory;
mod options;
mod signal;
mod terminal;

use caspian_net::{error, files::Files as Door, grants::Grants};
use mlua::{Function, Lua, LuaOptions, StdLib, Table, Value, ffi};
use options::{Command, Files, Job, Source, Variables};
use std::{
    env, fs,
    io::{IsTerminal, Read, Write, stdin, stdout},
    mem,
    path::PathBuf,
    process::ExitCode,
    ptr,
};

/// The command line was wrong, or what it names cannot be had; the script did not run.
const USAGE: u8 = 2;

/// 0, 1 for an uncaught error of the script, 2 for a usage error.
pub fn main() -> ExitCode {
    signal::quiet_pipes();
    let command = match options::parse(env::args_os().skip(1)) {
        Ok(command) => command,
        Err(why) => return usage(&why),
    };
    match command {
        Command::Help(None) => print(&help::text()),
        Command::Help(Some(topic)) => match help::page(&topic) {
            Ok(page) => print(page),
            Err(why) => usage(&why),
        },
        Command::Version => print(&help::version()),
        Command::Run(mut job) => {
            // A REPL is for people.
            if job.source == Source::Repl && !stdin().is_terminal() {
                job.source = Source::Stdin;
            }
            run(*job).unwrap_or_else(|why| usage(&why))
        }
    }
}

fn print(text: &str) -> ExitCode {
    match stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn usage(why: &str) -> ExitCode {
    complain(why);
    ExitCode::from(USAGE)
}

fn complain(why: &str) {
    // Nowhere is left to say that stderr is closed.
    let _ = writeln!(std::io::stderr(), "caspian-net: {why}");
}

/// Checks everything that can be checked before Lua starts, then starts it. `Err` is a usage error.
fn run(job: Job) -> Result<ExitCode, String> {
    let grants = Grants::parse(&job.flags).map_err(|err| err.to_string())?;
    let missing = grants.missing(&job.requires);
    if !missing.is_empty() {
        return Err(format!("the script requires more than is granted; add: {}", missing.join(" ")));
    }
    let script = Script::read(&job.source).map_err(|why| match job.flags.last().map(String::as_str) {
        // `--allow-net example.com` has granted everything, and taken the host for the script.
        Some(flag @ ("--allow-net" | "--allow-listen")) if !job.all => {
            format!("{why} (a value of {flag} is written with =, as {flag}=VALUE)")
        }
        _ => why,
    })?;
    let files = match &job.fs {
        Files::None => Door::default(),
        Files::All => Door::everywhere(),
        Files::In(dirs) => Door::within(dirs).map_err(|(at, err)| {
            let dir = dirs.get(at).map(|dir| dir.display().to_string()).unwrap_or_default();
            format!("--allow-fs={dir}: {}", error::describe(&err))
        })?,
    };
    match start(&job, &script, &files) {
        Ok(status) => Ok(ExitCode::from(status)),
        // Not the script's errors, which launcher.lua has reported: a defect of ours, or no memory for the state.
        Err(err) => {
            complain(&err.to_string());
            Ok(ExitCode::FAILURE)
        }
    }
}

/// The text that runs, its name in messages, and the directory whose modules it may require.
struct Script {
    /// `None` is the REPL.
    text: Option<Vec<u8>>,
    /// As Lua wants it: `@file` or `=name`.
    chunk: Vec<u8>,
    /// `arg[0]`.
    name: Vec<u8>,
    dir: Option<PathBuf>,
}

impl Script {
    fn read(source: &Source) -> Result<Script, String> {
        let here = || env::current_dir().and_then(fs::canonicalize).ok();
        let script = |text, chunk: &str, name: &str| Script {
            text,
            chunk: chunk.as_bytes().to_vec(),
            name: name.as_bytes().to_vec(),
            dir: here(),
        };
        Ok(match source {
            Source::Repl => script(None, "=stdin", "caspian-net"),
            Source::Code(code) => script(Some(code.clone()), "=(command line)", "-e"),
            Source::Stdin => {
                let mut text = Vec::new();
                stdin()
                    .read_to_end(&mut text)
                    .map_err(|err| format!("cannot read standard input: {}", error::describe(&err)))?;
                script(Some(text), "=stdin", "-")
            }
            Source::File(path) => {
                let cannot = |err| format!("cannot read script {}: {}", path.display(), error::describe(&err));
                let text = fs::read(path).map_err(cannot)?;
                // A pipe (`<(…)`) has no directory: then modules are looked for in the current one.
                let real = fs::canonicalize(path).ok();
                let dir = real.as_deref().and_then(|real| real.parent()).map(PathBuf::from).or_else(here);
                let name = path.as_os_str().as_encoded_bytes().to_vec();
                Script { text: Some(text), chunk: [b"@", &name[..]].concat(), name, dir }
            }
        })
    }
}

/// Makes the state, runs the script in it, and closes it: the exit status.
fn start(job: &Job, script: &Script, files: &Door) -> mlua::Result<u8> {
    let lua = state(job.native)?;
    let status = call(&lua, job, script, files);
    close(lua);
    status
}

/// Closes the state while its handle lives: finalizers call functions that ask the handle. mlua closes a state when the handle is gone, and the
/// making of an error would panic; before that it collects, which leaves the finalizers of finalizers' objects a network that has ended.
#[allow(unsafe_code, reason = "mlua has no word for it")]
fn close(lua: Lua) {
    let mut here = ptr::null_mut();
    // SAFETY: only reads.
    let found = unsafe { lua.exec_raw::<()>((), |state| here = state) };
    if found.is_ok() {
        // SAFETY: no value of the state is left but in it, and the handle, which would close it again, is forgotten.
        unsafe { ffi::lua_close(here) };
        mem::forget(lua);
    }
}

/// Hands the state to `launcher.lua`, which answers the exit status.
fn call(lua: &Lua, job: &Job, script: &Script, files: &Door) -> mlua::Result<u8> {
    let preload: Table = lua.globals().get::<Table>("package")?.get("preload")?;
    caspian_net::lua::preload(lua)?;
    caspian_net::lua::modules(lua, &preload, embedded::MODULES)?;
    signal::watch(lua)?;
    let table = describe(lua, job, script, files)?;
    let require: Function = lua.globals().get("require")?;
    let launcher: Table = require.call("caspian.net.launcher")?;
    let status = launcher.get::<Function>("run")?.call(table);
    signal::release();
    status
}

/// What `launcher.lua` gets; its header names each field.
fn describe(lua: &Lua, job: &Job, script: &Script, files: &Door) -> mlua::Result<Table> {
    let begin = lua.create_function(|_, ()| {
        signal::begin();
        Ok(())
    })?;
    let bytes = |path: &PathBuf| lua.create_string(path.as_os_str().as_encoded_bytes());
    let args = lua.create_table()?;
    args.set(0, lua.create_string(&script.name)?)?;
    for (i, arg) in job.args.iter().enumerate() {
        args.set(i + 1, lua.create_string(arg.as_encoded_bytes())?)?;
    }
    let list = |dirs: &[PathBuf]| lua.create_sequence_from(dirs.iter().map(bytes).collect::<mlua::Result<Vec<_>>>()?);
    let fs = match &job.fs {
        Files::None => Value::Boolean(false),
        Files::All => Value::Boolean(true),
        Files::In(dirs) => Value::Table(list(dirs)?),
    };
    let variables = match &job.env {
        Variables::None => Value::Boolean(false),
        Variables::All => Value::Boolean(true),
        Variables::Named(names) => Value::Table(lua.create_sequence_from(names.iter().map(String::as_str))?),
    };
    let mut dirs: Vec<PathBuf> = script.dir.iter().cloned().collect();
    let mut doors = Value::Nil;
    if job.fs != Files::None {
        doors = Value::Table(files::table(lua, files)?);
    }
    if let Files::In(_) = &job.fs {
        dirs.extend(files.names());
    }
    // A directory that cannot be opened has no modules.
    let modules = Door::within(script.dir.as_slice()).or_else(|_| Door::within::<PathBuf>(&[]));
    lua.create_table_from([
        ("version", Value::String(lua.create_string(env!("CARGO_PKG_VERSION"))?)),
        ("flags", Value::Table(lua.create_sequence_from(job.flags.iter().map(String::as_str))?)),
        ("run", Value::Boolean(job.run)),
        ("native", Value::Boolean(job.native)),
        ("fs", fs),
        ("variables", variables),
        ("compat", Value::Boolean(job.compat)),
        ("text", script.text.as_ref().map_or(Ok(Value::Nil), |text| lua.create_string(text).map(Value::String))?),
        ("chunk", Value::String(lua.create_string(&script.chunk)?)),
        ("dirs", Value::Table(list(&dirs)?)),
        ("args", Value::Table(args)),
        ("lines", Value::Function(terminal::open(lua)?)),
        ("null", Value::NULL),
        ("files", doors),
        ("read", Value::Function(files::reader(lua, files.clone(), modules.unwrap_or_default())?)),
        ("begin", Value::Function(begin)),
        ("finish", Value::Function(lua.create_function(|_, ()| Ok(signal::finish()))?)),
    ])
}

#[allow(unsafe_code, reason = "mlua marks the debug library and C modules unsafe")]
fn state(native: bool) -> mlua::Result<Lua> {
    let libs = if native { StdLib::ALL } else { StdLib::ALL_SAFE | StdLib::DEBUG };
    // SAFETY: `debug` can break mlua's invariants. Only our own launcher.lua sees it (for tracebacks) and takes it, and
    // every way to a C module, out of the state before a script runs. With --allow-native the user has said that the
    // script is trusted with exactly this.
    let lua = unsafe { Lua::unsafe_new_with(libs, LuaOptions::default()) };
    memory::refusing(&lua)?;
    Ok(lua)
}
