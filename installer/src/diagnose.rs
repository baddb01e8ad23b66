//! Answers for people: why a request goes where it goes, what keeps requests from their sandbox, and
//! whether an installation works.

pub mod check;
pub mod curl;
pub mod explain;
pub mod message;
pub mod request;
pub mod scope;
pub mod status;
