//! E62: JSON texts, as `response.json()` takes them: through the launcher, so that what is judged is the Lua value.

use crate::{
    row::ok,
    server::{Below, Bound, Server},
};
use std::process::{Command, Stdio};

const REFUSED: &str = "protocol";

/// Prints one line per text.
const SCRIPT: &str = r#"
local url, count = "http://127.0.0.1:{a}/", {n}
for i = 1, count do
  local response = net.fetch(url)
  local fine, value = pcall(response.json, response)
  if not fine then
    print(value.class:match("[^/]*$"))
  elseif type(value) == "table" then
    print("a=" .. (value.a == net.null and "null" or tostring(value.a)) .. " #" .. #value)
  elseif value == net.null then
    print("null")
  elseif type(value) == "string" then
    print((value:gsub("[^%g ]", function(c) return ("\\%02x"):format(c:byte()) end)))
  else
    print(value)
  end
end
"#;

pub fn run() {
    let deep = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    let rows: Vec<(&str, String, &str)> = vec![
        ("deep arrays", deep(100_000), REFUSED),
        ("arrays that only begin", "[".repeat(100_000), REFUSED),
        ("deep objects", "{\"a\":".repeat(100_000), REFUSED),
        ("as deep as may be", deep(127), "a=nil #1"),
        ("10^400", "1e400".into(), REFUSED),
        ("-10^400", "-1e400".into(), REFUSED),
        ("a very long number", "9".repeat(100_000), REFUSED),
        ("10^-400", "1e-400".into(), "0.0"),
        ("2^53 + 1", "9007199254740993".into(), "9007199254740993"),
        ("2^63", "9223372036854775808".into(), "9.2233720368548e+18"),
        ("NaN", "NaN".into(), REFUSED),
        ("a leading zero", "01".into(), REFUSED),
        ("a plus", "+1".into(), REFUSED),
        ("a lone high surrogate", r#""\ud800""#.into(), REFUSED),
        ("a lone low surrogate", r#""\udc00""#.into(), REFUSED),
        ("surrogates the wrong way round", r#""\udc00\ud800""#.into(), REFUSED),
        ("surrogates", r#""\ud83d\ude00""#.into(), "\\f0\\9f\\98\\80"),
        ("NUL, escaped", r#""a\u0000b""#.into(), "a\\00b"),
        ("NUL", "\"a\0b\"".into(), REFUSED),
        ("a line feed", "\"a\nb\"".into(), REFUSED),
        ("a byte order mark", "\u{feff}{\"a\":1}".into(), "a=1 #0"),
        ("two of them", "\u{feff}\u{feff}{}".into(), REFUSED),
        ("the last of equal keys counts", r#"{"a":1,"a":2}"#.into(), "a=2 #0"),
        ("a key that is a number is a string", r#"{"1":1}"#.into(), "a=nil #0"),
        ("a metamethod's name is only a name", r#"{"__index":{"a":1}}"#.into(), "a=nil #0"),
        ("null", "null".into(), "null"),
        ("null in an object", r#"{"a":null}"#.into(), "a=null #0"),
        ("nothing", "".into(), REFUSED),
        ("two values", "{} {}".into(), REFUSED),
        ("a comma too many", "[1,]".into(), REFUSED),
        ("a comment", "[1/**/]".into(), REFUSED),
        ("single quotes", "['a']".into(), REFUSED),
    ];
    let bound = Bound::new();
    let ports = [bound.port; 2];
    let script = SCRIPT.replace("{a}", &ports[0].to_string()).replace("{n}", &rows.len().to_string());
    let answers = rows.iter().flat_map(|(_, text, _)| ok(text)).collect();
    let server = Server::run(bound, Below::Plain, vec![answers], ports);
    let child = Command::new(env!("CARGO_BIN_EXE_caspian-net"))
        .args([&format!("--allow-net=127.0.0.1:{}", ports[0]), "-e", &script])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&child.stdout);
    let mut lines = told.lines();
    for (name, _, expected) in &rows {
        let Some(line) = lines.next() else {
            panic!("{name}: the launcher ended: {}", String::from_utf8_lossy(&child.stderr))
        };
        assert_eq!(line, *expected, "{name}");
    }
    drop(server);
}
