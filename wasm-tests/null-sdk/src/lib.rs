//! A filter that does nothing, on the Rust SDK: the reference of `cargo compare`.

#![expect(
    missing_docs,
    reason = "the SDK's macro generates a public function without documentation"
)]

use proxy_wasm::{
    traits::{Context, HttpContext, RootContext},
    types::ContextType,
};

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|_| Box::new(Null));
}}

struct Null;

impl Context for Null {}

impl RootContext for Null {
    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Self))
    }
}

impl HttpContext for Null {}
