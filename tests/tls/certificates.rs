//! Certificates of every kind, of servers and of clients.

use crate::tls_support::*;
use caspian_net::{
    error::Kind,
    tls::{ClientAuth, ClientOptions, ClientTls, ServerTls, Tls, Version},
};
use rcgen::{BasicConstraints, CustomExtension, ExtendedKeyUsagePurpose as Eku, GeneralSubtree, IsCa, NameConstraints};

type Params = rcgen::CertificateParams;

/// `(name, host that is dialled, the leaf, what comes of it: Ok or words of the error)`
type Row = (&'static str, &'static str, Box<dyn Fn(&Pki) -> Chain>, Result<(), &'static str>);

fn names(list: &'static [&'static str]) -> Box<dyn Fn(&Pki) -> Chain> {
    Box::new(move |pki| pki.root.issue(leaf(list)))
}

fn with(edit: impl Fn(&mut Params) + 'static) -> Box<dyn Fn(&Pki) -> Chain> {
    Box::new(move |pki| {
        let mut params = leaf(&["localhost"]);
        edit(&mut params);
        pki.root.issue(params)
    })
}

/// A leaf below one intermediate authority.
fn below(edit: impl Fn(&mut Params) + 'static) -> Box<dyn Fn(&Pki) -> Chain> {
    Box::new(move |pki| {
        let mut params = authority("intermediate");
        edit(&mut params);
        let middle = pki.root.authority(params);
        let mut chain = middle.issue(leaf(&["localhost"]));
        chain.cert.push_str(&middle.pem);
        chain
    })
}

/// A subjectAltName whose one DNS name is these bytes.
fn raw_name(bytes: &'static [u8]) -> Box<dyn Fn(&Pki) -> Chain> {
    with(move |p| {
        let mut der = vec![0x30, bytes.len() as u8 + 2, 0x82, bytes.len() as u8];
        der.extend_from_slice(bytes);
        p.subject_alt_names.clear();
        p.custom_extensions.push(CustomExtension::from_oid_content(&[2, 5, 29, 17], der));
    })
}

fn rows() -> Vec<Row> {
    const WRONG_HOST: Result<(), &str> = Err("the certificate is not for");
    const ISSUER: Result<(), &str> = Err("issuer is unknown");
    vec![
        ("good", "localhost", names(&["localhost"]), Ok(())),
        (
            "expired",
            "localhost",
            with(|p| p.not_after = rcgen::date_time_ymd(2001, 2, 3)),
            Err("expired on 2001-02-03"),
        ),
        (
            "not yet valid",
            "localhost",
            with(|p| p.not_before = rcgen::date_time_ymd(2900, 2, 3)),
            Err("not valid before 2900-02-03"),
        ),
        ("wrong host", "localhost", names(&["example.com"]), Err("is not for localhost: it is for example.com")),
        ("self-signed", "localhost", Box::new(|_| self_signed(leaf(&["localhost"]))), ISSUER),
        ("untrusted root", "localhost", Box::new(|_| Pki::stranger().root.issue(leaf(&["localhost"]))), ISSUER),
        (
            "incomplete chain",
            "localhost",
            Box::new(|pki| pki.root.authority(authority("intermediate")).issue(leaf(&["localhost"]))),
            ISSUER,
        ),
        ("whole chain", "localhost", below(|_| {}), Ok(())),
        (
            "no SAN, only a common name",
            "localhost",
            with(|p| {
                p.subject_alt_names.clear();
                p.distinguished_name.push(rcgen::DnType::CommonName, "localhost");
            }),
            Err("names no host at all"),
        ),
        ("wildcard, one level", "a.example.com", names(&["*.example.com"]), Ok(())),
        ("wildcard, two levels", "a.b.example.com", names(&["*.example.com"]), WRONG_HOST),
        ("wildcard, apex", "example.com", names(&["*.example.com"]), WRONG_HOST),
        ("wildcard, partial", "foo.example.com", names(&["f*.example.com"]), WRONG_HOST),
        ("wildcard, in the middle", "a.b.example.com", names(&["a.*.example.com"]), WRONG_HOST),
        ("wildcard, everything", "localhost", names(&["*"]), WRONG_HOST),
        ("wildcard for an address", "127.0.0.1", raw_name(b"*.0.0.1"), WRONG_HOST),
        ("address", "127.0.0.1", names(&["127.0.0.1"]), Ok(())),
        ("address, wrong", "127.0.0.1", names(&["127.0.0.2"]), Err("is not for 127.0.0.1: it is for 127.0.0.2")),
        ("address as a DNS name", "127.0.0.1", raw_name(b"127.0.0.1"), WRONG_HOST),
        ("address, IPv6", "::1", names(&["::1"]), Ok(())),
        ("NUL in the name", "localhost", raw_name(b"localhost\0.example.com"), WRONG_HOST),
        ("empty name", "localhost", raw_name(b""), WRONG_HOST),
        ("A-label", "bücher.example", names(&["xn--bcher-kva.example"]), Ok(())),
        ("U-label", "bücher.example", raw_name("bücher.example".as_bytes()), WRONG_HOST),
        ("upper case in the certificate", "localhost", names(&["LocalHost"]), Ok(())),
        ("upper case in the request", "LOCALHOST", names(&["localhost"]), Ok(())),
        ("trailing dot in the request", "localhost.", names(&["localhost"]), Ok(())),
        ("trailing dot in the certificate", "localhost", names(&["localhost."]), WRONG_HOST),
        ("underscore", "a_b.example.com", names(&["a_b.example.com"]), Ok(())),
        (
            "1,000 names",
            "localhost",
            with(|p| p.subject_alt_names.extend((0..999).map(|i| dns(&format!("host-{i}.example.com"))))),
            Ok(()),
        ),
        (
            "1,000 names, none of them right",
            "other.example",
            with(|p| p.subject_alt_names.extend((0..999).map(|i| dns(&format!("host-{i}.example.com"))))),
            Err("and 996 more"),
        ),
        (
            "10,000 names",
            "localhost",
            with(|p| p.subject_alt_names.extend((0..9999).map(|i| dns(&format!("host-{i}.example.com"))))),
            Err("handshake"),
        ),
        (
            "EKU: client only",
            "localhost",
            with(|p| p.extended_key_usages = vec![Eku::ClientAuth]),
            Err("not made for this use"),
        ),
        ("EKU: both", "localhost", with(|p| p.extended_key_usages = vec![Eku::ClientAuth, Eku::ServerAuth]), Ok(())),
        ("EKU: none", "localhost", with(|p| p.extended_key_usages.clear()), Ok(())),
        (
            "CA:TRUE leaf",
            "localhost",
            with(|p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)),
            Err("an authority's own"),
        ),
        ("path length kept", "localhost", below(|p| p.is_ca = IsCa::Ca(BasicConstraints::Constrained(0))), Ok(())),
        (
            "path length exceeded",
            "localhost",
            Box::new(|pki| {
                let mut short = authority("short");
                short.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
                let short = pki.root.authority(short);
                let below = short.authority(authority("below"));
                let mut chain = below.issue(leaf(&["localhost"]));
                chain.cert.push_str(&below.pem);
                chain.cert.push_str(&short.pem);
                chain
            }),
            Err("certificate"),
        ),
        ("intermediate that is no authority", "localhost", below(|p| p.is_ca = IsCa::ExplicitNoCa), Err("certificate")),
        ("name constraint kept", "localhost", below(|p| p.name_constraints = Some(permit("localhost"))), Ok(())),
        (
            "name constraint broken",
            "localhost",
            below(|p| p.name_constraints = Some(permit("example.com"))),
            Err("may not issue the certificate for this name"),
        ),
        (
            "directory names permitted",
            "localhost",
            below(|p| p.name_constraints = Some(about_directories(true))),
            Err("has name constraints for directory names, which are not supported"),
        ),
        (
            "directory names excluded",
            "localhost",
            below(|p| p.name_constraints = Some(about_directories(false))),
            Err("has name constraints for directory names, which are not supported"),
        ),
        ("six intermediates", "localhost", Box::new(|pki| tall(pki, 6)), Ok(())),
        ("seven intermediates", "localhost", Box::new(|pki| tall(pki, 7)), Err("more than six certificates between")),
        (
            "unknown critical extension",
            "localhost",
            with(|p| p.custom_extensions.push(unknown(true))),
            Err("critical extension"),
        ),
        ("unknown extension", "localhost", with(|p| p.custom_extensions.push(unknown(false))), Ok(())),
    ]
}

/// A leaf below so many intermediate authorities.
fn tall(pki: &Pki, count: usize) -> Chain {
    let mut above = vec![pki.root.authority(authority("0"))];
    for index in 1..count {
        let next = above[index - 1].authority(authority(&index.to_string()));
        above.push(next);
    }
    let mut chain = above[count - 1].issue(leaf(&["localhost"]));
    above.iter().rev().for_each(|authority| chain.cert.push_str(&authority.pem));
    chain
}

fn about_directories(permitted: bool) -> NameConstraints {
    let mut name = rcgen::DistinguishedName::new();
    name.push(rcgen::DnType::OrganizationName, "somebody");
    let subtrees = vec![GeneralSubtree::DirectoryName(name)];
    match permitted {
        true => NameConstraints { permitted_subtrees: subtrees, excluded_subtrees: Vec::new() },
        false => NameConstraints { permitted_subtrees: Vec::new(), excluded_subtrees: subtrees },
    }
}

fn permit(name: &str) -> NameConstraints {
    NameConstraints { permitted_subtrees: vec![GeneralSubtree::DnsName(name.into())], excluded_subtrees: Vec::new() }
}

fn unknown(critical: bool) -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], vec![5, 0]);
    extension.set_criticality(critical);
    extension
}

#[test]
fn certificates_are_verified() {
    let pki = Pki::new();
    let mut wrong = Vec::new();
    for (name, dialled, make, expected) in rows() {
        for version in Version::ALL {
            let chain = make(&pki);
            let port = serve_any(&chain);
            let tls = ClientTls::new(&ClientOptions { protocols: vec![version], ..pki.client() }).unwrap();
            let result =
                Tls::connect(Tcp::dial(port), &tls, &host(dialled), &soon()).and_then(|mut tls| echo(&mut tls));
            let right = match (&result, expected) {
                (Ok(()), Ok(())) => true,
                (Err(e), Err(words)) => e.kind() == Kind::Tls && e.fields().message.contains(words),
                _ => false,
            };
            if !right {
                wrong.push(format!("{name} ({}): expected {expected:?}, got {result:?}", version.word()));
            }
            // What verification refuses is accepted without it, whatever it is, if it fits into a handshake at all.
            if expected.is_err() && name != "10,000 names" {
                let blind = ClientTls::new(&ClientOptions { verify: false, ..ClientOptions::default() }).unwrap();
                let result =
                    Tls::connect(Tcp::dial(port), &blind, &host(dialled), &soon()).and_then(|mut t| echo(&mut t));
                if result.is_err() {
                    wrong.push(format!("{name} without verification: {result:?}"));
                }
                // And what went before does not soften the next verification.
                let again = Tls::connect(Tcp::dial(port), &tls, &host(dialled), &soon()).map(drop);
                if !again.as_ref().is_err_and(|e| e.is(Kind::Tls)) {
                    wrong.push(format!("{name} after an unverified connection: {again:?}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A certificate that stands in `ca_bundle` itself is trusted as it is; its name, dates and purpose are still checked.
#[test]
fn certificates_are_believed_themselves() {
    let pki = Pki::new();
    let ca = |p: &mut Params| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let made = |edit: &dyn Fn(&mut Params)| {
        let mut params = leaf(&["localhost"]);
        edit(&mut params);
        self_signed(params)
    };
    let issued = pki.root.issue(leaf(&["localhost"]));
    let rows: Vec<(&str, Chain, &str, Result<(), &str>)> = vec![
        ("self-signed", made(&|_| {}), "localhost", Ok(())),
        ("self-signed, CA:TRUE", made(&ca), "localhost", Ok(())),
        ("self-signed, CA:FALSE", made(&|p| p.is_ca = IsCa::ExplicitNoCa), "localhost", Ok(())),
        ("an authority's, without the authority", issued, "localhost", Ok(())),
        ("for another host", made(&ca), "elsewhere.example", Err("is not for elsewhere.example: it is for localhost")),
        (
            "a common name alone",
            made(&|p| {
                ca(p);
                p.subject_alt_names.clear();
                p.distinguished_name.push(rcgen::DnType::CommonName, "localhost");
            }),
            "localhost",
            Err("names no host at all"),
        ),
        (
            "expired",
            made(&|p| (p.is_ca, p.not_after) = (IsCa::NoCa, rcgen::date_time_ymd(2001, 2, 3))),
            "localhost",
            Err("expired on 2001-02-03"),
        ),
        (
            "not yet valid",
            made(&|p| p.not_before = rcgen::date_time_ymd(2900, 2, 3)),
            "localhost",
            Err("not valid before 2900-02-03"),
        ),
        (
            "a client's",
            made(&|p| p.extended_key_usages = vec![Eku::ClientAuth]),
            "localhost",
            Err("not made for this use"),
        ),
        (
            "with an unknown critical extension",
            made(&|p| p.custom_extensions.push(unknown(true))),
            "localhost",
            Err("critical extension"),
        ),
    ];
    let beside = self_signed(leaf(&["localhost"]));
    for (name, chain, dialled, expected) in &rows {
        for version in Version::ALL {
            let port = serve_any(chain);
            // It may stand anywhere in the bundle.
            let bundle = format!("{}{}{}", Pki::stranger().root.pem, chain.cert, beside.cert);
            let options =
                ClientOptions { protocols: vec![version], ca_bundle: Some(bundle.into()), ..ClientOptions::default() };
            let tls = ClientTls::new(&options).unwrap();
            let result =
                Tls::connect(Tcp::dial(port), &tls, &host(dialled), &soon()).and_then(|mut tls| echo(&mut tls));
            match (result, expected) {
                (Ok(()), Ok(())) => {}
                (Err(e), Err(words)) => assert!(e.is(Kind::Tls) && e.fields().message.contains(words), "{name}: {e}"),
                (result, expected) => panic!("{name} ({}): expected {expected:?}, got {result:?}", version.word()),
            }
        }
    }
    // Another certificate for the same name and of the same issuer is nobody's.
    let port = serve_any(&made(&ca));
    let options = ClientOptions { ca_bundle: Some(made(&ca).cert.into()), ..ClientOptions::default() };
    let tls = ClientTls::new(&options).unwrap();
    let e = Tls::connect(Tcp::dial(port), &tls, &host("localhost"), &soon()).map(drop).unwrap_err();
    assert!(e.is(Kind::Tls), "{e}");
    // Who shows the certificate without its key is not believed.
    let (mine, other) = (made(&ca), made(&ca));
    let port = serve_any(&Chain { cert: mine.cert.clone(), key: other.key });
    let tls = ClientTls::new(&ClientOptions { ca_bundle: Some(mine.cert.into()), ..ClientOptions::default() }).unwrap();
    let e = Tls::connect(Tcp::dial(port), &tls, &host("localhost"), &soon()).map(drop).unwrap_err();
    assert!(e.is(Kind::Tls), "{e}");
}

/// The same rule for a client's certificate in `client_ca`.
#[test]
fn clients_are_believed_themselves() {
    let pki = Pki::new();
    let made = |edit: &dyn Fn(&mut Params)| {
        let mut params = leaf(&["client"]);
        params.extended_key_usages = vec![Eku::ClientAuth];
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        edit(&mut params);
        self_signed(params)
    };
    for (name, client, expected) in [
        ("CA:TRUE", made(&|_| {}), Ok(())),
        ("expired", made(&|p| p.not_after = rcgen::date_time_ymd(2001, 1, 1)), Err("expired")),
        ("a server's", made(&|p| p.extended_key_usages = vec![Eku::ServerAuth]), Err("certificate")),
    ] {
        let mut options = pki.root.issue(leaf(&["localhost"])).server();
        options.client_ca = Some(client.cert.clone().into());
        let server = serve_echo(ServerTls::new(&options).unwrap());
        let options = ClientOptions {
            client_cert: Some(client.cert.clone().into()),
            client_key: Some(client.key.clone().into()),
            ..pki.client()
        };
        let tls = ClientTls::new(&options).unwrap();
        let result = Tls::connect(server.dial(), &tls, &host("localhost"), &soon()).and_then(|mut t| echo(&mut t));
        match (result, expected) {
            (Ok(()), Ok(())) => {}
            (Err(e), Err(words)) => assert!(e.fields().message.contains(words), "{name}: {e}"),
            (result, expected) => panic!("{name}: expected {expected:?}, got {result:?}"),
        }
    }
}

#[test]
fn clients_are_verified() {
    let pki = Pki::new();
    let client = |edit: &dyn Fn(&mut Params)| {
        let mut params = leaf(&["client"]);
        params.extended_key_usages = vec![Eku::ClientAuth];
        edit(&mut params);
        params
    };
    let right = pki.root.issue(client(&|_| {}));
    let stranger = Pki::stranger().root.issue(client(&|_| {}));
    let expired = pki.root.issue(client(&|p| p.not_after = rcgen::date_time_ymd(2001, 1, 1)));
    let purpose = pki.root.issue(client(&|p| p.extended_key_usages = vec![Eku::ServerAuth]));
    use ClientAuth::{Optional, Required};
    let rows: [(&str, ClientAuth, Option<&Chain>, Result<(), &str>); 8] = [
        ("right", Required, Some(&right), Ok(())),
        ("right, optional", Optional, Some(&right), Ok(())),
        ("missing", Required, None, Err("certificate")),
        ("missing, optional", Optional, None, Ok(())),
        ("wrong issuer", Required, Some(&stranger), Err("issuer")),
        ("wrong issuer, optional", Optional, Some(&stranger), Err("issuer")),
        ("expired", Required, Some(&expired), Err("expired")),
        ("wrong purpose", Required, Some(&purpose), Err("certificate")),
    ];
    for (name, client_auth, chain, expected) in rows {
        for version in Version::ALL {
            let what = format!("{name} ({})", version.word());
            let mut options = pki.root.issue(leaf(&["localhost"])).server();
            options.client_ca = Some(pki.root.pem.clone().into());
            options.client_auth = client_auth;
            let server = serve_echo(ServerTls::new(&options).unwrap());
            let mut options = ClientOptions { protocols: vec![version], ..pki.client() };
            if let Some(chain) = chain {
                options.client_cert = Some(chain.cert.clone().into());
                options.client_key = Some(chain.key.clone().into());
            }
            let tls = ClientTls::new(&options).unwrap();
            let result = Tls::connect(server.dial(), &tls, &host("localhost"), &soon()).and_then(|mut t| echo(&mut t));
            // The server always knows why; the client of TLS 1.3 learns it at its first read, if the alert arrives.
            let served = server.outcome();
            match expected {
                Ok(()) => {
                    result.unwrap_or_else(|e| panic!("{what}: {e}"));
                    let cert = served.unwrap_or_else(|e| panic!("{what}: {e}"));
                    assert_eq!(cert.is_some(), chain.is_some(), "{what}");
                }
                Err(words) => {
                    let e = result.expect_err(&what);
                    assert!(e.is(Kind::Tls) && e.fields().message.contains(words), "{what}: client: {e}");
                    let e = served.expect_err(&what);
                    assert!(e.is(Kind::Tls) && e.fields().message.contains("certificate"), "{what}: server: {e}");
                }
            }
        }
    }
}
