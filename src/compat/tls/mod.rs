//! The TLS of the drop-in: contexts, connections and certificates as LuaSec has them, over rustls.
//!
//! OpenSSL's names are mapped to the nearest safe feature of rustls (`suites`), and failures to OpenSSL's texts
//! (`messages`). Opens no file and no socket.

mod context;
mod messages;
mod session;
mod suites;
mod verify;
mod x509;

pub use crate::tls::der::Encode;
pub use context::{BadKey, Built, Context, Mode};
pub use session::{Greeting, Hello, Info, Refusal, Secret, UNRECOGNIZED_NAME, export, peer_chain, reason, refused};
pub use suites::{OPTIONS, curve_names};
pub use verify::Complaint;
pub use x509::{ALT_NAMES, AltName, Attribute, Certificate, time_text};
