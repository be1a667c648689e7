//! `--net-log`: each decision and each connection as one JSON line, appended to a file.
//!
//! The one place where a resolved address of a refused name may be written. A line is one `write`, so that several
//! processes can share the file. A full disk does not stop the program: a lost line is counted, and the next line has
//! the count.

use crate::deadline::wall;
use serde_json::{Map, Value};
use std::{
    fs::File,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

/// An open log.
#[derive(Debug)]
pub struct Log {
    file: File,
    lost: AtomicU64,
}

impl Log {
    /// Opens the file for appending, making it (mode 0600) if it does not exist.
    pub fn open(path: &Path) -> io::Result<Log> {
        let file = File::options().append(true).create(true).mode(0o600).open(path)?;
        Ok(Log { file, lost: AtomicU64::new(0) })
    }

    /// Writes one line: `{"time":…,"event":event, …fields}`. Time is seconds since 1970.
    pub fn write(&self, event: &str, fields: &[(&str, Value)]) {
        let mut line = Map::new();
        line.insert("time".into(), wall().as_secs_f64().into());
        line.insert("event".into(), event.into());
        line.extend(fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        let lost = self.lost.load(Ordering::Relaxed);
        if lost > 0 {
            line.insert("lost".into(), lost.into());
        }
        let mut text = Value::Object(line).to_string();
        text.push('\n');
        match (&self.file).write_all(text.as_bytes()) {
            Ok(()) => self.lost.fetch_sub(lost, Ordering::Relaxed),
            Err(_) => self.lost.fetch_add(1, Ordering::Relaxed),
        };
    }
}
