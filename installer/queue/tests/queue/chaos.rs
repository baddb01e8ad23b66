//! Chaos by a seed: what happens to the splitters, the brokers and the rules, and when.

use std::time::Duration;

/// One thing that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// Other rules.
    Rules,
    /// A splitter is killed, and started again.
    Kill,
    /// A splitter stands still for shorter than its session, and goes on.
    Hiccup,
    /// A splitter stands still for longer than its session. Another one of its name may start meanwhile,
    /// and then it wakes up.
    Zombie,
    /// A third splitter joins or leaves: a rebalance.
    Rebalance,
    /// A broker is killed, and started again.
    Broker,
}

/// How much happens.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Form {
    pub(crate) brokers: usize,
    pub(crate) messages: u64,
    pub(crate) rate: u64,
    pub(crate) rules: usize,
    pub(crate) kills: usize,
    pub(crate) hiccups: usize,
    pub(crate) zombies: usize,
    pub(crate) rebalances: usize,
    pub(crate) broker_restarts: usize,
    /// How long a zombie stands still. The session of a splitter lasts 10 s.
    pub(crate) asleep: Duration,
}

impl Form {
    /// The form of the environment: the long one with `SKYCAP_LONG=1`.
    pub(crate) fn of_environment() -> Self {
        if std::env::var("SKYCAP_LONG").is_ok_and(|value| value == "1") { LONG } else { SHORT }
    }

    /// All events in an order by the seed, so that each kind is spread over the time.
    pub(crate) fn events(&self, seed: u64) -> Vec<Event> {
        let counts = [
            (Event::Rules, self.rules),
            (Event::Kill, self.kills),
            (Event::Hiccup, self.hiccups),
            (Event::Zombie, self.zombies),
            (Event::Rebalance, self.rebalances),
            (Event::Broker, self.broker_restarts),
        ];
        let mut random = Random(seed);
        let mut events: Vec<(u64, Event)> = Vec::new();
        for (event, count) in counts {
            for index in 0..count {
                // The middle of its share of the time, and a random part of that share.
                let share = 1_000_000 / count as u64;
                events.push((share * index as u64 + random.below(share), event));
            }
        }
        events.sort_by_key(|(time, _)| *time);
        events.into_iter().map(|(_, event)| event).collect()
    }
}

/// A small generator of numbers (SplitMix64), so that a seed gives the same run.
#[derive(Debug)]
pub(crate) struct Random(pub u64);

impl Random {
    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut number = self.0;
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (number ^ (number >> 31)) % limit.max(1)
    }
}

const SHORT: Form = Form {
    brokers: 1,
    messages: 20_000,
    rate: 500,
    rules: 20,
    kills: 6,
    hiccups: 1,
    zombies: 1,
    rebalances: 2,
    broker_restarts: 1,
    asleep: Duration::from_secs(12),
};

const LONG: Form = Form {
    brokers: 3,
    messages: 100_000,
    rate: 250,
    rules: 100,
    kills: 40,
    hiccups: 5,
    zombies: 5,
    rebalances: 60,
    broker_restarts: 4,
    asleep: Duration::from_secs(30),
};
