//! `${NAME}` in a sandbox file.
//!
//! Variables are replaced in the strings of the parsed file, not in its text. A value can therefore
//! never add a field or a line, whatever a branch is called. Section 9 of the contract.

use serde_json::Value;

/// Replaces `${NAME}` in every string of `value`, and in the names of its fields. `$${` stands for `${`.
///
/// # Errors
/// [`InvalidVariable`] for each variable that `lookup` does not know.
pub(super) fn substitute(
    value: Value,
    lookup: &impl Fn(&str) -> Option<String>,
) -> Result<Value, Vec<InvalidVariable>> {
    substitute_in(value, "", is_name, &|_, name| lookup(name))
}

/// As [`substitute`], with names of another form, and with a `lookup` that is told the field as well.
/// `field` is where `value` stands.
///
/// # Errors
/// [`InvalidVariable`] for each variable that `lookup` does not know.
pub(super) fn substitute_in(
    value: Value,
    field: &str,
    is_name: fn(&str) -> bool,
    lookup: &impl Fn(&str, &str) -> Option<String>,
) -> Result<Value, Vec<InvalidVariable>> {
    let mut errors = Vec::new();
    let value = Substitution { is_name, lookup, errors: &mut errors }.value(value, field);
    if errors.is_empty() { Ok(value) } else { Err(errors) }
}

/// A variable that cannot be replaced.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidVariable {
    /// It is neither given nor in the environment.
    #[error("{field}: variable `{name}` is not set; pass `--set {name}=VALUE`, or export it")]
    Unset {
        /// The field, as `forks.cart.image`.
        field: String,
        /// The variable.
        name: String,
    },
    /// `${` without a valid name and `}`.
    #[error(
        "{field}: invalid variable in `{text}`: expected `${{NAME}}`; write `$${{` for a literal `${{`"
    )]
    Malformed {
        /// The field.
        field: String,
        /// The whole string.
        text: String,
    },
}

struct Substitution<'a, L> {
    is_name: fn(&str) -> bool,
    lookup: &'a L,
    errors: &'a mut Vec<InvalidVariable>,
}

impl<L: Fn(&str, &str) -> Option<String>> Substitution<'_, L> {
    fn value(&mut self, value: Value, field: &str) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(&text, field)),
            Value::Array(items) => {
                let items = items.into_iter().enumerate();
                items.map(|(index, item)| self.value(item, &format!("{field}[{index}]"))).collect()
            }
            Value::Object(fields) => {
                let fields = fields.into_iter().map(|(name, value)| {
                    let dot = if field.is_empty() { "" } else { "." };
                    let field = format!("{field}{dot}{name}");
                    (self.text(&name, &field), self.value(value, &field))
                });
                Value::Object(fields.collect())
            }
            value => value,
        }
    }

    fn text(&mut self, text: &str, field: &str) -> String {
        let mut replaced = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once("${") {
            if let Some(before) = before.strip_suffix('$') {
                replaced.extend([before, "${"]);
                rest = behind;
                continue;
            }
            replaced.push_str(before);
            let is_name = |(name, _): &(&str, &str)| (self.is_name)(name);
            let Some((name, behind)) = behind.split_once('}').filter(is_name) else {
                let field = field.into();
                self.errors.push(InvalidVariable::Malformed { field, text: text.into() });
                return replaced;
            };
            rest = behind;
            match (self.lookup)(field, name) {
                Some(value) => replaced.push_str(&value),
                None => {
                    let (field, name) = (field.into(), name.into());
                    self.errors.push(InvalidVariable::Unset { field, name });
                }
            }
        }
        replaced.push_str(rest);
        replaced
    }
}

/// A name as POSIX has it for the environment.
pub(crate) fn is_name(name: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    name.bytes().all(is_inner) && name.starts_with(|first: char| !first.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn variables_are_replaced_in_strings_and_names() {
        let lookup = |name: &str| match name {
            "PR" => Some("9".to_owned()),
            "BRANCH" => Some("a: {b}\n${PR}".to_owned()),
            _ => None,
        };
        for (given, expected) in [
            (json!("pr-${PR}"), Ok(json!("pr-9"))),
            (json!({"${PR}": [1, "${PR}${PR}", null]}), Ok(json!({"9": [1, "99", null]}))),
            // A value is not read again, and not parsed.
            (json!("${BRANCH}"), Ok(json!("a: {b}\n${PR}"))),
            (json!("$${PR} $PR $"), Ok(json!("${PR} $PR $"))),
            (json!({"a": {"b": "${NO}"}}), Err("a.b: variable `NO` is not set")),
            (json!(["${PR"]), Err("[0]: invalid variable in `${PR`")),
            (json!("${}"), Err(": invalid variable")),
        ] {
            let found = substitute(given.clone(), &lookup).map_err(|errors| errors[0].to_string());
            let is_expected = match (&found, &expected) {
                (Err(found), Err(expected)) => found.starts_with(expected),
                (found, expected) => found.as_ref().ok() == expected.as_ref().ok(),
            };
            assert!(is_expected, "{given}: {found:?}, expected {expected:?}");
        }
    }
}
