//! The settings' `namespaces`: selects the namespaces that take part, by their labels.

use std::{collections::BTreeMap, str::FromStr};

use kube::core::{Expression, Selector, SelectorExt as _};

use crate::problem::InvalidValue;

/// A label selector of equality, in the syntax of kubectl: `a=b,c!=d,e,!f`. The default selects
/// every namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NamespaceSelector(Selector);

impl NamespaceSelector {
    /// Whether a namespace with these labels takes part.
    #[must_use]
    pub fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.matches(labels)
    }
}

impl FromStr for NamespaceSelector {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let terms = text.split(',').map(str::trim);
        terms.map(expression).collect::<Result<_, _>>().map(Self)
    }
}

fn expression(term: &str) -> Result<Expression, InvalidValue> {
    let trimmed = |(name, value): (&str, &str)| (name.trim().to_owned(), value.trim().to_owned());
    let (name, expression) = if let Some((name, value)) = term.split_once("!=").map(trimmed) {
        (name.clone(), Expression::NotEqual(name, value))
    } else if let Some((name, value)) = term.split_once('=').map(trimmed) {
        (name.clone(), Expression::Equal(name, value))
    } else if let Some(name) = term.strip_prefix('!') {
        (name.to_owned(), Expression::DoesNotExist(name.into()))
    } else {
        (term.to_owned(), Expression::Exists(term.into()))
    };
    let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
    let is_label = !name.is_empty() && name.bytes().all(is_valid);
    is_label.then_some(expression).ok_or_else(|| {
        InvalidValue::new("label selector", term, "a label such as `skycap.dev/enabled=true`")
    })
}
