//! Exactness under fire: none lost, none twice, none out of order, each where the rules of its time say.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use skycap_tests::kafka::Kafka;

use crate::{
    chaos::{Event, Form, Random},
    checker::{Faults, Seen, check, read},
    cluster::Brokers,
    eras::{Era, KEYS, SANDBOXES, random_rules},
    load::Load,
    rules_server::RulesServer,
    splitter::{Launcher, Splitter},
};

const PARTITIONS: i32 = 6;

struct Run {
    kafka: Kafka,
    brokers: Brokers,
    server: RulesServer,
    launcher: Launcher,
    splitters: Vec<Splitter>,
    /// Splitters that stand still, with the time at which they wake up.
    asleep: Vec<(Splitter, Instant)>,
    guest: Option<Splitter>,
    eras: Vec<Era>,
    random: Random,
    counted: BTreeMap<&'static str, usize>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_message_arrives_once_and_in_order_where_the_rules_say() {
    let (form, seed) = (Form::of_environment(), 18);
    let mut run = Run::start(form, seed).await;
    let keys = KEYS.map(|key| Some(key.to_owned())).into_iter().chain([None]).collect();
    let servers = run.brokers.servers.clone();
    let load = Load::start(&servers, PARTITIONS, form.messages, form.rate, keys);
    let events = form.events(seed);
    let all = Duration::from_secs(form.messages / form.rate);
    let start = Instant::now();
    for (index, event) in (0_u32..).zip(&events) {
        let due = all * (index + 1) / (u32::try_from(events.len()).unwrap() + 2);
        while start.elapsed() < due {
            run.tick().await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        run.happen(*event, form).await;
    }
    while !load.is_finished() || !run.asleep.is_empty() {
        run.tick().await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    load.join();
    run.drain().await;
    run.judge(form);
}

impl Run {
    async fn start(form: Form, seed: u64) -> Self {
        let kafka = Kafka::start(form.brokers).await.unwrap();
        let brokers = Brokers::new(&kafka.servers());
        brokers.create("orders", PARTITIONS, &[]).await;
        let mut random = Random(seed);
        let rules = random_rules(&mut random);
        let server = RulesServer::start(&rules).await;
        let launcher = Launcher::new(&server.url, &kafka.servers(), &[]);
        let splitters = vec![launcher.start("a"), launcher.start("b")];
        for splitter in &splitters {
            splitter.wait_until_ready().await;
            splitter.wait_for_metric("skycap_queue_sandboxes", 3.0).await;
        }
        let eras = vec![Era { rules, from: BTreeMap::new(), until: None }];
        let (asleep, guest, counted) = (Vec::new(), None, BTreeMap::new());
        Self { kafka, brokers, server, launcher, splitters, asleep, guest, eras, random, counted }
    }

    async fn happen(&mut self, event: Event, form: Form) {
        let index = usize::try_from(self.random.below(2)).unwrap();
        match event {
            Event::Rules => {
                let rules = random_rules(&mut self.random);
                let from = self.brokers.offsets("skycap.shop.orders", "orders", PARTITIONS);
                self.server.publish(&rules);
                self.eras.push(Era { rules, from, until: None });
            }
            Event::Kill => {
                let identity = self.splitters[index].identity.clone();
                let fresh = self.launcher.start(&identity);
                // The new one starts before the old one is gone, as after a failure of a node.
                std::mem::replace(&mut self.splitters[index], fresh).kill();
            }
            Event::Hiccup => {
                self.splitters[index].signal("STOP");
                tokio::time::sleep(Duration::from_secs(5)).await;
                self.splitters[index].signal("CONT");
            }
            Event::Zombie => {
                // Sometimes the new one has the same name, and sometimes another one.
                let number = self.counted.get("zombies").copied().unwrap_or(0);
                let same = self.splitters[index].identity.clone();
                let identity = if number % 2 == 0 { same } else { format!("other-{number}") };
                let fresh = self.launcher.start(&identity);
                let zombie = std::mem::replace(&mut self.splitters[index], fresh);
                zombie.signal("STOP");
                // What it has read was there already, and it cannot commit anything else.
                self.server.forget(&zombie.identity);
                self.asleep.push((zombie, Instant::now() + form.asleep));
            }
            Event::Rebalance => match self.guest.take() {
                Some(guest) => {
                    let identity = guest.identity.clone();
                    let status = guest.terminate().await;
                    *self.counted.entry("ended by themselves").or_default() +=
                        usize::from(!status.success());
                    self.server.forget(&identity);
                }
                None => self.guest = Some(self.launcher.start("guest")),
            },
            Event::Broker => {
                let broker = usize::try_from(self.random.below(form.brokers as u64)).unwrap();
                self.kafka.kill(broker).await.unwrap();
                tokio::time::sleep(Duration::from_secs(2)).await;
                self.kafka.restart(broker).unwrap();
                self.kafka.wait(broker).await.unwrap();
            }
        }
        *self.counted.entry(name(event)).or_default() += 1;
    }

    /// Notes which rules nobody holds any more, starts what has ended, and wakes zombies.
    async fn tick(&mut self) {
        let lowest = self.server.lowest_held().unwrap_or(0);
        let past = self.eras.iter().take(usize::try_from(lowest).unwrap());
        if past.into_iter().any(|era| era.until.is_none()) {
            let ends = self.brokers.ends("orders", PARTITIONS);
            for era in self.eras.iter_mut().take(usize::try_from(lowest).unwrap()) {
                era.until.get_or_insert_with(|| ends.clone());
            }
        }
        for splitter in &mut self.splitters {
            if splitter.has_ended() {
                *self.counted.entry("ended by themselves").or_default() += 1;
                let fresh = self.launcher.start(&splitter.identity);
                *splitter = fresh;
            }
        }
        let now = Instant::now();
        let (awake, asleep): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.asleep).into_iter().partition(|(_, until)| now >= *until);
        self.asleep = asleep;
        for (zombie, _) in awake {
            zombie.signal("CONT");
            tokio::time::sleep(Duration::from_secs(3)).await;
            let identity = zombie.identity.clone();
            zombie.kill();
            if self.splitters.iter().all(|splitter| splitter.identity != identity) {
                self.server.forget(&identity);
            }
        }
    }

    /// Waits until everything was moved.
    async fn drain(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(90);
        loop {
            self.tick().await;
            let moved = self.brokers.offsets("skycap.shop.orders", "orders", PARTITIONS);
            if moved == self.brokers.ends("orders", PARTITIONS) {
                return;
            }
            let logs = self.splitters.iter().map(Splitter::log).collect::<Vec<_>>().join("\n");
            assert!(Instant::now() < deadline, "not everything was moved: {moved:?}\n{logs}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    fn judge(&self, form: Form) {
        let servers = &self.brokers.servers;
        let source = read(servers, "orders", PARTITIONS);
        let topics = SANDBOXES.iter().chain(&["baseline"]).map(|name| format!("orders.{name}"));
        let targets: BTreeMap<String, Vec<Seen>> =
            topics.map(|topic| (topic.clone(), read(servers, &topic, PARTITIONS))).collect();
        let verdict = check(&source, &targets, |message| {
            let eras = self.eras.iter().filter(|era| era.may_decide(message));
            eras.map(|era| era.topic(message)).collect::<BTreeSet<_>>().into_iter().collect()
        });
        let sizes: Vec<_> = targets.iter().map(|(topic, seen)| (topic, seen.len())).collect();
        eprintln!(
            "{} messages, {:?}, {:?}; {} with one permitted target; {:?}",
            verdict.messages, self.counted, sizes, verdict.certain, verdict.faults
        );
        let logs = || self.splitters.iter().map(Splitter::log).collect::<Vec<_>>().join("\n");
        let nothing = Faults::default();
        assert_eq!(verdict.faults, nothing, "{:#?}\n{}", verdict.examples, logs());
        assert_eq!(u64::try_from(verdict.messages).unwrap(), form.messages);
        // Otherwise the windows are so wide that any routing would pass.
        assert!(verdict.certain * 2 > verdict.messages, "{} are certain", verdict.certain);
        assert!(sizes.iter().all(|(_, size)| *size > 100), "{sizes:?}");
    }
}

const fn name(event: Event) -> &'static str {
    match event {
        Event::Rules => "changes of rules",
        Event::Kill => "kills",
        Event::Hiccup => "hiccups",
        Event::Zombie => "zombies",
        Event::Rebalance => "rebalances",
        Event::Broker => "broker restarts",
    }
}
