//! The built module in the in-process host, the case table, and skycap's HTTPRoutes in a model of how
//! meshes pick a rule.

mod attacks;
mod cases;
mod cost;
mod host;
mod precedence;
mod shop;
mod writes;
