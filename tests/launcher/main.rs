//! The `caspian-net` command, run as a user runs it: what it prints and how it ends.
//!
//! Needs the launcher, so the `embedded` feature; loopback only.
#![cfg(feature = "embedded")]

mod command;
mod compat;
mod files;
mod repl;
mod sandbox;
mod signals;

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

/// No run may take longer.
const DEADLINE: Duration = Duration::from_secs(60);

fn launcher() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_caspian-net"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs to the end: status (128 + n after signal n), stdout, stderr.
fn run(dir: &Path, args: &[&str], stdin: &str) -> (i32, String, String) {
    let mut child = launcher().current_dir(dir).args(args).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    // The script may end before it has read everything.
    let _ = input.write_all(stdin.as_bytes());
    drop(input);
    end(child)
}

fn end(child: Child) -> (i32, String, String) {
    let id = child.id();
    let (send, receive) = mpsc::channel();
    thread::spawn(move || send.send(child.wait_with_output()));
    match receive.recv_timeout(DEADLINE) {
        Ok(output) => answer(output.unwrap()),
        Err(_) => {
            signal(id, "KILL");
            panic!("the launcher did not end");
        }
    }
}

fn answer(output: Output) -> (i32, String, String) {
    #[cfg(unix)]
    let signalled = std::os::unix::process::ExitStatusExt::signal(&output.status).map(|n| 128 + n);
    #[cfg(not(unix))]
    let signalled = None;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (output.status.code().or(signalled).unwrap(), text(output.stdout), text(output.stderr))
}

fn signal(id: u32, name: &str) {
    Command::new("sh").args(["-c", &format!("kill -{name} {id}")]).status().unwrap();
}

/// What a run must answer; stderr must contain all the words, and be empty if there are none.
struct Row<'a>(&'a [&'a str], &'a str, i32, &'a str, &'a [&'a str]);

fn check(dir: &Path, rows: &[Row<'_>]) {
    let mut wrong = Vec::new();
    for Row(args, stdin, status, stdout, words) in rows {
        let (got, out, err) = run(dir, args, stdin);
        let said = words.iter().all(|word| err.contains(word)) && (words.is_empty() == err.is_empty());
        if got != *status || out != *stdout || !said {
            wrong.push(format!("{args:?} {stdin:?}: [{got}]\n{out}{err}wanted [{status}]\n{stdout}{words:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// A directory of files, gone when dropped.
struct Tree(PathBuf);

impl Tree {
    fn new(name: &str, files: &[(&str, &[u8])]) -> Tree {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("launcher-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        fs::create_dir_all(&root).unwrap();
        for (path, text) in files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Tree(fs::canonicalize(root).unwrap())
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
