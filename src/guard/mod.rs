//! What a guard allows: decisions only. The middleware around them, and the network, are elsewhere.
//!
//! [`path`] gives a path its one form and refuses what two readers would read differently, [`pattern`] is the dialect
//! of routes, [`rules`] answers for a whole request, [`shown`] says which URL is shown after a redirect. Pure: no I/O, no
//! clock; every rule is checked when it is made, and no request can make a pattern slow.

mod index;
pub mod path;
pub mod pattern;
pub mod rules;
pub mod shown;
