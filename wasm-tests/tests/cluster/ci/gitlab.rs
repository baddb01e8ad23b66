//! The jobs of `gitlab.yml`: their scripts, with the variables of the jobs and those that GitLab sets.
//! Whether GitLab takes the file is not tested: GitLab does not run here.

use std::{fs, process::Output};

use serde_json::Value;
use skycap::desired::istio::PluginKind;
use skycap_tests::{
    code_host::{CodeHost, TOKEN},
    fixture::{Fixture, run},
    workspace,
};
use tokio::process::Command;

use super::{SPEC, account, fork_of, open_shop, path_with_skycap};

#[test]
fn a_merge_request_whose_fork_is_not_ready_fails_and_says_why() -> anyhow::Result<()> {
    run(PluginKind::WasmPlugin, async |fixture: &mut Fixture| {
        let (_controller, host) = open_shop(fixture).await?;
        let jobs = Jobs::new(fixture, &host).await?;

        let up = jobs.run("skycap up").await?;
        anyhow::ensure!(up.status.code() == Some(1), "{up:?}");
        let image = fork_of(fixture, "mr-9").await?;
        anyhow::ensure!(image.as_deref() == Some("cart:1111111"), "{image:?}: {up:?}");
        let comments = host.comments();
        let [comment] = comments.as_slice() else { anyhow::bail!("{comments:?}") };
        for text in ["### Sandbox `mr-9`: failed", "waiting for a Pod", "`baggage: sandbox=mr-9`"] {
            anyhow::ensure!(comment.body.contains(text), "no `{text}` in {}", comment.body);
        }
        let variables = fs::read_to_string(jobs.folder.path().join("skycap.env"))?;
        anyhow::ensure!(variables.contains("SKYCAP_KEY=mr-9\n"), "{variables}");

        let down = jobs.run("skycap down").await?;
        anyhow::ensure!(down.status.success(), "{down:?}");
        anyhow::ensure!(fork_of(fixture, "mr-9").await?.is_none(), "it is left: {down:?}");
        let [comment] = &host.comments()[..] else { anyhow::bail!("another comment") };
        anyhow::ensure!(comment.body.contains("### Sandbox `mr-9`: closed"), "{}", comment.body);

        let greedy = SPEC.replace("${IMAGE}", "cart:${GITLAB_TOKEN}");
        fs::write(jobs.folder.path().join("skycap.yaml"), greedy)?;
        let up = jobs.run("skycap up").await?;
        let said = String::from_utf8(up.stderr)?;
        anyhow::ensure!(said.contains("variable `GITLAB_TOKEN` is not set"), "{said}");
        Ok(())
    })
}

/// A project that includes `gitlab.yml`.
struct Jobs {
    jobs: Value,
    inputs: Value,
    kubeconfig: std::path::PathBuf,
    api: String,
    folder: tempfile::TempDir,
}

impl Jobs {
    async fn new(fixture: &Fixture, host: &CodeHost) -> anyhow::Result<Self> {
        let text = fs::read_to_string(workspace::root().join("deploy/ci/gitlab.yml"))?;
        let documents = text.split_once("\n---\n");
        let (inputs, jobs) = documents.ok_or_else(|| anyhow::anyhow!("no header in gitlab.yml"))?;
        let mut inputs: Value = serde_saphyr::from_str(inputs)?;
        inputs["spec"]["inputs"]["namespace"]["default"] = "shop".into();
        // No kubelet makes the fork ready.
        inputs["spec"]["inputs"]["timeout"]["default"] = "1s".into();
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("skycap.yaml"), SPEC)?;
        Ok(Self {
            jobs: serde_saphyr::from_str(jobs)?,
            inputs: inputs["spec"]["inputs"].take(),
            kubeconfig: fixture.cluster.kubeconfig(&account(fixture).await?)?,
            api: host.url(),
            folder,
        })
    }

    /// Runs the script of a job of merge request 9, as GitLab's runner does: as one script of a shell
    /// that ends at the first error.
    async fn run(&self, name: &str) -> anyhow::Result<Output> {
        let job = &self.jobs[name];
        let lines = job["script"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let script: Vec<_> = lines.collect();
        anyhow::ensure!(!script.is_empty(), "job `{name}` has no script");
        let own = [&self.jobs[".skycap"]["variables"], &job["variables"]];
        let own = own.into_iter().filter_map(Value::as_object).flatten();
        let own = own.map(|(name, value)| (name, self.expand(value.as_str().unwrap_or_default())));
        let mut command = Command::new("sh");
        command.args(["-e", "-c", &script.join("\n")]).current_dir(self.folder.path());
        command.envs(own).envs(GITLAB).env("IMAGE", "registry.example.com/cart:1111111");
        command.env("CI_API_V4_URL", &self.api).env("GITLAB_TOKEN", TOKEN);
        command.env("KUBECONFIG", &self.kubeconfig).env("PATH", path_with_skycap()?);
        command.env_remove("GITHUB_API_URL").kill_on_drop(true);
        Ok(command.output().await?)
    }

    /// Puts in the inputs and GitLab's variables.
    fn expand(&self, value: &str) -> String {
        let mut value = value.to_owned();
        for (name, input) in self.inputs.as_object().into_iter().flatten() {
            let default = input["default"].as_str().unwrap_or_default();
            value = value.replace(&format!("$[[ inputs.{name} ]]"), default);
        }
        for (name, set) in GITLAB {
            value = value.replace(&format!("${name}"), set);
        }
        value
    }
}

/// What GitLab sets in a job.
const GITLAB: [(&str, &str); 3] =
    [("CI_PROJECT_ID", "7"), ("CI_MERGE_REQUEST_IID", "9"), ("CI_COMMIT_SHA", "1111111")];
