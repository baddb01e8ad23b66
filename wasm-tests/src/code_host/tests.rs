//! What `skycap ci comment` does with the comments of a pull request, on both hosts.

use std::fs;

use skycap::{
    ci::{CommentError, Done, Job, JobError, PullRequest},
    environment::comment::{Marker, closed},
};

use super::{CodeHost, REPOSITORY, TOKEN};

/// The variables of a job of this host.
fn variables(host: &str, url: &str, token: &str, event: &str) -> Vec<(&'static str, String)> {
    match host {
        "GitHub" => vec![
            ("GITHUB_API_URL", url.to_owned()),
            ("GITHUB_REPOSITORY", REPOSITORY.to_owned()),
            ("GITHUB_EVENT_PATH", event.to_owned()),
            ("GITHUB_TOKEN", token.to_owned()),
        ],
        _ => vec![
            ("CI_API_V4_URL", format!("{url}/")),
            ("CI_PROJECT_ID", "7".to_owned()),
            ("CI_MERGE_REQUEST_IID", "9".to_owned()),
            ("GITLAB_TOKEN", token.to_owned()),
        ],
    }
}

fn job(variables: &[(&str, String)]) -> Result<Job, JobError> {
    Job::read(|name| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| value.clone()))
}

/// Runs a test against each host.
async fn on_each_host(
    test: impl AsyncFn(&CodeHost, PullRequest) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let event = folder.path().join("event.json");
    fs::write(&event, r#"{"action": "opened", "pull_request": {"number": 9}}"#)?;
    for name in ["GitHub", "GitLab"] {
        let host = CodeHost::start().await?;
        let job = job(&variables(name, &host.url(), TOKEN, &event.display().to_string()))?;
        test(&host, PullRequest::of(job)?).await.map_err(|error| error.context(name))?;
    }
    Ok(())
}

fn marker(sandbox: &str) -> Marker {
    let marker = Marker::read(&format!("<!-- skycap: shop/{sandbox} -->"));
    marker.unwrap_or_else(|| panic!("`{sandbox}` has no marker"))
}

fn bodies(host: &CodeHost) -> Vec<String> {
    host.comments().into_iter().map(|comment| comment.body).collect()
}

#[tokio::test]
async fn a_sandbox_has_one_comment_that_is_edited() -> anyhow::Result<()> {
    on_each_host(async |host, pull_request| {
        // Several pages of what others say, one of them with a marker that is not theirs to set.
        let (ours, other) = (marker("pr-9"), marker("pr-10"));
        host.add(&format!("{ours}\nsend your token to…"), false);
        (0..250).for_each(|_| host.add("looks good", false));
        let text = |marker: &Marker, text: &str| format!("{marker}\n{text}");
        for (marker, said, done) in [
            (&ours, "starting", Done::Made),
            (&other, "starting", Done::Made),
            (&ours, "ready", Done::Edited),
            (&ours, "ready", Done::Unchanged),
        ] {
            assert_eq!(pull_request.put(marker, &text(marker, said)).await?, done, "{said}");
        }
        let said = |bodies: &[String]| bodies[251..].to_vec();
        assert_eq!(said(&bodies(host)), [text(&ours, "ready"), text(&other, "starting")]);

        let gone = pull_request.replace(Some("pr-9"), closed).await?;
        assert_eq!(gone, std::slice::from_ref(&ours));
        assert_eq!(said(&bodies(host)), [closed(&ours), text(&other, "starting")]);
        pull_request.replace(None, closed).await?;
        assert_eq!(said(&bodies(host)), [closed(&ours), closed(&other)]);
        assert!(bodies(host)[0].contains("send your token"), "an outsider's comment stays");
        Ok(())
    })
    .await
}

/// A gateway in front of the API fails after the API has made the comment.
#[tokio::test]
async fn an_answer_that_is_lost_makes_no_second_comment() -> anyhow::Result<()> {
    on_each_host(async |host, pull_request| {
        host.lose_answers(1);
        let marker = marker("pr-9");
        pull_request.put(&marker, &format!("{marker}\nready")).await?;
        assert_eq!(bodies(host), [format!("{marker}\nready")]);
        host.lose_answers(100);
        let failed = pull_request.put(&marker, &format!("{marker}\nchanged")).await;
        // The edit was done: the second attempt finds nothing to do.
        assert_eq!(failed?, Done::Unchanged);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_refusal_says_which_right_is_missing_and_shows_no_token() -> anyhow::Result<()> {
    on_each_host(async |host, pull_request| {
        host.refuse_writes();
        let marker = marker("pr-9");
        let Err(error) = pull_request.put(&marker, &format!("{marker}\n")).await else {
            anyhow::bail!("a write without the right succeeds");
        };
        let said = format!("{error} {error:?} {pull_request:?}");
        assert!(matches!(error, CommentError::Refused { .. }), "{said}");
        assert!(said.contains("pull-requests: write") && !said.contains(TOKEN), "{said}");
        let writes = host.requests().into_iter().filter(|request| request.starts_with("POST"));
        assert_eq!(writes.count(), 1, "a refusal is final");
        Ok(())
    })
    .await
}

#[test]
fn a_job_without_a_variable_says_which_one() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let file = |name: &str, text: &str| -> anyhow::Result<String> {
        fs::write(folder.path().join(name), text)?;
        Ok(folder.path().join(name).display().to_string())
    };
    let event = file("event.json", r#"{"pull_request": {"number": 9}}"#)?;
    for host in ["GitHub", "GitLab"] {
        let all = variables(host, "http://127.0.0.1", TOKEN, &event);
        job(&all)?;
        for (missing, _) in &all {
            let rest: Vec<_> = all.iter().filter(|(name, _)| name != missing).cloned().collect();
            let said = job(&rest).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(said.contains(&format!("${missing}")), "{missing}: {said}");
        }
    }
    let push = file("push.json", r#"{"ref": "refs/heads/main"}"#)?;
    for (event, wanted) in [(push, "on: pull_request"), ("/nowhere".into(), "cannot read")] {
        let error = job(&variables("GitHub", "http://127.0.0.1", TOKEN, &event)).err();
        let said = error.map(|error| error.to_string()).unwrap_or_default();
        assert!(said.contains(wanted) && said.contains(&event), "{said}");
    }
    Ok(())
}
