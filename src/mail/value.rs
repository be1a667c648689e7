//! Results as plain values of no particular language: the binding converts them to Lua values in one walk.

use std::borrow::Cow;

#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    Nil,
    True,
    Number(u64),
    /// Unix time.
    Seconds(i64),
    Text(Cow<'a, [u8]>),
    Numbers(Vec<u32>),
    List(Vec<Value<'a>>),
    Hash(Fields<'a>),
    /// In a hash: the value of the field of this name, which stands before it.
    Same(&'static str),
}

pub type Fields<'a> = Vec<(Cow<'a, [u8]>, Value<'a>)>;

/// A field whose name is ours.
pub fn field<'a>(name: &'static str, value: Value<'a>) -> (Cow<'a, [u8]>, Value<'a>) {
    (Cow::Borrowed(name.as_bytes()), value)
}

/// A word that is ours.
pub fn word<'a>(text: &'static str) -> Value<'a> {
    Value::Text(Cow::Borrowed(text.as_bytes()))
}

pub fn text<'a>(text: Cow<'a, str>) -> Value<'a> {
    Value::Text(match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    })
}
