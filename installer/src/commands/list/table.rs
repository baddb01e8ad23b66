//! The table that `list` prints.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use tabled::{builder::Builder, settings::Style};

use crate::{
    observed::forks::ListedFork,
    table::report::{FragmentReport, Report, refused_rows, row},
};

/// What `list` knows.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Listing {
    #[serde(flatten)]
    pub(super) report: Report,
    /// The forks of the sandboxes; `None` for files, and for who may not read them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) forks: Option<Vec<ListedFork>>,
}

impl Listing {
    /// The table at this time. Unless it is `wide`, columns in which nothing stands are left out.
    pub(super) fn table(&self, now: Timestamp, wide: bool) -> String {
        let rows = self.report.fragments.iter().map(|fragment| self.cells(fragment, now));
        let refused = refused_rows(&self.report.problems).map(|[name, state]| {
            let mut cells = [const { String::new() }; COLUMNS.len()];
            (cells[0], cells[2]) = (name, state);
            cells
        });
        let rows: Vec<_> = rows.chain(refused).collect();
        let is_shown = |column: &usize| {
            let is_set = rows.iter().any(|row| !row[*column].is_empty());
            is_set || (wide && self.forks.is_some()) || !OPTIONAL.contains(column)
        };
        let shown: Vec<_> = (0..COLUMNS.len()).filter(is_shown).collect();
        let mut builder = Builder::default();
        builder.push_record(shown.iter().map(|column| COLUMNS[*column]));
        for row in &rows {
            builder.push_record(shown.iter().map(|column| row[*column].as_str()));
        }
        let text = builder.build().with(Style::blank()).to_string();
        let lines: Vec<_> = text.lines().map(str::trim_end).collect();
        self.report.table_with((!rows.is_empty()).then(|| lines.join("\n")))
    }

    fn cells(&self, fragment: &FragmentReport, now: Timestamp) -> [String; COLUMNS.len()] {
        let [name, key, state, routes] = row(fragment);
        let age = fragment.created.map(|created| short(now.duration_since(created)));
        let left = fragment.expires.map(|end| short(end.duration_since(now)));
        let request = fragment.pull_request.as_ref().map(|number| format!("#{number}"));
        let owner = [fragment.owner.clone(), request];
        let owner = owner.into_iter().flatten().collect::<Vec<_>>().join(" ");
        let forks = self.forks(fragment);
        let (age, left) = (age.unwrap_or_default(), left.unwrap_or_default());
        let queues = fragment.queues.join(", ");
        [name, key, state, owner, age, left, forks, queues, routes]
    }

    /// How many forks of a sandbox are ready, and how many have drifted.
    fn forks(&self, fragment: &FragmentReport) -> String {
        let forks =
            self.forks.iter().flatten().filter(|fork| {
                fork.namespace == fragment.namespace && fork.sandbox == fragment.name
            });
        let (mut all, mut ready, mut drifted) = (0, 0, 0);
        for fork in forks {
            all += 1;
            ready += usize::from(fork.ready);
            drifted += usize::from(fork.drifted);
        }
        match (all, drifted) {
            (0, _) => String::new(),
            (_, 0) => format!("{ready} of {all}"),
            (_, drifted) => format!("{ready} of {all}, {drifted} drifted"),
        }
    }
}

/// A duration in its largest unit, as kubectl prints ages.
fn short(duration: SignedDuration) -> String {
    let seconds = duration.as_secs().max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        172_800..691_200 => format!("{}d{}h", seconds / 86_400, seconds % 86_400 / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

const COLUMNS: [&str; 9] =
    ["fragment", "key", "state", "owner", "age", "left", "forks ready", "queues", "routes"];
/// The columns that are left out if nothing stands in them.
const OPTIONAL: std::ops::Range<usize> = 3..8;
