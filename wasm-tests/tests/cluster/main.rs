//! The controller and the command on a real etcd and kube-apiserver.

mod admission;
mod attacks;
mod chart;
mod ci;
mod commands;
mod controller;
mod controller_work;
mod environments;
mod faults;
mod http_routes;
mod leader;
mod linkerd;
mod many_routes;
mod outages;
mod permissions;
mod queues;
mod readers;
mod rights;
mod systems;
mod telemetry;
mod test_command;
