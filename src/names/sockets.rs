//! The sockets that hickory-resolver asks a name server with. Datagram sockets are connected to it, so that the system
//! reports a closed port, drops datagrams of other senders, and knows the zone of a link-local address.

use hickory_resolver::net::runtime::{DnsUdpSocket, RuntimeProvider, TokioRuntimeProvider};
use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::io::{Interest, ReadBuf};

type Tokio = TokioRuntimeProvider;
type Opening<'a, T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send + 'a>>;

/// Opens sockets to one server.
#[derive(Clone)]
pub struct Sockets {
    tokio: Tokio,
    server: SocketAddr,
}

impl Sockets {
    pub fn to(server: SocketAddr) -> Sockets {
        Sockets { tokio: Tokio::default(), server }
    }
}

impl RuntimeProvider for Sockets {
    type Handle = <Tokio as RuntimeProvider>::Handle;
    type Timer = <Tokio as RuntimeProvider>::Timer;
    type Udp = Datagrams;
    type Tcp = <Tokio as RuntimeProvider>::Tcp;

    fn create_handle(&self) -> Self::Handle {
        self.tokio.create_handle()
    }

    fn connect_tcp(
        &self,
        _: SocketAddr,
        local: Option<SocketAddr>,
        limit: Option<Duration>,
    ) -> Opening<'static, Self::Tcp> {
        self.tokio.connect_tcp(self.server, local, limit)
    }

    fn bind_udp(&self, local: SocketAddr, _: SocketAddr) -> Opening<'static, Datagrams> {
        let (server, socket) = (self.server, self.tokio.bind_udp(local, self.server));
        Box::pin(async move {
            let socket = socket.await?;
            socket.connect(server).await?;
            Ok(Datagrams { socket, server })
        })
    }
}

/// A datagram socket that is connected to `server`.
pub struct Datagrams {
    socket: <Tokio as RuntimeProvider>::Udp,
    server: SocketAddr,
}

impl DnsUdpSocket for Datagrams {
    type Time = <Tokio as RuntimeProvider>::Timer;

    fn poll_recv_from(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<(usize, SocketAddr)>> {
        let mut buf = ReadBuf::new(buf);
        ready!(self.socket.poll_recv(cx, &mut buf))?;
        Poll::Ready(Ok((buf.filled().len(), self.server)))
    }

    /// Waits for an error as well, which alone is not "readable" to tokio.
    fn recv_from<'a, 'b, 'c>(&'a self, buf: &'b mut [u8]) -> Opening<'c, (usize, SocketAddr)>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        let error = || self.socket.take_error()?.map_or(Err(io::ErrorKind::WouldBlock.into()), Err);
        Box::pin(async move {
            loop {
                let ready = self.socket.ready(Interest::READABLE | Interest::ERROR).await?;
                let received = match ready.is_readable() {
                    true => self.socket.try_recv(buf),
                    false => self.socket.try_io(Interest::ERROR, error),
                };
                match received {
                    Ok(count) => return Ok((count, self.server)),
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                    Err(e) => return Err(e),
                }
            }
        })
    }

    fn poll_send_to(&self, cx: &mut Context<'_>, buf: &[u8], _: SocketAddr) -> Poll<io::Result<usize>> {
        self.socket.poll_send(cx, buf)
    }
}
