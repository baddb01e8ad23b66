//! Several variants of the same objects become one, with conditions where they differ.

use anyhow::{Context as _, bail};
use serde_json::{Map, Value};

use super::{
    condition::{Conditions, Facts},
    markers::{END, IF},
};

/// Merges lists of objects. What is not in every variant stands between the markers [`IF`] with the
/// number of its condition and [`END`].
///
/// # Errors
/// If variants differ in anything but the items of lists.
pub(super) fn merge(
    variants: Vec<(Facts, Vec<Value>)>,
    conditions: &mut Conditions,
) -> anyhow::Result<Vec<Value>> {
    let all: Vec<_> = variants.iter().map(|(facts, _)| *facts).collect();
    let mut merged = Vec::new();
    for items in aligned(&variants) {
        let present: Vec<_> = items.iter().map(|(facts, _)| *facts).collect();
        let number = conditions.number(&all, &present)?;
        let item = merge_values(items, conditions)?;
        match number {
            None => merged.push(item),
            Some(number) => {
                merged.extend([format!("{IF}{number}").into(), item, END.into()]);
            }
        }
    }
    Ok(merged)
}

/// The items of the lists, each with the variants that have it. The longest list decides the order.
fn aligned(variants: &[(Facts, Vec<Value>)]) -> Vec<Vec<(Facts, Value)>> {
    let mut aligned: Vec<Vec<(Facts, Value)>> = Vec::new();
    let mut longest_first: Vec<_> = variants.iter().collect();
    longest_first.sort_by_key(|(_, items)| std::cmp::Reverse(items.len()));
    for (facts, items) in longest_first {
        let mut next = 0;
        for item in items {
            let is_same = |other: &Vec<(Facts, Value)>| {
                other.first().is_some_and(|(_, other)| identity(other) == identity(item))
            };
            let place = aligned.iter().position(is_same).unwrap_or_else(|| {
                aligned.insert(next, Vec::new());
                next
            });
            if let Some(of_item) = aligned.get_mut(place) {
                of_item.push((*facts, item.clone()));
            }
            next = place + 1;
        }
    }
    aligned
}

/// What makes two items the same one: the names of an object of Kubernetes, the name of a container, or
/// all of another value.
fn identity(item: &Value) -> Value {
    match (&item["kind"], &item["name"], &item["image"]) {
        (Value::String(_), ..) if item["metadata"].is_object() => {
            let metadata = &item["metadata"];
            Value::from_iter([
                item["kind"].clone(),
                metadata["namespace"].clone(),
                metadata["name"].clone(),
            ])
        }
        (_, name @ Value::String(_), Value::String(_)) => name.clone(),
        _ => item.clone(),
    }
}

fn merge_values(
    variants: Vec<(Facts, Value)>,
    conditions: &mut Conditions,
) -> anyhow::Result<Value> {
    let (_, first) = variants.first().context("no variant")?;
    if variants.iter().all(|(_, value)| value == first) {
        return Ok(first.clone());
    }
    match first {
        Value::Object(fields) => {
            let mut merged = Map::new();
            for name in fields.keys() {
                let field = |(facts, value): &(Facts, Value)| {
                    Some((*facts, value.as_object()?.get(name)?.clone()))
                };
                let of_field: Option<Vec<_>> = variants.iter().map(field).collect();
                let of_field =
                    of_field.with_context(|| format!("`{name}` is not in all variants"))?;
                let value = merge_values(of_field, conditions).with_context(|| name.clone())?;
                merged.insert(name.clone(), value);
            }
            Ok(Value::Object(merged))
        }
        Value::Array(_) => {
            let lists = variants.into_iter().map(|(facts, value)| match value {
                Value::Array(items) => Ok((facts, items)),
                other => bail!("`{other}` is not a list"),
            });
            Ok(Value::Array(merge(lists.collect::<Result<_, _>>()?, conditions)?))
        }
        other => bail!("`{other}` is not the same in all variants"),
    }
}
