//! The look-ups of a guard: the exact name, absolute, without search domains, in one question whose whole answer is
//! then permitted or refused. From the hosts file, the cache of that guard, or the name servers; never through the
//! system's resolver, which has search domains and plug-ins of its own.

use super::{Names, Question, Record};
use crate::{deadline::Deadline, error::Result, grants::Granted, net::Net};
use std::{net::IpAddr, sync::Arc};

/// One guard's resolver. Clones share its cache.
#[derive(Clone, Debug, Default)]
pub struct Lookup {
    names: Arc<Names>,
    server: Option<(IpAddr, u16)>,
}

impl Lookup {
    /// Asks that name server, which the grants have to cover, instead of the system's; and no hosts file.
    pub fn at(ip: IpAddr, port: u16) -> Lookup {
        Lookup { names: Arc::default(), server: Some((ip, port)) }
    }

    /// The addresses of a granted host, none of them permitted yet. A literal is its own answer.
    pub fn addresses(
        &self,
        net: &Net,
        op: &'static str,
        granted: &Granted,
        deadline: &Deadline,
    ) -> Result<Vec<IpAddr>> {
        if let Some(ip) = granted.host().ip() {
            return Ok(vec![ip]);
        }
        let host = granted.host().clone();
        let question = Question { op, host, absolute: true, kind: None, server: self.server, tcp: false };
        let records = self.names.resolve(net, &question, deadline)?;
        Ok(records.iter().filter_map(Record::as_address).collect())
    }
}
