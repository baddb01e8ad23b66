//! The decision: which topic a message goes to.

use std::{borrow::Cow, collections::HashMap, sync::Arc};

use skycap_core::{
    carrier::{Carrier, find_in_message},
    key::RoutingKey,
};

/// A place for messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The topic.
    pub topic: String,
    /// The sandbox whose topic it is; `None` for the baseline.
    pub sandbox: Option<String>,
}

/// The headers of a message.
pub trait Headers {
    /// All values of the header of this name, joined by `,`. Names are compared without case.
    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>>;
}

/// Where messages go: the rules, with what the topics can take now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    carriers: Vec<Carrier>,
    targets: HashMap<RoutingKey, Arc<Target>>,
    baseline: Arc<Target>,
}

impl Table {
    /// A table by which everything goes to the baseline.
    #[must_use]
    pub fn new(baseline: Target) -> Self {
        Self { carriers: Vec::new(), targets: HashMap::new(), baseline: Arc::new(baseline) }
    }

    /// With routes: the messages with these keys go to these targets.
    #[must_use]
    pub fn with_routes(
        mut self,
        carriers: Vec<Carrier>,
        targets: HashMap<RoutingKey, Arc<Target>>,
    ) -> Self {
        (self.carriers, self.targets) = (carriers, targets);
        self
    }

    /// Where a message goes. A key without a target goes to the baseline.
    pub fn target(&self, message: &impl Headers) -> &Arc<Target> {
        // With no sandbox on, no header is read.
        if self.targets.is_empty() {
            return &self.baseline;
        }
        let key = find_in_message(&self.carriers, |name| message.header(name));
        key.and_then(|key| self.targets.get(&key)).unwrap_or(&self.baseline)
    }

    /// The target of all messages without a sandbox.
    #[must_use]
    pub const fn baseline(&self) -> &Arc<Target> {
        &self.baseline
    }
}

/// Joins the values of several headers of one name, as several lines of HTTP are joined.
pub fn join<'v>(mut values: impl Iterator<Item = &'v [u8]>) -> Option<Cow<'v, [u8]>> {
    let mut joined = Cow::Borrowed(values.next()?);
    for value in values {
        let list = joined.to_mut();
        list.push(b',');
        list.extend_from_slice(value);
    }
    Some(joined)
}

#[cfg(test)]
mod tests {
    use std::{borrow::Cow, collections::HashMap, sync::Arc};

    use skycap_core::carrier::Carrier;

    use super::{Headers, Table, Target, join};

    struct Message(&'static [(&'static str, &'static str)]);

    impl Headers for Message {
        fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
            let named = self.0.iter().filter(|(header, _)| header.eq_ignore_ascii_case(name));
            join(named.map(|(_, value)| value.as_bytes()))
        }
    }

    fn topic(carriers: &str, headers: &'static [(&'static str, &'static str)]) -> String {
        let target = |sandbox: Option<&str>| Target {
            topic: format!("orders.{}", sandbox.unwrap_or("baseline")),
            sandbox: sandbox.map(str::to_owned),
        };
        let carriers: Vec<Carrier> = serde_json::from_str(carriers).unwrap();
        let routes = HashMap::from([("pr-1".parse().unwrap(), Arc::new(target(Some("one"))))]);
        let table = Table::new(target(None)).with_routes(carriers, routes);
        table.target(&Message(headers)).topic.clone()
    }

    #[test]
    fn the_key_of_a_message_is_read_as_that_of_a_request() {
        let baggage = r#"[{"baggage": "sandbox"}]"#;
        for (headers, expected) in [
            (&[][..], "orders.baseline"),
            (&[("baggage", "a=1,sandbox=pr%2D1;p")], "orders.one"),
            (&[("Baggage", "sandbox=pr-1")], "orders.one"),
            (&[("baggage", "sandbox=pr-2")], "orders.baseline"),
            // Of several headers, the last member wins, as in one list.
            (&[("baggage", "sandbox=pr-2"), ("baggage", "sandbox=pr-1")], "orders.one"),
            (&[("baggage", "sandbox=pr-1"), ("baggage", "sandbox=pr-2")], "orders.baseline"),
        ] {
            assert_eq!(topic(baggage, headers), expected, "{headers:?}");
        }
    }

    #[test]
    fn carriers_apply_in_their_order_and_cookies_do_not_apply() {
        let carriers = r#"[{"cookie": "sandbox"}, {"header": "x-key"}, {"baggage": "sandbox"}]"#;
        let both = &[("baggage", "sandbox=pr-2"), ("X-Key", "pr-1")];
        assert_eq!(topic(carriers, both), "orders.one");
        assert_eq!(topic(carriers, &[("cookie", "sandbox=pr-1")]), "orders.baseline");
    }
}
