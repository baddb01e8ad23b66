//! Answers for people: why a request goes where it goes, what keeps it from its sandbox, and
//! whether all is well.

pub mod check;
pub mod curl;
pub mod explain;
pub mod status;
