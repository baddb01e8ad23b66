//! The built module in real Envoys, configured as istiod does.

mod dispatch;
mod protocols;
mod shop;
mod table;
