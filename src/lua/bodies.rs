//! Bodies of requests: bytes, files and parts, from the tables of the front.

use super::{
    answer::{Answer, argument},
    options::Options,
};
use crate::{
    allocation,
    client::upload::{Part, Source},
    error::{Error, Kind, reason},
    files::Files,
    http::multipart,
};
use mlua::{LuaString, Table};
use std::sync::Arc;

/// Where the body comes from, and its content type.
pub(super) fn source(
    body: &Options<'_>,
    files: &Files,
    content_type: Option<String>,
) -> Answer<(Option<Source>, Option<String>)> {
    if let Some(parts) = body.find::<Vec<Table>>("parts")? {
        let (source, kind) = multipart(body, &parts, files)?;
        return Ok((Some(source), Some(kind)));
    }
    if body.flag("pump", false)? {
        return Ok((Some(Source::Caller(body.find::<f64>("length")?.map(|n| n as u64))), content_type));
    }
    let part = part(body, "body_file", files)?;
    Ok((Some(Source::Parts(vec![part])), content_type))
}

/// `bytes`, or the file at `path`.
fn part(of: &Options<'_>, name: &str, files: &Files) -> Answer<Part> {
    if let Some(bytes) = of.find::<LuaString>("bytes")? {
        return Ok(Part::Bytes(Arc::new(allocation::copied(&bytes.as_bytes())?)));
    }
    let Some(path) = of.text("path")? else {
        return argument(of.index, format!("{name} has neither bytes nor a path"));
    };
    let file = files.open_regular(path.as_bytes());
    let file = file.or_else(|refusal| argument(of.index, format!("{name}: {}", refusal.message(&path))))?;
    Part::rest_of(file).or_else(|e| argument(of.index, format!("{name}: {path}: {}", reason(&e))))
}

fn multipart(of: &Options<'_>, parts: &[Table], files: &Files) -> Answer<(Source, String)> {
    let mut random = [0; 16];
    if let Err(e) = getrandom::fill(&mut random) {
        return Err(Error::new(Kind::Socket, format!("no random bytes: {e}")).into());
    }
    let boundary = multipart::boundary(random);
    let mut all = Vec::new();
    for (at, table) in parts.iter().enumerate() {
        let name = format!("body_multipart[{}]", at + 1);
        let given = of.of(table.clone());
        let head = multipart::Part {
            name: given.find::<LuaString>("name")?.map(|name| name.as_bytes().to_vec()).unwrap_or_default(),
            filename: given.find::<LuaString>("filename")?.map(|name| name.as_bytes().to_vec()),
            content_type: given.text("type")?,
        };
        let before = multipart::before(&head, &boundary, at == 0);
        all.push(Part::Bytes(Arc::new(before.or_else(|why| argument(of.index, format!("{name}: {why}")))?)));
        all.push(part(&given, &name, files)?);
    }
    all.push(Part::Bytes(Arc::new(multipart::after(&boundary, parts.is_empty()))));
    Ok((Source::Parts(all), multipart::content_type(&boundary)))
}
