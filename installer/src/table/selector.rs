//! The settings' `namespaces`: which namespaces take part, by their labels.

use std::collections::BTreeMap;

use kube::core::{Expression, Selector, SelectorExt as _};

/// A label selector as kubectl writes it, of equality: `a=b,c!=d,e,!f`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NamespaceSelector(Selector);

impl NamespaceSelector {
    /// Whether a namespace with these labels takes part.
    #[must_use]
    pub fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.matches(labels)
    }
}

impl std::str::FromStr for NamespaceSelector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let terms = text.split(',').map(str::trim);
        terms.map(expression).collect::<Result<_, _>>().map(Self)
    }
}

fn expression(term: &str) -> Result<Expression, String> {
    let of = |(name, value): (&str, &str)| (name.trim().to_owned(), value.trim().to_owned());
    let expression = if let Some((name, value)) = term.split_once("!=").map(of) {
        (name.clone(), Expression::NotEqual(name, value))
    } else if let Some((name, value)) = term.split_once('=').map(of) {
        (name.clone(), Expression::Equal(name, value))
    } else if let Some(name) = term.strip_prefix('!') {
        (name.to_owned(), Expression::DoesNotExist(name.into()))
    } else {
        (term.to_owned(), Expression::Exists(term.into()))
    };
    let (name, expression) = expression;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
    let is_label = !name.is_empty() && name.bytes().all(plain);
    is_label.then_some(expression).ok_or_else(|| {
        format!("`{term}` selects no label, expected such as `skycap.dev/enabled=true`")
    })
}
