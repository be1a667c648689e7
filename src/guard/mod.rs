//! The decisions of a guard. The middleware around them, and the network, are elsewhere.
//!
//! [`path`] gives a path its one form and refuses ambiguous paths, [`pattern`] is the dialect of routes, [`rules`]
//! decides about a whole request, [`shown`] gives the URL that is shown after a redirect. Pure: no I/O, no clock; every
//! rule is checked when it is made, and no request can make a pattern slow.

mod index;
pub mod path;
pub mod pattern;
pub mod rules;
pub mod shown;
