//! How many clients wait for a change, by namespace.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

/// The clients that wait. Those of one namespace cannot take the places of all others.
#[derive(Debug, Default)]
pub(super) struct Waiting(Mutex<HashMap<String, usize>>);

/// A client that waits, until this is dropped.
pub(super) struct Waits<'a> {
    waiting: &'a Waiting,
    namespace: String,
}

impl Waiting {
    /// Lets a client wait; `None` if too many of its namespace do.
    pub(super) fn enter(&self, namespace: &str) -> Option<Waits<'_>> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(namespace.to_owned()).or_default();
        (*count < NAMESPACE_CLIENTS).then(|| {
            *count += 1;
            Waits { waiting: self, namespace: namespace.to_owned() }
        })
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        let mut counts = self.waiting.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.namespace) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.namespace);
            }
        }
    }
}

/// Two replicas for each of a namespace's queues, up to 32 of them.
const NAMESPACE_CLIENTS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_takes_only_its_own_places() {
        let waiting = Waiting::default();
        let mut waits: Vec<_> = (0..NAMESPACE_CLIENTS).map(|_| waiting.enter("shop")).collect();
        assert!(waits.iter().all(Option::is_some) && waiting.enter("shop").is_none());
        assert!(waiting.enter("mall").is_some());
        waits.pop();
        assert!(waiting.enter("shop").is_some());
        drop(waits);
        assert!(waiting.0.lock().expect("no poison").is_empty());
    }
}
