//! A port on loopback that leads to a Service of the cluster and adds a sandbox's key to each request, so
//! that any test runner or browser reaches the sandbox without knowing of it.
//!
//! # The way of a request
//!
//! 1. A client on this machine sends it to the port on loopback. It speaks HTTP/1.1, with WebSockets, or
//!    HTTP/2 without TLS (prior knowledge), as gRPC does. The request leaves in the protocol in which it
//!    came, and its body is streamed.
//! 2. The key becomes a member of its `baggage` ([`member`]). A request whose baggage has no
//!    room for the key gets a 431: without the key it would test the baseline.
//! 3. It goes to a ready Pod of the Service, by the API server's port-forward. Nothing but the API server
//!    has to be reachable. When the Pod goes away, the next connection takes another one.
//!
//! # No sidecar decides the first hop
//!
//! A port-forward arrives inside the Pod, on loopback, past the sidecar. So no proxy of the mesh routes this
//! first request, and this module does what a proxy would: if the key replaces the forwarded Service, the
//! request goes to a Pod of the Service that replaces it ([`Backend::of`]), else to one of the Service
//! itself. From there on the application passes the key on, and its sidecar routes every further hop.
//!
//! For the same reason mTLS and the authorization policies of the mesh do not apply to this first hop, and
//! the destination stays as it is while the forward lives: if the sandbox's Pods go away, a request gets
//! a 502 and not the baseline.

mod backend;
mod hop;
pub mod member;
mod proxy;
mod upstream;
mod variable;

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Context as _;
use tokio::{net::TcpListener, task::JoinHandle};

use self::member::Member;
pub use self::{
    backend::{Backend, Replacements, check_services},
    variable::{Clash, names},
};

/// An open port on loopback. It closes when it is dropped.
#[derive(Debug)]
pub struct Forward {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Forward {
    /// Opens a free port that leads to `backend`, once a Pod of it is known to be ready.
    ///
    /// # Errors
    /// No Pod is ready, or no port is free.
    pub async fn open(backend: Backend, member: Member) -> anyhow::Result<Self> {
        backend.check().await?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.context("cannot listen on 127.0.0.1")?;
        let address = listener.local_addr().context("cannot listen on 127.0.0.1")?;
        let task = tokio::spawn(proxy::serve(listener, backend, member));
        Ok(Self { address, task })
    }

    /// Its URL, such as `http://127.0.0.1:41235`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.task.abort();
    }
}
