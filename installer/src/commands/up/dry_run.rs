//! `up --dry-run`: the API server says what each write would do, and does none of them.

use anyhow::Context as _;
use kube::{
    api::{Patch, PatchParams},
    core::DynamicObject,
};

use super::{
    apply::Application,
    claim::{TOKEN, claimed},
};
use crate::{
    desired::plan::{Step, difference},
    names::MANAGER,
    objects::{Object, ObjectRef},
    observed::api::api,
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
        lines.extend(self.try_write(&config_map, live).await?);
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

    /// What becomes of an object; `None` if it stays as it is.
    async fn try_write(
        &self,
        object: &Object,
        live: Option<&DynamicObject>,
    ) -> anyhow::Result<Option<String>> {
        let reference = object.reference();
        let after = self.ask(&reference, object).await?;
        let Some(live) = live else { return Ok(Some(format!("create {reference}"))) };
        let Some(after) = after else {
            let note = "a webhook cannot say what would change, because it takes no dry run";
            return Ok(Some(format!("change {reference}    # {note}")));
        };
        let lines: Vec<_> =
            difference(live, &after).lines().map(|line| format!("\n    {line}")).collect();
        let is_changed = !lines.is_empty();
        Ok(is_changed.then(|| format!("change {reference}{}", lines.concat())))
    }

    /// The object as it would be; `None` if a webhook takes no dry run.
    async fn ask(
        &self,
        reference: &ObjectRef,
        object: &Object,
    ) -> anyhow::Result<Option<DynamicObject>> {
        let params = PatchParams { dry_run: true, ..PatchParams::apply(MANAGER).force() };
        let patch = Patch::Apply(&object.0);
        match api(self.client, reference).patch(&reference.name, &params, &patch).await {
            Err(kube::Error::Api(status)) if status.message.contains("support dry run") => Ok(None),
            asked => asked.map(Some).with_context(|| format!("cannot write {reference}")),
        }
    }
}
