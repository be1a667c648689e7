//! The library of cryptography, chosen by feature and named here alone: AWS-LC in a `full` build, ring in a `small` one.
//!
//! aws-lc-rs has ring's interface, so code that uses digests is written once. Installs nothing process-wide, so that it
//! does not affect a host that uses rustls itself.

#[cfg(not(any(feature = "full", feature = "small")))]
compile_error!(
    "no TLS provider: add the feature `full` (aws-lc-rs) or `small` (ring), as in `--no-default-features --features module,lua54,full`"
);
#[cfg(all(feature = "full", feature = "small"))]
compile_error!("two TLS providers: `small` goes with `--no-default-features`, and without `full`");

/// The library's name.
pub const NAME: &str = if cfg!(feature = "full") { "aws-lc-rs" } else { "ring" };

#[cfg(feature = "full")]
pub use aws_lc_rs::{aead, digest, hkdf, hmac, pbkdf2};
#[cfg(feature = "full")]
pub use rustls::crypto::aws_lc_rs::{ALL_KX_GROUPS, default_provider};

#[cfg(all(feature = "small", not(feature = "full")))]
pub use ring::{aead, digest, hkdf, hmac, pbkdf2};
#[cfg(all(feature = "small", not(feature = "full")))]
pub use rustls::crypto::ring::{ALL_KX_GROUPS, default_provider};

/// Takes the memory that the library's random generator keeps for this thread (under 1 KiB, from the system's allocator). AWS-LC
/// ends the process where it gets none, so that is done before a script runs. ring keeps none.
pub fn prepare() {
    #[cfg(feature = "full")]
    let _ = aws_lc_rs::rand::fill(&mut [0; 16]);
}
