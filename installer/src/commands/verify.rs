//! The flag `--verify-key`, and the module that a command may use.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;

use crate::module::{
    registry::{Access, Address, Registry},
    signature::{Signatures, VerifyKey},
};

/// Who must have signed the module.
#[derive(Debug, Clone, Args)]
pub(crate) struct VerifyArgs {
    /// Require a signature by this public key of cosign
    #[arg(long, value_name = "FILE", env = "SKYCAP_VERIFY_KEY")]
    verify_key: Option<PathBuf>,
}

impl VerifyArgs {
    /// The key; `None` without the flag.
    ///
    /// # Errors
    /// The file is not a public key.
    pub(crate) fn key(&self) -> anyhow::Result<Option<VerifyKey>> {
        Ok(self.verify_key.as_deref().map(VerifyKey::read).transpose()?)
    }

    /// Replaces the tag of an `oci://` URL by the current digest, so that all Pods get the same module
    /// even if the tag moves, and verifies the module's signature. Other URLs stay as they are.
    ///
    /// # Errors
    /// The registry does not return the digest, or the module is not signed with the key.
    pub(crate) async fn pin(&self, url: &str) -> anyhow::Result<String> {
        let key = self.key()?;
        let Ok(address) = url.parse::<Address>() else {
            anyhow::ensure!(
                key.is_none(),
                "cannot verify the module at `{url}`: only a module in a registry has signatures; \
                 pass an `oci://` URL, or leave out `--verify-key`"
            );
            return Ok(url.into());
        };
        let digest = match address.digest() {
            Some(digest) => digest.to_owned(),
            None => digest_of(&address).await?,
        };
        if let Some(key) = &key {
            let verified = async { Signatures::find(&address, &digest).await?.verify(key).await };
            let verified = verified.await;
            verified.with_context(|| format!("cannot accept the module at `{url}`"))?;
        }
        let pinned = address.pinned(&digest);
        let signature =
            if key.is_some() { "signed with the key" } else { "signature not verified" };
        anstream::eprintln!("the module is {pinned} ({signature})");
        Ok(pinned)
    }
}

async fn digest_of(address: &Address) -> anyhow::Result<String> {
    let digest = async { Registry::open(address, Access::Pull).await?.digest().await }.await;
    digest.with_context(|| {
        format!(
            "cannot find the digest of `{address}`; pass the URL with its digest, as `skycap plugin \
             push` prints it"
        )
    })
}
