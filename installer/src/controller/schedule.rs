//! When the controller's next round is due: after changes, at an expiry, after a failure.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

/// The reasons for the next round.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    /// The times of the first and the last change since the last successful round.
    changes: Option<(Instant, Instant)>,
    /// Whether one of the changes is a loss.
    has_loss: bool,
    /// When the last round succeeded.
    last_round: Option<Instant>,
    /// After a failure, the earliest time of the next round, and how long that is after the
    /// failure.
    retry: Option<(Instant, Duration)>,
    /// When the last table was compiled, and until when it is valid, by the wall clock.
    compiled: Option<(Timestamp, Option<Timestamp>)>,
}

impl Schedule {
    /// A change has arrived.
    pub(super) fn note_change(&mut self, now: Instant) {
        let (_, last) = self.changes.get_or_insert((now, now));
        *last = now;
    }

    /// A Service has lost its last ready endpoint.
    ///
    /// Such a change does not wait for quiet: until the table follows, requests get a 503. Istiod waits
    /// for 100 ms of quiet too (`PILOT_DEBOUNCE_AFTER`), so a table that is written sooner reaches the
    /// proxies with the endpoints, and not after them.
    pub(super) fn note_loss(&mut self, now: Instant) {
        self.has_loss = true;
        self.note_change(now);
    }

    /// A round succeeded; its table was compiled at `compiled` and is valid until `valid_until`.
    pub(super) const fn note_success(
        &mut self,
        now: Instant,
        compiled: Timestamp,
        valid_until: Option<Timestamp>,
    ) {
        self.changes = None;
        self.has_loss = false;
        self.last_round = Some(now);
        self.retry = None;
        self.compiled = Some((compiled, valid_until));
    }

    /// A round failed. Returns after what time the next one is due.
    pub(super) fn note_failure(&mut self, now: Instant) -> Duration {
        let delay = self.retry.map_or(FIRST_RETRY, |(_, delay)| (delay * 2).min(LAST_RETRY));
        self.retry = Some((now + delay, delay));
        self.note_change(now);
        delay
    }

    /// Whether a round is due.
    pub(super) fn is_due(&self, now: Instant, clock: Timestamp) -> bool {
        self.due(now).is_some_and(|due| due <= now) || self.is_outdated(clock)
    }

    /// When to call [`Self::is_due`] again.
    pub(super) fn wake(&self, now: Instant, clock: Timestamp) -> Instant {
        let valid_until = self.compiled.and_then(|(_, valid_until)| valid_until);
        let left = valid_until.map(|until| until.duration_since(clock));
        let left = left.map_or(CLOCK_CHECK, |left| left.try_into().unwrap_or(Duration::ZERO));
        // A timer follows the monotonic clock, but an expiry follows the wall clock, which may
        // jump. So the wall clock is read at least this often.
        let expiry = now + left.min(CLOCK_CHECK);
        self.due(now).map_or(expiry, |due| due.min(expiry))
    }

    fn due(&self, now: Instant) -> Option<Instant> {
        let (first, last) = self.changes?;
        let settled = if self.has_loss {
            self.last_round.map_or(first, |round| first.max(round + QUIET))
        } else {
            (last + QUIET).min(first + MAX_DELAY)
        };
        Some(self.retry.map_or(settled, |(at, _)| at.max(settled)).max(now.min(settled)))
    }

    /// Whether a fragment has expired since the last compile, or the clock was set back.
    fn is_outdated(&self, clock: Timestamp) -> bool {
        self.compiled.is_some_and(|(compiled, valid_until)| {
            clock < compiled || valid_until.is_some_and(|until| until <= clock)
        })
    }
}

/// How long no change may arrive before a round, so that a burst of changes causes one round, …
const QUIET: Duration = Duration::from_millis(50);
/// … and how long a change waits at most.
const MAX_DELAY: Duration = Duration::from_secs(1);
const FIRST_RETRY: Duration = Duration::from_millis(500);
const LAST_RETRY: Duration = Duration::from_secs(10);
/// How often the wall clock is read: a jump is noticed within this time.
const CLOCK_CHECK: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    const CLOCK: Timestamp = Timestamp::constant(1_795_000_000, 0);

    fn after(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn a_round_waits_for_quiet_but_at_most_a_second() {
        let (start, mut schedule) = (Instant::now(), Schedule::default());
        assert!(!schedule.is_due(start, CLOCK), "no change");
        for n in 0..=24 {
            schedule.note_change(start + after(n * 40));
        }
        assert!(!schedule.is_due(start + after(999), CLOCK), "changes still arrive");
        assert!(schedule.is_due(start + after(1_000), CLOCK), "a second has passed");
        schedule.note_success(start + after(1_000), CLOCK, None);
        schedule.note_change(start + after(2_000));
        assert!(!schedule.is_due(start + after(2_049), CLOCK));
        assert!(schedule.is_due(start + after(2_050), CLOCK));
    }

    #[test]
    fn a_loss_does_not_wait_but_rounds_keep_their_distance() {
        let (start, mut schedule) = (Instant::now(), Schedule::default());
        schedule.note_change(start);
        schedule.note_loss(start + after(10));
        assert!(schedule.is_due(start + after(10), CLOCK), "no round yet");
        schedule.note_success(start + after(20), CLOCK, None);
        schedule.note_loss(start + after(30));
        assert!(!schedule.is_due(start + after(69), CLOCK), "too soon after the last round");
        assert!(schedule.is_due(start + after(70), CLOCK));
        schedule.note_success(start + after(70), CLOCK, None);
        schedule.note_change(start + after(200));
        assert!(!schedule.is_due(start + after(249), CLOCK), "the loss is over");
    }

    #[test]
    fn a_jump_of_the_clock_is_noticed() {
        let (start, mut schedule) = (Instant::now(), Schedule::default());
        let hour = jiff::SignedDuration::from_hours(1);
        let (past, soon, later) = (CLOCK - hour, CLOCK + hour, CLOCK + hour + hour);
        schedule.note_success(start, CLOCK, Some(soon));
        assert!(!schedule.is_due(start, CLOCK));
        assert!(schedule.is_due(start, later), "forward past an expiry");
        assert!(schedule.is_due(start, past), "back: an expired fragment may be valid again");
        assert!(schedule.wake(start, CLOCK) <= start + CLOCK_CHECK);
        assert_eq!(schedule.wake(start, soon), start, "at the expiry");
    }

    #[test]
    fn the_delay_after_failures_doubles() {
        let (start, mut schedule) = (Instant::now(), Schedule::default());
        schedule.note_change(start);
        assert_eq!(schedule.note_failure(start), FIRST_RETRY);
        assert!(!schedule.is_due(start + after(499), CLOCK));
        assert!(schedule.is_due(start + after(500), CLOCK));
        assert_eq!(schedule.note_failure(start), FIRST_RETRY * 2);
        assert!((0..10).all(|_| schedule.note_failure(start) <= LAST_RETRY));
    }
}
