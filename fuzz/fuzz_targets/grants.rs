//! Any text as the value of a flag, as a host of raw sockets and as a path: what is read is written so that it reads back as
//! itself, and a path that a grant covers is directly in the directory that was granted.

use caspian_net::{
    address::{Host, Zoned, is_link_local},
    grants::{Grants, Links},
};
use std::{net::IpAddr, path::Path};

pub fn run(input: (&str, &str)) {
    let (text, path) = input;
    for flag in ["--allow-net", "--allow-listen", "--deny-net"] {
        for value in [text.to_owned(), format!("unix:{text}")] {
            let Ok(grants) = Grants::parse(&[format!("{flag}={value}")]) else { continue };
            let flags = grants.flags();
            assert_eq!(Grants::parse(&flags).unwrap().flags(), flags, "{flag}={value:?}");
        }
    }
    if let Ok(zoned) = Zoned::parse(text) {
        assert_eq!(Zoned::parse(&zoned.to_string()).as_ref(), Ok(&zoned), "{text:?}");
        if zoned.zone.is_some() {
            assert!(matches!(zoned.host.ip(), Some(IpAddr::V6(ip)) if is_link_local(ip)), "{text:?}");
            assert!(Host::parse(text).is_err(), "{text:?}");
        }
    }
    // With a comma it is several grants.
    if !text.contains(',')
        && let Ok(granted) = Grants::parse(&[format!("--allow-net=unix:{text}/*")]).and_then(|grants| Ok(grants.unix(path)))
        && let Ok(granted) = granted
    {
        assert_eq!(granted.links(), Links::Refused);
        let named: Vec<_> = Path::new(text).components().collect();
        let inside: Vec<_> = granted.path().parent().unwrap().components().collect();
        assert!(named == inside || text.is_empty() && inside.len() == 1, "{text:?} {path:?}");
    }
}
