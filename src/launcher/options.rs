//! The command line, parsed once into a [`Job`]. The grant flags are collected unparsed: `caspian_net::grants` parses
//! their values. Reads no file and no environment.

use caspian_net::grants::{FLAGS, Need, nearest};
use std::{ffi::OsString, path::PathBuf};

pub enum Command {
    /// The flags, or the page that is named.
    Help(Option<String>),
    Version,
    Run(Box<Job>),
}

/// What to run, with what.
#[derive(Debug, Default, PartialEq)]
pub struct Job {
    /// The grant flags of contract and module, in the order given.
    pub flags: Vec<String>,
    pub requires: Vec<Need>,
    pub run: bool,
    pub native: bool,
    pub fs: Files,
    pub env: Variables,
    /// `-A` was among the flags.
    pub all: bool,
    pub compat: bool,
    pub source: Source,
    pub args: Vec<OsString>,
}

/// `--allow-fs` and `--allow-fs=DIR`. Defaults to none.
#[derive(Debug, Default, PartialEq)]
pub enum Files {
    #[default]
    None,
    In(Vec<PathBuf>),
    All,
}

/// `--allow-env` and `--allow-env=NAME`. Defaults to none.
#[derive(Debug, Default, PartialEq)]
pub enum Variables {
    #[default]
    None,
    Named(Vec<String>),
    All,
}

/// Where the script comes from. Defaults to the REPL.
#[derive(Debug, Default, PartialEq)]
pub enum Source {
    #[default]
    Repl,
    File(PathBuf),
    Code(Vec<u8>),
    Stdin,
}

/// The flags that have words for names, beside those whose values `caspian_net::grants` parses.
pub const OTHERS: [&str; 9] = [
    "--allow-run",
    "--allow-native",
    "--allow-fs",
    "--allow-env",
    "--allow-all",
    "--requires",
    "--compat",
    "--help",
    "--version",
];

/// `args` without the program's name. `Err` is a usage error in words, which names the value.
pub fn parse(args: impl Iterator<Item = OsString>) -> Result<Command, String> {
    let mut job = Job::default();
    let mut args = args.peekable();
    while let Some(arg) = args.next_if(is_option) {
        let Some(text) = arg.to_str() else {
            // A path may be any bytes; every other option is text.
            let Some(dir) = strip_prefix(&arg, "--allow-fs=") else {
                return Err(format!("option is not UTF-8: {}", arg.display()));
            };
            allow_fs(&mut job.fs, dir)?;
            continue;
        };
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        match (name, value) {
            ("--", None) => break,
            ("--help" | "-h", None) => {
                return Ok(Command::Help(args.next().map(|topic| topic.to_string_lossy().into_owned())));
            }
            ("--version" | "-V", None) => return Ok(Command::Version),
            ("--allow-run", None) => job.run = true,
            ("--allow-native", None) => job.native = true,
            ("--compat", None) => job.compat = true,
            ("--allow-fs", None) => job.fs = Files::All,
            ("--allow-fs", Some(dir)) => allow_fs(&mut job.fs, dir.into())?,
            ("--allow-env", None) => job.env = Variables::All,
            ("--allow-env", Some(list)) => allow_env(&mut job.env, list)?,
            ("--allow-all" | "-A", None) => {
                job.flags.extend(["--allow-net".to_owned(), "--allow-listen".to_owned()]);
                (job.run, job.native, job.fs, job.env) = (true, true, Files::All, Variables::All);
                job.all = true;
            }
            ("--requires", Some(list)) => {
                job.requires.extend(Need::parse(list).map_err(|why| format!("--{why}"))?);
            }
            ("--requires", None) => {
                return Err("--requires needs HOST[:PORTS], as in --requires=example.com:443".into());
            }
            ("-e", None) => {
                if job.source != Source::Repl {
                    return Err("-e was given twice".into());
                }
                let code = args.next().ok_or("-e needs CODE, as in -e 'print(1)'")?;
                job.source = Source::Code(code.into_encoded_bytes());
            }
            (name, _) if FLAGS.contains(&name) => job.flags.push(text.to_owned()),
            (
                "--allow-run" | "--allow-native" | "--allow-all" | "-A" | "--compat" | "--help" | "-h" | "--version"
                | "-V",
                Some(_),
            ) => {
                return Err(format!("{name} takes no value: {text}"));
            }
            _ => {
                let meant = nearest(name, FLAGS.into_iter().chain(OTHERS).filter(|_| name.starts_with("--")));
                let meant = meant.map(|meant| format!("did you mean {meant}? "));
                return Err(format!("unknown option: {text} ({}--help lists them all)", meant.unwrap_or_default()));
            }
        }
    }
    if job.source == Source::Repl
        && let Some(script) = args.next()
    {
        job.source = if script == "-" { Source::Stdin } else { Source::File(script.into()) };
    }
    job.args = args.collect();
    Ok(Command::Run(Box::new(job)))
}

/// `-` alone is a script: standard input.
fn is_option(arg: &OsString) -> bool {
    arg.as_encoded_bytes().starts_with(b"-") && arg != "-"
}

/// The bare flag covers every directory.
fn allow_fs(files: &mut Files, dir: OsString) -> Result<(), String> {
    if dir.is_empty() {
        return Err("--allow-fs= has an empty value; --allow-fs alone is every file".into());
    }
    match files {
        Files::All => {}
        Files::In(dirs) => dirs.push(dir.into()),
        Files::None => *files = Files::In(vec![dir.into()]),
    }
    Ok(())
}

/// The bare flag covers every variable.
fn allow_env(variables: &mut Variables, list: &str) -> Result<(), String> {
    if list.is_empty() {
        return Err("--allow-env= has an empty value; --allow-env alone is every variable".into());
    }
    let mut names = Vec::new();
    for name in list.split(',') {
        let why = match name {
            "" => "an empty item",
            _ if name.contains('=') => "a name must not contain =",
            _ if name.contains('*') => "patterns are not supported, only whole names",
            _ if name.contains(|c: char| c.is_whitespace() || c.is_control()) => "a name must not contain spaces",
            _ => {
                names.push(name.to_owned());
                continue;
            }
        };
        return Err(format!("--allow-env={list}: {why}: {name:?}"));
    }
    match variables {
        Variables::All => {}
        Variables::Named(all) => all.extend(names),
        Variables::None => *variables = Variables::Named(names),
    }
    Ok(())
}

fn strip_prefix(arg: &OsString, prefix: &str) -> Option<OsString> {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    arg.as_bytes().strip_prefix(prefix.as_bytes()).map(|rest| OsString::from_vec(rest.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(args: &[&str]) -> Result<Job, String> {
        match parse(args.iter().map(OsString::from))? {
            Command::Run(job) => Ok(*job),
            _ => Err("no job".into()),
        }
    }

    #[test]
    fn options_end_where_the_script_begins() {
        for (args, source, rest) in [
            (&[][..], Source::Repl, &[][..]),
            (&["a.lua"], Source::File("a.lua".into()), &[]),
            (&["a.lua", "--allow-run", "-e"], Source::File("a.lua".into()), &["--allow-run", "-e"]),
            (&["--", "-odd.lua", "x"], Source::File("-odd.lua".into()), &["x"]),
            (&["-", "x"], Source::Stdin, &["x"]),
            (&["-e", "f()", "x", "-y"], Source::Code(b"f()".to_vec()), &["x", "-y"]),
            (&["-e", "-", "--", "--z"], Source::Code(b"-".to_vec()), &["--z"]),
            (&["--standard", "--", "-"], Source::Stdin, &[]),
        ] {
            let job = job(args).unwrap();
            assert_eq!((job.source, job.args), (source, rest.iter().map(OsString::from).collect()), "{args:?}");
        }
    }

    #[test]
    fn grant_flags_are_passed_on_in_order() {
        let job = job(&["--allow-net", "--deny-net=private", "--no-dns", "--allow-net=", "x.lua"]).unwrap();
        assert_eq!(job.flags, ["--allow-net", "--deny-net=private", "--no-dns", "--allow-net="]);
    }

    #[test]
    fn the_bare_flag_is_every_file() {
        for (args, fs) in [
            (&["--allow-fs=a", "--allow-fs=b,c"][..], Files::In(vec!["a".into(), "b,c".into()])),
            (&["--allow-fs=a", "--allow-fs"], Files::All),
            (&["--allow-fs", "--allow-fs=a"], Files::All),
        ] {
            assert_eq!(job(args).unwrap().fs, fs, "{args:?}");
        }
    }

    #[test]
    fn the_bare_flag_is_every_variable() {
        let named = |names: &[&str]| Variables::Named(names.iter().map(|&name| name.to_owned()).collect());
        for (args, env) in [
            (&[][..], Variables::None),
            (&["--allow-env=A"], named(&["A"])),
            (&["--allow-env=A,B_2", "--allow-env=c"], named(&["A", "B_2", "c"])),
            (&["--allow-env=A", "--allow-env"], Variables::All),
            (&["--allow-env", "--allow-env=A"], Variables::All),
            (&["-A", "--allow-env=A"], Variables::All),
        ] {
            assert_eq!(job(args).unwrap().env, env, "{args:?}");
        }
    }

    #[test]
    fn everything_is_every_flag() {
        for all in ["-A", "--allow-all"] {
            let job = job(&["--deny-net=private", all, "--allow-fs=x", "x.lua", "-A"]).unwrap();
            assert_eq!(job.flags, ["--deny-net=private", "--allow-net", "--allow-listen"]);
            assert_eq!(
                (job.run, job.native, job.fs, job.env, job.compat),
                (true, true, Files::All, Variables::All, false)
            );
            assert_eq!(job.args, ["-A"]);
        }
    }

    #[test]
    fn usage_errors_name_the_value() {
        for (args, message) in [
            (&["--allow-everything"][..], "--allow-everything (--help"),
            (&["--alow-net"], "--alow-net (did you mean --allow-net?"),
            (&["--alow-net=a.example"], "did you mean --allow-net?"),
            (&["--deny_net=private"], "did you mean --deny-net?"),
            (&["--allow-files"], "--allow-files (--help"),
            (&["--Compat"], "did you mean --compat?"),
            (&["--require=a.example:80"], "did you mean --requires?"),
            (&["-x"], "-x"),
            (&["--allow-fs="], "--allow-fs="),
            (&["--allow-run=sh"], "--allow-run=sh"),
            (&["--allow-all=net"], "--allow-all takes no value"),
            (&["-A=net"], "-A takes no value"),
            (&["--alow-env=A"], "did you mean --allow-env?"),
            (&["--allow-al"], "did you mean --allow-all?"),
            (&["--allow-env="], "--allow-env= has an empty value"),
            (&["--allow-env=A,"], "--allow-env=A,: an empty item"),
            (&["--allow-env=A=1"], "a name must not contain =: \"A=1\""),
            (&["--allow-env=A,AWS_*"], "patterns are not supported, only whole names: \"AWS_*\""),
            (&["--allow-env=A, B"], "a name must not contain spaces: \" B\""),
            (&["-e"], "-e"),
            (&["-e", "1", "-e", "2"], "twice"),
            (&["--requires"], "--requires"),
            (&["--requires="], "--requires: \"\": the value is empty"),
            (&["--requires=https://a.example"], "is a URL"),
            (&["--requires=private"], "private"),
            (&["--requires=a.example:0"], "a.example:0"),
            (&["--requires=a.example:+80"], "a.example:+80"),
            (&["--requires=::1:80"], "brackets"),
            (&["--requires=a.example:443,"], "empty item"),
        ] {
            let why = job(args).unwrap_err();
            assert!(why.contains(message), "{args:?}: {why}");
        }
    }
}
