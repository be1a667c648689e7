//! A scripted server on loopback, plain or TLS: what it does on each connection, in order, and what it saw.

use crate::{
    http_support::request,
    tls_support::{Pki, leaf, rustls_server},
};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// No wait of a server is longer.
const PATIENCE: Duration = Duration::from_secs(20);
/// What an endless turn says at the most, should the client never go away.
const ENDLESS: usize = 256 << 20;

/// The names of the rows' servers. All of them lead to loopback by the option `resolve`; no resolver is asked.
pub const NAMES: [&str; 5] = ["a.test", "b.test", "sub.a.test", "xa.test", "a.test.evil.test"];

/// One act of a server. After the last one it waits for the client to close.
#[derive(Clone, Debug)]
pub enum Turn {
    /// Reads a request, head and body.
    Read,
    /// Reads a request's head.
    Head,
    /// Reads so many bytes.
    Take(usize),
    /// `{a}` and `{b}` become the ports of the row's servers.
    Say(Vec<u8>),
    /// Byte by byte, with a pause before each.
    Drip(Vec<u8>, Duration),
    /// Again and again, until the client goes away.
    Endless(Vec<u8>),
    /// Tells the row that it came so far: see `Row::after`.
    Told,
    /// Sends back what comes until the client ends.
    Echo,
    /// Ends the connection; over TLS without close_notify.
    Close,
    /// Ends it as TLS wants.
    Notify,
    /// Ends it with a reset.
    Reset,
}

trait Stream: Read + Write + Send {
    fn socket(&self) -> &TcpStream;
    fn notify(&mut self) {}
}

impl Stream for TcpStream {
    fn socket(&self) -> &TcpStream {
        self
    }
}

impl Stream for StreamOwned<ServerConnection, TcpStream> {
    fn socket(&self) -> &TcpStream {
        &self.sock
    }
    fn notify(&mut self) {
        self.conn.send_close_notify();
        let _ = self.flush();
    }
}

/// What a server speaks below HTTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Below {
    #[default]
    Plain,
    Tls,
}

/// A server that listens but has no script yet: rows name each other's ports.
pub struct Bound {
    listener: TcpListener,
    pub port: u16,
}

impl Bound {
    pub fn new() -> Bound {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Bound { port: listener.local_addr().unwrap().port(), listener }
    }
}

pub struct Server {
    port: u16,
    /// Connection and request, as they came.
    pub seen: Arc<Mutex<Vec<(usize, String)>>>,
    /// Connections that were made.
    pub accepted: Arc<AtomicUsize>,
    /// Tells of each [`Turn::Told`].
    pub told: mpsc::Receiver<()>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// One script per connection, in the order in which they are made; further ones are closed at once, and counted.
    pub fn run(bound: Bound, below: Below, scripts: Vec<Vec<Turn>>, ports: [u16; 2]) -> Server {
        let (seen, accepted, stop) =
            (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (tell, told) = mpsc::channel();
        let port = bound.port;
        let (log, count, stopped) = (seen.clone(), accepted.clone(), stop.clone());
        let thread = thread::spawn(move || {
            let mut scripts = scripts.into_iter();
            let mut workers = Vec::new();
            loop {
                let Ok((stream, _)) = bound.listener.accept() else { break };
                if stopped.load(Ordering::Acquire) {
                    break;
                }
                let number = count.fetch_add(1, Ordering::AcqRel);
                let Some(script) = scripts.next() else { continue };
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                stream.set_write_timeout(Some(PATIENCE)).unwrap();
                stream.set_nodelay(true).unwrap();
                let (log, tell) = (log.clone(), tell.clone());
                workers.push(thread::spawn(move || {
                    let mut stream: Box<dyn Stream> = match below {
                        Below::Plain => Box::new(stream),
                        Below::Tls => {
                            let session = ServerConnection::new(tls().1.clone()).unwrap();
                            Box::new(StreamOwned::new(session, stream))
                        }
                    };
                    if serve(&mut *stream, number, script, &log, &tell, ports) {
                        // The client may be in the middle of an upload.
                        let _ = std::io::copy(&mut stream, &mut std::io::sink());
                    }
                }));
            }
            // A panic in there is a failure of the test's own.
            workers.into_iter().for_each(|worker| worker.join().unwrap());
        });
        Server { port, seen, accepted, told, stop, thread: Some(thread) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        let joined = self.thread.take().map(JoinHandle::join);
        if !thread::panicking() {
            joined.unwrap().unwrap();
        }
    }
}

/// The authority of all rows, and the servers' configuration.
pub fn tls() -> &'static (Pki, Arc<ServerConfig>) {
    static TLS: OnceLock<(Pki, Arc<ServerConfig>)> = OnceLock::new();
    TLS.get_or_init(|| {
        let pki = Pki::new();
        let server = rustls_server(&pki.root.issue(leaf(&NAMES)));
        (pki, server)
    })
}

/// Plays a script; true if that leaves the connection open.
fn serve(
    stream: &mut dyn Stream,
    number: usize,
    script: Vec<Turn>,
    log: &Mutex<Vec<(usize, String)>>,
    tell: &mpsc::Sender<()>,
    ports: [u16; 2],
) -> bool {
    for turn in script {
        match turn {
            Turn::Read | Turn::Head => {
                let Some(request) = request(stream, matches!(turn, Turn::Read)) else { return false };
                log.lock().unwrap().push((number, request));
            }
            Turn::Take(count) => {
                let mut bytes = vec![0; count];
                if stream.read_exact(&mut bytes).is_err() {
                    return false;
                }
            }
            Turn::Say(bytes) => {
                let _ = stream.write_all(&filled(&bytes, ports));
                let _ = stream.flush();
            }
            Turn::Drip(bytes, pause) => {
                for byte in filled(&bytes, ports) {
                    thread::sleep(pause);
                    if stream.write_all(&[byte]).and_then(|()| stream.flush()).is_err() {
                        return false;
                    }
                }
            }
            Turn::Endless(bytes) => {
                let many = bytes.repeat((64 * 1024 / bytes.len()).max(1));
                let mut said = 0;
                while said < ENDLESS {
                    if stream.write_all(&many).is_err() {
                        return false;
                    }
                    said += many.len();
                }
            }
            Turn::Told => drop(tell.send(())),
            Turn::Echo => {
                let mut buffer = [0; 16 * 1024];
                while let Ok(count @ 1..) = stream.read(&mut buffer) {
                    if stream.write_all(&buffer[..count]).is_err() {
                        return false;
                    }
                }
            }
            Turn::Close | Turn::Notify => {
                if matches!(turn, Turn::Notify) {
                    stream.notify();
                }
                // The sending side first: what the client still says must not turn this into a reset.
                let _ = stream.socket().shutdown(Shutdown::Write);
                let mut waste = [0; 4096];
                stream.socket().set_read_timeout(Some(Duration::from_millis(50))).unwrap();
                while let Ok(1..) = (&mut stream.socket()).read(&mut waste) {}
                return false;
            }
            Turn::Reset => {
                socket2::SockRef::from(stream.socket()).set_linger(Some(Duration::ZERO)).unwrap();
                return false;
            }
        }
    }
    true
}

/// `{a}` and `{b}` as ports.
pub fn filled(bytes: &[u8], ports: [u16; 2]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((first, tail)) = rest.split_first() {
        match rest {
            [b'{', b'a', b'}', tail @ ..] => {
                out.extend_from_slice(ports[0].to_string().as_bytes());
                rest = tail;
            }
            [b'{', b'b', b'}', tail @ ..] => {
                out.extend_from_slice(ports[1].to_string().as_bytes());
                rest = tail;
            }
            _ => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    out
}
