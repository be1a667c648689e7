//! Verification of a chain of certificates for LuaSec: the flags of `verify` and `verifyext`, and OpenSSL's texts for
//! each failure and its depth.
//!
//! webpki decides; [`judge`] lists what OpenSSL accepts in addition. The texts are for people, and for programs that
//! match them; they never turn a refusal into a pass.

use super::messages::{Flaw, chain as chain_words, itself as itself_words};
use crate::{
    deadline,
    error::Result as Outcome,
    tls::{
        Ca, Version, provider,
        roots::{self, Roots},
        trust::{self, Role},
    },
};
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error as TlsError, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, TrustAnchor, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};
use std::{fmt, sync::Arc};
use webpki::{
    CertRevocationList, EndEntityCert, Error as Pki, ExtendedKeyUsageValidator, KeyPurposeIdIter, KeyUsage,
    OwnedCertRevocationList, RawPublicKeyEntity, RevocationCheckDepth, RevocationOptionsBuilder,
};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer};

/// Whom a context believes.
#[derive(Clone, Default)]
pub struct Trust {
    given: Vec<CertificateDer<'static>>,
    anchors: Vec<TrustAnchor<'static>>,
    /// The machine's store, if that is believed; its authorities are among the anchors.
    machine: Option<Arc<Roots>>,
    /// What is believed beside the machine's store.
    ca: Option<Arc<Ca>>,
    crls: Vec<Arc<CertRevocationList<'static>>>,
    /// Somebody said whom to believe, be it nobody.
    told: bool,
}

impl Trust {
    /// Nobody yet; `ca` beside the machine's store, once that is believed.
    pub fn with(ca: Option<Arc<Ca>>) -> Trust {
        Trust { ca, ..Trust::default() }
    }

    /// Believes this certificate: as an authority, or as itself. An error for bytes that are none.
    pub fn add(&mut self, der: CertificateDer<'static>) -> Result<(), ()> {
        let anchor = webpki::anchor_from_trusted_cert(&der).map_err(drop)?.to_owned();
        self.anchors.push(anchor);
        self.given.push(der);
        Ok(())
    }

    /// A certificate, and those of the given ones that vouch for it, up to one that vouches for itself.
    pub fn chain_of(&self, own: &CertificateDer<'static>) -> Vec<CertificateDer<'static>> {
        let names = |der: &CertificateDer<'_>| {
            let (_, cert) = X509Certificate::from_der(der).ok()?;
            Some((cert.subject().as_raw().to_vec(), cert.issuer().as_raw().to_vec()))
        };
        let (mut chain, mut last) = (vec![own.clone()], names(own));
        while let Some((subject, issuer)) = last.filter(|(subject, issuer)| subject != issuer) {
            let next =
                self.given.iter().find(|der| names(der).is_some_and(|(other, _)| other == issuer && other != subject));
            let Some(next) = next.filter(|next| !chain.contains(next)) else { break };
            chain.push(next.clone());
            last = names(next);
        }
        chain
    }

    /// Whom to believe is about to be said.
    pub fn tell(&mut self) {
        self.told = true;
    }

    /// Whom a client believes that was told nobody, about a server that it knows by name: the machine's store. Without a
    /// name that would prove nothing, and nobody is believed.
    fn or_machine(&self, asked: &Asked, name: Option<&ServerName<'_>>) -> Outcome<std::borrow::Cow<'_, Trust>> {
        if self.told || name.is_none() || asked.purpose != Purpose::Server {
            return Ok(std::borrow::Cow::Borrowed(self));
        }
        let mut trust = Trust::with(self.ca.clone());
        trust.add_machine()?;
        Ok(std::borrow::Cow::Owned(trust))
    }

    /// Believes the authorities of the machine's store. An error where it is there and cannot be read.
    pub fn add_machine(&mut self) -> Outcome<()> {
        let roots = roots::machine(self.ca.as_deref())?;
        self.anchors.extend(roots.store.roots.iter().cloned());
        self.machine = Some(roots);
        Ok(())
    }

    /// True for a certificate that is believed itself.
    fn has(&self, own: &CertificateDer<'_>) -> bool {
        self.given.iter().any(|given| given == own) || self.machine.as_ref().is_some_and(|roots| roots.has(own))
    }

    /// Knows this list of revoked certificates. An error for bytes that are none.
    pub fn add_crl(&mut self, der: &[u8]) -> Result<(), ()> {
        self.crls.push(Arc::new(OwnedCertRevocationList::from_der(der).map_err(drop)?.into()));
        Ok(())
    }
}

/// What a certificate is to be good for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Purpose {
    /// To be a server's.
    #[default]
    Server,
    /// To be a client's.
    Client,
    /// Whatever it says.
    Any,
}

impl ExtendedKeyUsageValidator for Purpose {
    fn validate(&self, iter: KeyPurposeIdIter<'_, '_>) -> Result<(), Pki> {
        match self {
            Purpose::Server => KeyUsage::server_auth().validate(iter),
            Purpose::Client => KeyUsage::client_auth().validate(iter),
            Purpose::Any => Ok(()),
        }
    }
}

/// The flags of `verify`, `verifyext` and `depth`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// A bad chain ends the handshake; a server asks for a certificate.
    pub peer: bool,
    /// A server goes on with no client that shows none.
    pub required: bool,
    /// A bad chain is noted and the handshake goes on.
    pub proceed: bool,
    /// A client's certificate may be one that is made for servers.
    pub ignore_purpose: bool,
    /// Revocation is looked up for the peer's own certificate.
    pub crl_check: bool,
    /// Revocation is looked up for the whole chain.
    pub crl_check_chain: bool,
    /// So many certificates may stand between the peer's own and an authority.
    pub depth: Option<usize>,
    pub purpose: Purpose,
}

impl Purpose {
    fn role(self) -> Option<Role> {
        match self {
            Purpose::Server => Some(Role::Server),
            Purpose::Client => Some(Role::Client),
            Purpose::Any => None,
        }
    }
}

/// What is wrong, and how far from the peer's own certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    pub depth: usize,
    pub flaw: Flaw,
}

/// Now, for [`judge`].
pub fn now() -> UnixTime {
    UnixTime::since_unix_epoch(deadline::wall())
}

/// Everything that is wrong with a chain; nothing if it is good. Beyond webpki: a certificate that is believed itself is good
/// within its time, and then its common name counts where it has no other, as in OpenSSL. Where `name` is given the
/// certificate must be for it.
pub fn judge(
    trust: &Trust,
    asked: &Asked,
    own: &CertificateDer<'_>,
    between: &[CertificateDer<'_>],
    name: Option<&ServerName<'_>>,
    now: UnixTime,
) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    let Ok(trust) = trust.or_machine(asked, name) else {
        return vec![Complaint { depth: 0, flaw: Flaw::Unreadable }];
    };
    let unasked = Asked { crl_check: false, crl_check_chain: false, ..*asked };
    // A question about revocation must not hide where a chain leads, so that is looked at first, without it.
    let itself = trust.has(own);
    let judged = match itself {
        true => trust::itself(own, asked.purpose.role(), now).map(|()| 0).map_err(|error| itself_words(&error)),
        false => path(&trust, &unasked, own, between, now)
            .map_err(|error| chain_words(&error, own, between, &trust.anchors, now)),
    };
    let above = judged.unwrap_or_else(|wrong| {
        complaints = wrong;
        if itself { 0 } else { between.len() }
    });
    if unasked != *asked && trust.crls.is_empty() {
        let last = if asked.crl_check_chain { above } else { 0 };
        let flaw = Flaw::Other("unable to get certificate CRL");
        complaints.extend((0..=last).map(|depth| Complaint { depth, flaw }));
    } else if unasked != *asked
        && complaints.is_empty()
        && let Err(error) = path(&trust, asked, own, between, now)
    {
        complaints = chain_words(&error, own, between, &trust.anchors, now);
    }
    if let Some(name) = name {
        let flaw = match name {
            ServerName::IpAddress(_) => Flaw::Address,
            _ => Flaw::Host,
        };
        let fits = trust::named(own, name).is_ok() || itself && common_name(own, name);
        if !fits {
            complaints.push(Complaint { depth: 0, flaw });
        }
    }
    complaints
}

/// How many certificates stand above the peer's own, the authority's included.
fn path(
    trust: &Trust,
    asked: &Asked,
    own: &CertificateDer<'_>,
    between: &[CertificateDer<'_>],
    now: UnixTime,
) -> Result<usize, Pki> {
    let own = EndEntityCert::try_from(own)?;
    let crls: Vec<_> = trust.crls.iter().map(|crl| &**crl).collect();
    let revocation = if !asked.crl_check && !asked.crl_check_chain {
        None
    } else {
        // Without a list nothing can be said of any certificate.
        let options = RevocationOptionsBuilder::new(&crls).map_err(|_| Pki::UnknownRevocationStatus)?;
        let depth = match asked.crl_check_chain {
            true => RevocationCheckDepth::Chain,
            false => RevocationCheckDepth::EndEntity,
        };
        Some(options.with_depth(depth).with_expiration_policy(webpki::ExpirationPolicy::Enforce).build())
    };
    let within = |path: &webpki::VerifiedPath<'_>| match asked.depth {
        Some(most) if path.intermediate_certificates().count() > most => Err(Pki::MaximumPathDepthExceeded),
        _ => Ok(()),
    };
    let algorithms = provider().signature_verification_algorithms.all;
    let usage = asked.purpose;
    let path = own.verify_for_usage(algorithms, &trust.anchors, between, now, usage, revocation, Some(&within))?;
    Ok(path.intermediate_certificates().count() + 1)
}

/// True if a certificate without a DNS name among its alternative names has the host as its common name, as X509_check_host(3)
/// takes it. For certificates that are believed themselves: an authority's constraints say nothing of common names.
fn common_name(own: &CertificateDer<'_>, name: &ServerName<'_>) -> bool {
    let (ServerName::DnsName(name), Ok((_, cert))) = (name, X509Certificate::from_der(own)) else { return false };
    let has_dns = |names: &x509_parser::extensions::SubjectAlternativeName<'_>| {
        names.general_names.iter().any(|name| matches!(name, GeneralName::DNSName(_)))
    };
    if cert.subject_alternative_name().map_or(true, |names| names.is_some_and(|names| has_dns(names.value))) {
        return false;
    }
    let fits = |presented: &str| match presented.strip_prefix("*.") {
        // One label, and two behind it.
        Some(rest) => {
            rest.contains('.') && name.as_ref().split_once('.').is_some_and(|(_, host)| host.eq_ignore_ascii_case(rest))
        }
        None => name.as_ref().eq_ignore_ascii_case(presented),
    };
    cert.subject().iter_common_name().any(|common| common.as_str().is_ok_and(fits))
}

/// Checks by hand that `root` vouches for `subject`, which may be an authority itself, over `between`. For questions of
/// programs alone: no connection rests on it.
pub(crate) fn vouches(
    root: &CertificateDer<'_>,
    subject: &CertificateDer<'_>,
    between: &[CertificateDer<'_>],
    now: UnixTime,
) -> Result<(), &'static str> {
    let parse = |der| X509Certificate::from_der(der).map(|(_, cert)| cert);
    let (Ok(root), Ok(subject)) = (parse(root), parse(subject)) else { return Err("certificate rejected") };
    let others: Vec<_> = between.iter().filter_map(|der| parse(der).ok()).collect();
    let timely = |cert: &X509Certificate<'_>| {
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        match (now < cert.validity().not_before.timestamp(), now > cert.validity().not_after.timestamp()) {
            (true, _) => Err("certificate is not yet valid"),
            (_, true) => Err("certificate has expired"),
            _ => Ok(()),
        }
    };
    let mut last = &subject;
    // Each certificate of the chain is another one.
    for _ in 0..=others.len() {
        if last.issuer() == root.subject() && is_signed(last, &root) {
            if root.issuer() != root.subject() {
                return Err("unable to get issuer certificate");
            }
            if !root.is_ca() && last.as_raw() != root.as_raw() {
                return Err("invalid CA certificate");
            }
            timely(&root)?;
            return timely(last);
        }
        let next = others.iter().find(|cert| cert.subject() == last.issuer() && is_signed(last, cert));
        match next {
            Some(next) if last.issuer() != last.subject() => {
                if !next.is_ca() {
                    return Err("invalid CA certificate");
                }
                timely(last)?;
                last = next;
            }
            _ => break,
        }
    }
    match (last.issuer() == last.subject(), std::ptr::eq(last, &raw const subject)) {
        (true, true) => Err("self-signed certificate"),
        (true, false) => Err("self-signed certificate in certificate chain"),
        (false, _) => Err("unable to get local issuer certificate"),
    }
}

/// True if `issuer`'s key made the signature of `cert`.
fn is_signed(cert: &X509Certificate<'_>, issuer: &X509Certificate<'_>) -> bool {
    let key = SubjectPublicKeyInfoDer::from(issuer.public_key().raw);
    let Ok(key) = RawPublicKeyEntity::try_from(&key) else { return false };
    let identifier = crate::tls::der::read_all(cert.as_raw()).and_then(|parts| {
        // Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm, signature }
        let mut parts = parts.into_iter().skip(1);
        parts.next().map(|value| value.content)
    });
    provider().signature_verification_algorithms.all.iter().any(|algorithm| {
        Some(algorithm.signature_alg_id().as_ref()) == identifier
            && key.verify_signature(*algorithm, cert.tbs_certificate.as_ref(), &cert.signature_value.data).is_ok()
    })
}

/// The verifier of a context, for either side. The peer must own its key in every mode: a program that compares the certificate
/// itself relies on that.
pub(crate) struct Verifier {
    pub trust: Arc<Trust>,
    pub asked: Asked,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier")
    }
}

/// Stands for "no name was given": no host has this address, and an address is never sent (RFC 6066, section 3).
pub(crate) const NAMELESS: std::net::IpAddr = std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);

impl Verifier {
    fn check(
        &self,
        own: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: Option<&ServerName<'_>>,
        now: UnixTime,
    ) -> Result<(), TlsError> {
        if !self.asked.peer || self.asked.proceed {
            return Ok(());
        }
        match judge(&self.trust, &self.asked, own, between, name, now).first() {
            None => Ok(()),
            // The peer learns from the alert what it is about.
            Some(complaint) => Err(complaint.flaw.error()),
        }
    }

    fn schemes() -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let nameless = *name == ServerName::IpAddress(NAMELESS.into());
        self.check(own, between, (!nameless).then_some(name), now).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        trust::signature(Version::Tls12, message, cert, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        trust::signature(Version::Tls13, message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        Verifier::schemes()
    }
}

impl ClientCertVerifier for Verifier {
    fn offer_client_auth(&self) -> bool {
        self.asked.peer
    }

    fn client_auth_mandatory(&self) -> bool {
        self.asked.peer && self.asked.required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        own: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, TlsError> {
        self.check(own, between, None, now).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        trust::signature(Version::Tls12, message, cert, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        trust::signature(Version::Tls13, message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        Verifier::schemes()
    }
}
