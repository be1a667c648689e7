//! The methods of each class, by name. What more than one kind of socket has is here; the rest is in `inet`, `udp`
//! and `unix`.

use super::{
    classes::{self, Args, Method},
    inet,
    messages::{Answer, Class, Fail, Out, Outcome, bad, fail},
    object::{Item, Object},
    options::{self, DGRAM, STREAM, TCP, UDP},
    udp, unix,
};
use crate::compat::bsd;
use std::{ffi::CStr, net::Shutdown, os::fd::RawFd};

const TCP_ANY: u16 = Class::TcpMaster.bit() | Class::TcpClient.bit() | Class::TcpServer.bit();
const UDP_ANY: u16 = Class::UdpUnconnected.bit() | Class::UdpConnected.bit();
const STREAM_ANY: u16 = Class::StreamMaster.bit() | Class::StreamClient.bit() | Class::StreamServer.bit();
const DGRAM_ANY: u16 = Class::DgramUnconnected.bit() | Class::DgramConnected.bit();

type Run = fn(&Object, Class, &Args<'_>) -> Outcome<Answer>;

const fn method(name: &'static str, classes: u16, expected: &'static CStr, run: Run) -> Method {
    Method { name, classes, expected, texts: 0, run }
}

const fn texts(mut method: Method, texts: u8) -> Method {
    method.texts = texts;
    method
}

/// A method of every TCP class.
const fn tcp(name: &'static str, run: Run) -> Method {
    method(name, TCP_ANY, c"tcp{any} expected", run)
}

const fn udp(name: &'static str, run: Run) -> Method {
    method(name, UDP_ANY, c"udp{any} expected", run)
}

const fn stream(name: &'static str, run: Run) -> Method {
    method(name, STREAM_ANY, c"unixstream{any} expected", run)
}

const fn dgram(name: &'static str, run: Run) -> Method {
    method(name, DGRAM_ANY, c"unixdgram{any} expected", run)
}

const MASTER: (u16, &CStr) = (Class::TcpMaster.bit(), c"tcp{master} expected");
const CLIENT: (u16, &CStr) = (Class::TcpClient.bit(), c"tcp{client} expected");
const SERVER: (u16, &CStr) = (Class::TcpServer.bit(), c"tcp{server} expected");
const STREAM_MASTER: (u16, &CStr) = (Class::StreamMaster.bit(), c"unixstream{master} expected");
const STREAM_CLIENT: (u16, &CStr) = (Class::StreamClient.bit(), c"unixstream{client} expected");
const STREAM_SERVER: (u16, &CStr) = (Class::StreamServer.bit(), c"unixstream{server} expected");
const UNCONNECTED: (u16, &CStr) = (Class::UdpUnconnected.bit(), c"udp{unconnected} expected");
const CONNECTED: (u16, &CStr) = (Class::UdpConnected.bit(), c"udp{connected} expected");
const DGRAM_UNCONNECTED: (u16, &CStr) = (Class::DgramUnconnected.bit(), c"unixdgram{unconnected} expected");
const DGRAM_CONNECTED: (u16, &CStr) = (Class::DgramConnected.bit(), c"unixdgram{connected} expected");

/// A method of one class only.
const fn only(name: &'static str, (classes, expected): (u16, &'static CStr), run: Run) -> Method {
    method(name, classes, expected, run)
}

static TCP_METHODS: &[Method] = &[
    only("accept", SERVER, |object, _, _| accept(object, Class::TcpClient)),
    texts(only("bind", MASTER, |object, _, args| inet::bind(object, args.list[0], args.list[1])), 1 << 2),
    texts(only("setsockname", MASTER, |object, _, args| inet::bind(object, args.list[0], args.list[1])), 1 << 2),
    texts(tcp("connect", connect), 1 << 2),
    texts(tcp("setpeername", connect), 1 << 2),
    only("listen", MASTER, |object, _, args| listen(object, args, Class::TcpServer)),
    tcp("close", close),
    tcp("dirty", |object, _, _| Ok(Answer::one(Out::Bool(object.dirty())))),
    tcp("getfamily", |object, _, _| Ok(inet::family(object))),
    tcp("getfd", getfd),
    tcp("setfd", setfd),
    tcp("getoption", |object, _, args| options::get(object, TCP, args.list[0])),
    tcp("setoption", |object, _, args| options::set(object, TCP, args.list[0], args.list[1], &args.fields)),
    tcp("getpeername", |object, _, _| inet::name(object, |fd| bsd::remote(fd))),
    tcp("getsockname", |object, _, _| inet::name(object, |fd| bsd::local(fd))),
    only("getstats", CLIENT, getstats),
    only("setstats", CLIENT, setstats),
    tcp("settimeout", settimeout),
    tcp("gettimeout", gettimeout),
    only("shutdown", CLIENT, shutdown),
];

static UDP_METHODS: &[Method] = &[
    udp("close", close),
    udp("dirty", |_, _, _| Ok(Answer::one(Out::Bool(false)))),
    udp("getfamily", |object, _, _| Ok(inet::family(object))),
    udp("getfd", getfd),
    udp("setfd", setfd),
    udp("getoption", |object, _, args| options::get(object, UDP, args.list[0])),
    udp("setoption", |object, _, args| options::set(object, UDP, args.list[0], args.list[1], &args.fields)),
    only("getpeername", CONNECTED, |object, _, _| inet::name(object, |fd| bsd::remote(fd))),
    udp("getsockname", |object, _, _| inet::name(object, |fd| bsd::local(fd))),
    udp("receive", |object, _, args| udp::receive(object, args.list[0])),
    only("receivefrom", UNCONNECTED, |object, _, args| udp::receive_from(object, args.list[0])),
    texts(only("send", CONNECTED, |object, _, args| udp::send(object, args.list[0])), 1 << 2),
    texts(only("sendto", UNCONNECTED, udp::send_to), 1 << 2 | 1 << 3),
    texts(udp("setpeername", |object, _, args| udp::set_peer(object, args)), 1 << 2),
    texts(only("setsockname", UNCONNECTED, |object, _, args| inet::bind(object, args.list[0], args.list[1])), 1 << 2),
    udp("settimeout", settimeout),
    udp("gettimeout", gettimeout),
];

static STREAM_METHODS: &[Method] = &[
    only("accept", STREAM_SERVER, |object, _, _| accept(object, Class::StreamClient)),
    texts(only("bind", STREAM_MASTER, |object, _, args| unix::bind(object, args.list[0])), 1 << 2),
    texts(only("setsockname", STREAM_MASTER, |object, _, args| unix::bind(object, args.list[0])), 1 << 2),
    texts(only("connect", STREAM_MASTER, |object, _, args| unix::connect(object, args.list[0])), 1 << 2),
    texts(only("setpeername", STREAM_MASTER, |object, _, args| unix::connect(object, args.list[0])), 1 << 2),
    only("listen", STREAM_MASTER, |object, _, args| listen(object, args, Class::StreamServer)),
    stream("close", close),
    stream("dirty", |object, _, _| Ok(Answer::one(Out::Bool(object.dirty())))),
    stream("getfd", getfd),
    stream("setfd", setfd),
    stream("getsockname", |object, _, _| unix::name(object)),
    only("getstats", STREAM_CLIENT, getstats),
    only("setstats", STREAM_CLIENT, setstats),
    stream("setoption", |object, _, args| options::set(object, STREAM, args.list[0], args.list[1], &args.fields)),
    stream("settimeout", settimeout),
    only("shutdown", STREAM_CLIENT, shutdown),
];

static DGRAM_METHODS: &[Method] = &[
    texts(only("bind", DGRAM_UNCONNECTED, |object, _, args| unix::bind(object, args.list[0])), 1 << 2),
    texts(only("setsockname", DGRAM_UNCONNECTED, |object, _, args| unix::bind(object, args.list[0])), 1 << 2),
    texts(dgram("connect", |object, _, args| unix::set_peer(object, args.list[0])), 1 << 2),
    texts(dgram("setpeername", |object, _, args| unix::set_peer(object, args.list[0])), 1 << 2),
    dgram("close", close),
    dgram("dirty", |_, _, _| Ok(Answer::one(Out::Bool(false)))),
    dgram("getfd", getfd),
    dgram("setfd", setfd),
    dgram("getsockname", |object, _, _| unix::name(object)),
    dgram("receive", |object, _, args| udp::receive(object, args.list[0])),
    only("receivefrom", DGRAM_UNCONNECTED, |object, _, args| unix::receive_from(object, args.list[0])),
    texts(only("send", DGRAM_CONNECTED, |object, _, args| udp::send(object, args.list[0])), 1 << 2),
    texts(only("sendto", DGRAM_UNCONNECTED, |object, _, args| unix::send_to(object, args)), 1 << 2 | 1 << 3),
    dgram("setoption", |object, _, args| options::set(object, DGRAM, args.list[0], args.list[1], &args.fields)),
    dgram("settimeout", settimeout),
    dgram("gettimeout", gettimeout),
];

/// What the objects of a class can do, but for the hot `send` and `receive` of streams.
pub fn of(class: Class) -> &'static [Method] {
    match class {
        Class::TcpMaster | Class::TcpClient | Class::TcpServer => TCP_METHODS,
        Class::UdpUnconnected | Class::UdpConnected => UDP_METHODS,
        Class::StreamMaster | Class::StreamClient | Class::StreamServer => STREAM_METHODS,
        Class::DgramUnconnected | Class::DgramConnected => DGRAM_METHODS,
    }
}

fn accept(object: &Object, class: Class) -> Outcome<Answer> {
    let conn = inet::accept(object)?;
    let client = Object::new(&object.home, object.family.get(), false, Item::Stream(conn));
    Ok(Answer::one(Out::Object(client, class)))
}

fn connect(object: &Object, _: Class, args: &Args<'_>) -> Outcome<Answer> {
    // The class changes even if it fails: whoever does not wait asks again.
    match inet::connect(object, args.list[0], args.list[1]) {
        Ok(answer) => Ok(answer.becomes(Class::TcpClient)),
        Err(Fail::Message(why)) => {
            Ok(Answer { values: vec![Out::Nil, Out::Text(why.text())], class: Some(Class::TcpClient) })
        }
        Err(fail) => Err(fail),
    }
}

fn listen(object: &Object, args: &Args<'_>, class: Class) -> Outcome<Answer> {
    let backlog = args.list[0].number_or(2, 32.0)?;
    object.home.cap.net.alive()?;
    // Who may take over any descriptor may have bound it, too.
    let native = object.home.native;
    object.with_bare(|bare| match native || bare.is_bound() {
        true => Ok(bare.listen(backlog as i32)?),
        false => fail("Destination address required"),
    })?;
    Ok(Answer::done().becomes(class))
}

fn close(object: &Object, _: Class, _: &Args<'_>) -> Outcome<Answer> {
    object.close();
    Ok(Answer::done())
}

fn getfd(object: &Object, _: Class, _: &Args<'_>) -> Outcome<Answer> {
    Ok(Answer::one(Out::Number(object.number().into())))
}

/// Answers nothing, as the original does; a refusal is `nil` and why.
fn setfd(object: &Object, class: Class, args: &Args<'_>) -> Outcome<Answer> {
    let number = args.list[0].number(2)?;
    object.rename(number as RawFd, classes::adopt, class)?;
    Ok(Answer::default())
}

fn getstats(object: &Object, _: Class, _: &Args<'_>) -> Outcome<Answer> {
    let values = vec![object.received.get(), object.sent.get(), object.age()];
    Ok(Answer { values: values.into_iter().map(Out::Number).collect(), class: None })
}

fn setstats(object: &Object, _: Class, args: &Args<'_>) -> Outcome<Answer> {
    let [received, sent, age, ..] = args.list;
    object.received.set(received.number_or(2, object.received.get())?);
    object.sent.set(sent.number_or(3, object.sent.get())?);
    if let Ok(age) = age.number(4) {
        object.set_age(age);
    }
    Ok(Answer::done())
}

/// `settimeout(seconds, mode)`: `b` (each call) or `t`, `r` (all that follows); nothing and negatives are no limit.
fn settimeout(object: &Object, _: Class, args: &Args<'_>) -> Outcome<Answer> {
    let seconds = args.list[0].number_or(2, -1.0)?;
    let mode = if args.list[1].is_absent() { b"b" } else { args.list[1].text(3)? };
    let mut timeouts = object.timeouts.get();
    match mode.first() {
        Some(b'b') => timeouts.block = seconds,
        Some(b't' | b'r') => timeouts.total = seconds,
        _ => return bad(3, "invalid timeout mode"),
    }
    object.timeouts.set(timeouts);
    Ok(Answer::done())
}

fn gettimeout(object: &Object, _: Class, _: &Args<'_>) -> Outcome<Answer> {
    let timeouts = object.timeouts.get();
    Ok(Answer { values: vec![Out::Number(timeouts.block), Out::Number(timeouts.total)], class: None })
}

fn shutdown(object: &Object, _: Class, args: &Args<'_>) -> Outcome<Answer> {
    let how = match args.list[0] {
        how if how.is_absent() => Shutdown::Both,
        how => match how.text(2)? {
            b"both" => Shutdown::Both,
            b"send" => Shutdown::Write,
            b"receive" => Shutdown::Read,
            other => return bad(2, format!("invalid option '{}'", String::from_utf8_lossy(other))),
        },
    };
    // Always 1, as in the original: what was asked for is so, or there is nothing to end.
    let _ = object.with_fd(|fd| Ok(bsd::shutdown(fd, how)?));
    Ok(Answer::done())
}
