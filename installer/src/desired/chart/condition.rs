//! When a part of a template applies, as a condition on the chart's values.

/// The options of an installation that change which objects it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) istio: bool,
    pub(super) linkerd: bool,
    pub(super) http_routes: bool,
    pub(super) traffic_extension: bool,
    pub(super) pull_secret: bool,
    pub(super) readers: bool,
    pub(super) access_log: bool,
    pub(super) spans: bool,
}

impl Facts {
    /// Every combination that values can express.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        (0..1_u32 << VARIABLES.len()).map(Self::of_bits).filter(|facts| {
            // There is a mesh, and Linkerd takes HTTPRoutes.
            facts.http_routes || (facts.istio && !facts.linkerd)
        })
    }

    fn of_bits(bits: u32) -> Self {
        let bit = |place: u32| bits & 1 << place != 0;
        Self {
            istio: bit(0),
            linkerd: bit(1),
            http_routes: bit(2),
            traffic_extension: bit(3),
            pull_secret: bit(4),
            readers: bit(5),
            access_log: bit(6),
            spans: bit(7),
        }
    }

    const fn values(self) -> [bool; VARIABLES.len()] {
        let Self { istio, linkerd, http_routes, traffic_extension, .. } = self;
        let Self { pull_secret, readers, access_log, spans, .. } = self;
        [istio, linkerd, http_routes, traffic_extension, pull_secret, readers, access_log, spans]
    }
}

/// The conditions of one template, in the order of their numbers.
#[derive(Debug, Default)]
pub(super) struct Conditions(Vec<String>);

impl Conditions {
    /// The number of the condition that holds for `present` and for none of the other `variants`;
    /// `None` if it always holds.
    ///
    /// # Errors
    /// If no condition of up to three options does.
    pub(super) fn number(
        &mut self,
        variants: &[Facts],
        present: &[Facts],
    ) -> anyhow::Result<Option<usize>> {
        if present.len() == variants.len() {
            return Ok(None);
        }
        let found = candidates().find(|literals| {
            variants.iter().all(|facts| holds(literals, *facts) == present.contains(facts))
        });
        let Some(literals) = found else {
            anyhow::bail!("no condition holds for exactly {present:?}")
        };
        let text = text(&literals);
        let known = self.0.iter().position(|other| *other == text);
        Ok(Some(known.unwrap_or_else(|| {
            self.0.push(text);
            self.0.len() - 1
        })))
    }

    /// The condition of a number, for `{{ if … }}`.
    pub(super) fn text(&self, number: usize) -> &str {
        self.0.get(number).map(String::as_str).unwrap_or_default()
    }
}

/// An option by its place, and whether it must be set.
type Literal = (usize, bool);

/// All conjunctions of up to three options, the shortest first.
fn candidates() -> impl Iterator<Item = Vec<Literal>> {
    let literals = || (0..VARIABLES.len()).flat_map(|place| [(place, true), (place, false)]);
    let pairs = move || {
        literals().flat_map(move |a| literals().filter(move |b| a.0 < b.0).map(move |b| vec![a, b]))
    };
    let triples = pairs().flat_map(move |pair| {
        let last = pair.last().map_or(0, |(place, _)| *place);
        literals().filter(move |c| last < c.0).map(move |c| [pair.as_slice(), &[c]].concat())
    });
    literals().map(|a| vec![a]).chain(pairs()).chain(triples)
}

fn holds(literals: &[Literal], facts: Facts) -> bool {
    let values = facts.values();
    literals.iter().all(|(place, wanted)| values.get(*place) == Some(wanted))
}

fn text(literals: &[Literal]) -> String {
    let one = |(place, wanted): &Literal| {
        let name = name(*place);
        if *wanted { name.to_owned() } else { format!("(not {name})") }
    };
    match literals {
        [(place, false)] => format!("not {}", name(*place)),
        [only] => one(only),
        several => format!("and {}", several.iter().map(one).collect::<Vec<_>>().join(" ")),
    }
}

fn name(place: usize) -> &'static str {
    VARIABLES.get(place).map_or("", |(name, _)| *name)
}

/// The variables of the conditions, in the order of [`Facts::values`], and their definitions.
pub(super) const VARIABLES: [(&str, &str); 8] = [
    ("$istio", "has \"istio\" .Values.meshes"),
    ("$linkerd", "has \"linkerd\" .Values.meshes"),
    ("$httpRoutes", "or (has \"linkerd\" .Values.meshes) (has \"gateway-api\" .Values.meshes)"),
    ("$trafficExtension", "eq .Values.module.plugin \"TrafficExtension\""),
    ("$pullSecret", ".Values.module.pullSecret"),
    ("$readers", ".Values.readers"),
    ("$accessLog", ".Values.accessLog"),
    ("$spans", ".Values.spans"),
];
