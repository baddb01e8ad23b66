//! `up --dry-run`: the API server says what each write would do, and does none of them.

use std::fmt::Debug;

use anyhow::Context as _;
use kube::{
    api::{Patch, PatchParams},
    core::DynamicObject,
};
use serde::Serialize;
use serde_json::Value;

use super::{
    apply::Application,
    claim::{TOKEN, claimed, without_foreign},
};
use crate::{
    desired::plan::{Step, difference},
    objects::{Object, ObjectRef},
    observed::api::{api, apply_params, merge_params},
};

impl Application<'_> {
    /// What each write would do, in the order of the writes.
    ///
    /// # Errors
    /// A write that the API server would refuse, by a quota or by its admission.
    pub(super) async fn dry_run(&self) -> anyhow::Result<String> {
        let live = self.plan.live.as_ref();
        // The token of a run that is no run is nothing to show.
        let annotations = live.and_then(|live| live.metadata.annotations.as_ref());
        let token = annotations.and_then(|all| all.get(TOKEN)).map_or("", String::as_str);
        let config_map = Object(claimed(&self.plan.config_map, token, live));
        let mut lines = Vec::new();
        lines.extend(self.try_config_map(&config_map, live).await?);
        let resources = self.plan.resources.iter().flat_map(|resource| resource.whole().steps);
        for step in resources.chain(self.plan.objects.steps.iter().cloned()) {
            lines.extend(match &step {
                Step::Create(object) => self.try_write(object, None).await?,
                // The answer would say what the Secret has.
                Step::Once(object) => Some(format!("create {}", object.reference())),
                Step::Update(object, live) => self.try_write(object, Some(live)).await?,
                Step::Delete(reference) => Some(format!("delete {reference}")),
            });
        }
        Ok(if lines.is_empty() { "nothing to change".into() } else { lines.join("\n") })
    }

    /// With data of others, the real run writes twice. A dry run leaves nothing behind for a second write.
    async fn try_config_map(
        &self,
        config_map: &Object,
        live: Option<&DynamicObject>,
    ) -> anyhow::Result<Option<String>> {
        let Some((live, Value::Object(foreign))) =
            live.and_then(|live| Some((live, without_foreign(&config_map.0, live)?)))
        else {
            return self.try_write(config_map, live).await;
        };
        let mut patch = serde_json::to_value(&config_map.0).context("cannot write JSON")?;
        if let Some(data) = patch["data"].as_object_mut() {
            data.extend(foreign);
        }
        let reference = config_map.reference();
        let params = merge_params();
        let after = self.ask(&reference, params, &Patch::Merge(patch)).await?;
        Ok(change(&reference, live, after))
    }

    /// What becomes of an object; `None` if it stays as it is.
    async fn try_write(
        &self,
        object: &Object,
        live: Option<&DynamicObject>,
    ) -> anyhow::Result<Option<String>> {
        let reference = object.reference();
        let params = apply_params();
        let after = self.ask(&reference, params, &Patch::Apply(&object.0)).await?;
        match live {
            Some(live) => Ok(change(&reference, live, after)),
            None => Ok(Some(format!("create {reference}"))),
        }
    }

    /// The object as it would be; `None` if a webhook takes no dry run.
    async fn ask(
        &self,
        reference: &ObjectRef,
        params: PatchParams,
        patch: &Patch<impl Serialize + Debug>,
    ) -> anyhow::Result<Option<DynamicObject>> {
        let params = PatchParams { dry_run: true, ..params };
        match api(self.client, reference).patch(&reference.name, &params, patch).await {
            Err(kube::Error::Api(status)) if status.message.contains("support dry run") => Ok(None),
            asked => asked.map(Some).with_context(|| format!("cannot write {reference}")),
        }
    }
}

/// The line of an object and what changes in it; `None` if nothing does.
fn change(
    reference: &ObjectRef,
    live: &DynamicObject,
    after: Option<DynamicObject>,
) -> Option<String> {
    let Some(after) = after else {
        let note = "a webhook cannot say what would change, because it takes no dry run";
        return Some(format!("change {reference}    # {note}"));
    };
    let lines = difference(live, &after);
    let lines: Vec<_> = lines.lines().map(|line| format!("\n    {line}")).collect();
    (!lines.is_empty()).then(|| format!("change {reference}{}", lines.concat()))
}
