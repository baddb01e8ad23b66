//! When the controller's next round is: after changes, at an expiry, after a failure.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

/// What there is to wait for.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    /// The first and the last change since the last round.
    changes: Option<(Instant, Instant)>,
    /// After a failure: not before.
    retry: Option<(Instant, Duration)>,
    /// When the last table was compiled, and until when it holds, by the wall clock.
    compiled: Option<(Timestamp, Option<Timestamp>)>,
}

impl Schedule {
    /// Something has changed.
    pub(super) fn note(&mut self, now: Instant) {
        let (_, last) = self.changes.get_or_insert((now, now));
        *last = now;
    }

    /// A round went well; its table holds until then.
    pub(super) const fn done(&mut self, compiled: Timestamp, valid_until: Option<Timestamp>) {
        self.changes = None;
        self.retry = None;
        self.compiled = Some((compiled, valid_until));
    }

    /// A round failed; gives how long to wait.
    pub(super) fn failed(&mut self, now: Instant) -> Duration {
        let wait = self.retry.map_or(RETRY_FIRST, |(_, wait)| (wait * 2).min(RETRY_LAST));
        self.retry = Some((now + wait, wait));
        self.note(now);
        wait
    }

    /// Whether it is time for a round.
    pub(super) fn is_due(&self, now: Instant, clock: Timestamp) -> bool {
        self.due(now).is_some_and(|due| due <= now) || self.is_outdated(clock)
    }

    /// When to look again.
    pub(super) fn wake(&self, now: Instant, clock: Timestamp) -> Instant {
        let valid_until = self.compiled.and_then(|(_, valid_until)| valid_until);
        let left = valid_until.map(|until| until.duration_since(clock));
        let left = left.map_or(CLOCK_CHECK, |left| left.try_into().unwrap_or(Duration::ZERO));
        // A timer runs by the monotonic clock and an expiry is of the wall clock, which may jump:
        // so the clock (nothing else) is looked at now and then.
        let expiry = now + left.min(CLOCK_CHECK);
        self.due(now).map_or(expiry, |due| due.min(expiry))
    }

    fn due(&self, now: Instant) -> Option<Instant> {
        let (first, last) = self.changes?;
        let calm = (last + QUIET).min(first + PATIENCE);
        Some(self.retry.map_or(calm, |(at, _)| at.max(calm)).max(now.min(calm)))
    }

    /// Whether a fragment has expired since the last compile, or the clock was set back.
    fn is_outdated(&self, clock: Timestamp) -> bool {
        self.compiled.is_some_and(|(compiled, valid_until)| {
            clock < compiled || valid_until.is_some_and(|until| until <= clock)
        })
    }
}

/// So long nothing must happen before a round, …
const QUIET: Duration = Duration::from_millis(50);
/// … unless the first change is so old.
const PATIENCE: Duration = Duration::from_secs(1);
const RETRY_FIRST: Duration = Duration::from_millis(500);
const RETRY_LAST: Duration = Duration::from_secs(10);
/// So late a jump of the clock may be seen.
const CLOCK_CHECK: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    const CLOCK: Timestamp = Timestamp::constant(1_795_000_000, 0);

    fn after(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn changes_calm_down_first_but_not_for_ever() {
        let (start, mut schedule) = (Instant::now(), Schedule::default());
        assert!(!schedule.is_due(start, CLOCK), "nothing to do");
        for n in 0..=24 {
            schedule.note(start + after(n * 40));
        }
        assert!(!schedule.is_due(start + after(999), CLOCK), "still flapping");
        assert!(schedule.is_due(start + after(1_000), CLOCK), "a second is enough");
        schedule.done(CLOCK, None);
        schedule.note(start + after(2_000));
        assert!(!schedule.is_due(start + after(2_049), CLOCK));
        assert!(schedule.is_due(start + after(2_050), CLOCK));
    }

    #[test]
    fn a_jump_of_the_clock_is_seen() {
        let (start, mut schedule) = (Instant::now(), Schedule::default());
        let hour = jiff::SignedDuration::from_hours(1);
        let (past, soon, later) = (CLOCK - hour, CLOCK + hour, CLOCK + hour + hour);
        schedule.done(CLOCK, Some(soon));
        assert!(!schedule.is_due(start, CLOCK));
        assert!(schedule.is_due(start, later), "forward over an expiry");
        assert!(schedule.is_due(start, past), "back: what had expired may not have");
        assert!(schedule.wake(start, CLOCK) <= start + CLOCK_CHECK);
        assert_eq!(schedule.wake(start, soon), start, "at the expiry itself");
    }

    #[test]
    fn failures_wait_longer_each_time() {
        let (start, mut schedule) = (Instant::now(), Schedule::default());
        schedule.note(start);
        assert_eq!(schedule.failed(start), RETRY_FIRST);
        assert!(!schedule.is_due(start + after(499), CLOCK));
        assert!(schedule.is_due(start + after(500), CLOCK));
        assert_eq!(schedule.failed(start), RETRY_FIRST * 2);
        assert!((0..10).all(|_| schedule.failed(start) <= RETRY_LAST));
    }
}
