//! Tokens that were valid once.

use std::{fs, process::Command};

use anyhow::Context as _;
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use hyper::StatusCode;
use serde_json::{Value, json};
use skycap_tests::{cluster::Controller, fixture::Fixture};

use super::{Client, client::ACCOUNT};

/// This token as it was an hour ago, signed with the API server's own key: nobody waits ten minutes for
/// the shortest one to expire.
pub(super) fn expired(fixture: &Fixture, token: &str) -> anyhow::Result<String> {
    let mut parts = token.split('.');
    let (Some(header), Some(claims)) = (parts.next(), parts.next()) else {
        anyhow::bail!("not a token: {token}");
    };
    let mut claims: Value = serde_json::from_slice(&BASE64.decode(claims)?)?;
    for time in ["iat", "nbf", "exp"] {
        let number = claims[time].as_i64().with_context(|| format!("no `{time}`: {claims}"))?;
        claims[time] = (number - 7_200).into();
    }
    let signed = format!("{header}.{}", BASE64.encode(claims.to_string()));
    let file = fixture.cluster.folder().join("signed");
    fs::write(&file, &signed)?;
    let key = fixture.cluster.folder().join("sa.key");
    let openssl =
        Command::new("openssl").args(["dgst", "-sha256", "-sign"]).arg(key).arg(file).output()?;
    anyhow::ensure!(openssl.status.success(), "{openssl:?}");
    Ok(format!("{signed}.{}", BASE64.encode(openssl.stdout)))
}

/// A token ends with its ServiceAccount: at the latest when the controller asks about it again.
pub(super) async fn is_revoked(fixture: &Fixture, controller: &Controller) -> anyhow::Result<()> {
    let unused = Client::of(fixture, "shop").await?;
    let metadata = json!({"name": ACCOUNT, "namespace": "shop"});
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata});
    fixture.delete_object(&account).await?;
    let is_refused = async |_: &Fixture| {
        let answer = unused.ask(controller, "orders", "", None).await?;
        Ok(answer.status == StatusCode::UNAUTHORIZED)
    };
    fixture.until("the token has ended", is_refused).await?;
    Ok(())
}
