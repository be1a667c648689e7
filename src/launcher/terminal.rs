//! Lines from a person at a terminal: editing, history and completion by rustyline. Lua decides about completions, and
//! whether a text is unfinished (`lua/caspian/net/repl.lua`).
//!
//! The history stands in `$XDG_STATE_HOME/caspian-net/history` (`~/.local/state` where that is not set), for its owner alone to
//! read; a line that begins with a space stays out of it.

use super::signal;
use mlua::{Function, Lua, Table, Value};
use rustyline::{
    CompletionType, Config, Context, Editor, Helper,
    completion::Completer,
    error::ReadlineError,
    highlight::Highlighter,
    hint::Hinter,
    history::FileHistory,
    validate::{ValidationContext, ValidationResult, Validator},
};
use std::{cell::RefCell, env, fs, io, path::PathBuf};

/// `open(complete, unfinished)`: a function(prompt) that answers what was typed (several lines where the first ones are
/// unfinished), `false` after Ctrl-C, `nil` at the end, and `""` with a message for what cannot be read.
pub fn open(lua: &Lua) -> mlua::Result<Function> {
    lua.create_function(|lua, (complete, unfinished): (Function, Function)| {
        let terminal = RefCell::new(Terminal::new(Words { complete, unfinished }).map_err(mlua::Error::external)?);
        lua.create_function(move |lua, prompt: String| match terminal.try_borrow_mut() {
            Ok(mut terminal) => terminal.line(lua, &prompt),
            Err(_) => Ok((Value::Nil, None)),
        })
    })
}

struct Terminal {
    editor: Editor<Words, FileHistory>,
    history: Option<PathBuf>,
}

impl Terminal {
    fn new(words: Words) -> rustyline::Result<Terminal> {
        let config = Config::builder()
            .max_history_size(10_000)?
            .history_ignore_dups(true)?
            .history_ignore_space(true)
            .completion_type(CompletionType::List)
            .build();
        let mut editor = Editor::with_config(config)?;
        editor.set_helper(Some(words));
        let history = history();
        if let Some(path) = &history {
            // The first time there is none; and who cannot have one types without.
            let _ = editor.load_history(path);
        }
        Ok(Terminal { editor, history })
    }

    fn line(&mut self, lua: &Lua, prompt: &str) -> mlua::Result<(Value, Option<String>)> {
        loop {
            // While a line is read Ctrl-C is a key; after that it is for what was typed.
            signal::forget();
            return match self.editor.readline(prompt) {
                Ok(text) => {
                    if self.editor.add_history_entry(&text).unwrap_or_default()
                        && let Some(path) = &self.history
                    {
                        // At once: what runs next may end the process.
                        let _ = self.editor.append_history(path);
                    }
                    Ok((Value::String(lua.create_string(text)?), None))
                }
                Err(ReadlineError::Interrupted) => Ok((Value::Boolean(false), None)),
                Err(ReadlineError::Signal(_)) => continue,
                Err(ReadlineError::Io(err)) if err.kind() == io::ErrorKind::InvalidData => {
                    Ok((Value::String(lua.create_string("")?), Some("the line is not UTF-8".into())))
                }
                // The end, or a terminal that is gone.
                Err(_) => Ok((Value::Nil, None)),
            };
        }
    }
}

/// Where the history stands; its directory is made.
#[allow(clippy::disallowed_methods, reason = "where this user keeps the state of programs")]
fn history() -> Option<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")))?;
    let own = state.join("caspian-net");
    let mut builder = fs::DirBuilder::new();
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(&own).ok()?;
    Some(own.join("history"))
}

/// What Lua knows of words and texts.
struct Words {
    complete: Function,
    unfinished: Function,
}

impl Helper for Words {}
impl Highlighter for Words {}
impl Hinter for Words {
    type Hint = String;
}

impl Completer for Words {
    type Candidate = String;

    fn complete(&self, line: &str, pos: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        let before = line.get(..pos).unwrap_or_default();
        let found: mlua::Result<(usize, Table)> = self.complete.call(before);
        let Ok((length, found)) = found else { return Ok((pos, Vec::new())) };
        Ok((before.len().saturating_sub(length), found.sequence_values().filter_map(Result::ok).collect()))
    }
}

impl Validator for Words {
    fn validate(&self, ctx: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        let unfinished = self.unfinished.call(ctx.input()).unwrap_or(false);
        Ok(if unfinished { ValidationResult::Incomplete } else { ValidationResult::Valid(None) })
    }
}
