//! The one door out: granted name → resolve → permit each address → race connects → TLS → [`Conn`].

use crate::{
    conn::Conn,
    deadline::{Deadline, now},
    error::{Error, Result},
    grants::{Bindable, Granted, GrantedPath, Permitted},
    names::{self, Lookup},
    net::Net,
    panics::failpoint,
    resolve,
    tls::{ClientTls, Tls},
    wire::Wire,
    zone,
};
use std::{net::IpAddr, time::Duration};

/// Where to, and how.
pub struct Target<'a> {
    /// The call, for messages and the log: `tcp`, `fetch`.
    pub op: &'static str,
    pub granted: &'a Granted,
    /// Dial this address instead of asking for the name's; it is permitted like a resolved one.
    pub address: Option<IpAddr>,
    /// Ask there for the name's addresses. Defaults to the system's resolver.
    pub names: Option<&'a Lookup>,
    /// Bind this end there.
    pub local: Option<&'a Bindable>,
    /// Speak TLS, verifying the granted name.
    pub tls: Option<&'a ClientTls>,
}

/// What each step took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timings {
    pub dns: Duration,
    pub connect: Duration,
    pub tls: Duration,
}

/// Opens a connection.
pub fn dial(net: &Net, target: &Target<'_>, deadline: &Deadline) -> Result<(Conn, Timings)> {
    let (granted, port) = (target.granted, target.granted.port());
    let host = granted.addr().map_or_else(|| granted.host().to_string(), zone::host);
    let done = attempt(net, target, deadline);
    if net.is_logged() {
        let mut fields = vec![("op", target.op.into()), ("host", host.as_str().into()), ("port", port.into())];
        match &done {
            Ok((conn, timings)) => {
                let address = conn.wire().remote().map(zone::endpoint);
                fields.push(("address", address.into()));
                fields.push(("tls", target.tls.is_some().into()));
                fields.push(("seconds", (timings.dns + timings.connect + timings.tls).as_secs_f64().into()));
                net.log("connected", &fields);
            }
            Err(e) => {
                fields.push(("class", e.kind().word().into()));
                net.log("failed", &fields);
            }
        }
    }
    done.map_err(|e| e.op(target.op).at(host, port))
}

fn attempt(net: &Net, target: &Target<'_>, deadline: &Deadline) -> Result<(Conn, Timings)> {
    failpoint("dial");
    let mut timings = Timings::default();
    let started = now();
    let addresses = addresses(net, target, deadline)?;
    timings.dns = started.elapsed();
    let started = now();
    let wire = Wire::connect(&peer(target.granted), &addresses, target.local, deadline)?;
    timings.connect = started.elapsed();
    let Some(tls) = target.tls else { return Ok((Conn::plain(wire), timings)) };
    let started = now();
    let tls = Tls::connect(wire, tls, target.granted.host(), deadline)?;
    timings.tls = started.elapsed();
    Ok((Conn::tls(tls), timings))
}

/// The other end, as messages name it: `example.com:80`, `[fe80::1%eth0]:80`.
pub fn peer(granted: &Granted) -> String {
    granted.addr().map_or_else(|| granted.endpoint().to_string(), zone::endpoint)
}

/// The addresses that may be dialled for a granted name: all that it has, or an error if one of them is denied.
pub fn addresses(net: &Net, target: &Target<'_>, deadline: &Deadline) -> Result<Vec<Permitted>> {
    let answers = match (target.address, target.names) {
        (Some(ip), _) => vec![ip],
        (None, Some(names)) => names.addresses(net, target.op, target.granted, deadline)?,
        (None, None) => look_up(net, target.op, target.granted, deadline)?,
    };
    net.permit(target.op, target.granted, &answers)
}

/// The addresses of a granted name, permitted or not, as this machine has them.
pub fn look_up(net: &Net, op: &'static str, granted: &Granted, deadline: &Deadline) -> Result<Vec<IpAddr>> {
    let host = granted.host();
    if host.is_localhost() {
        return Ok(names::loopback(host));
    }
    if net.grants().denies_some(granted.port(), || names::searched(host))? {
        // The system's resolver would ask for a denied name: then this one as it is written, and no other.
        return Lookup::default().addresses(net, op, granted, deadline);
    }
    resolve::addresses(granted, net.lookups(), deadline)
}

/// Opens a connection to a Unix socket.
pub fn dial_unix(net: &Net, op: &'static str, path: &GrantedPath, deadline: &Deadline) -> Result<Conn> {
    let done = Wire::connect_unix(path, deadline);
    if net.is_logged() {
        let class = done.as_ref().err().map(|e: &Error| e.kind().word());
        let event = if class.is_none() { "connected" } else { "failed" };
        net.log(
            event,
            &[("op", op.into()), ("path", path.path().display().to_string().into()), ("class", class.into())],
        );
    }
    done.map(Conn::plain).map_err(|e| e.op(op))
}
