//! When to try a batch again that cannot be written or flushed now.
//!
//! The first failure sets the deadline for all attempts; the pauses between them grow. Times are those of the monotonic
//! clock.

use crate::error::Error;
use std::time::Duration;

/// The first pause between two attempts, and the longest.
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// The failure that keeps a partition's batches waiting, and that can pass.
#[derive(Debug)]
pub(super) struct Stuck {
    pub(super) cause: Error,
    /// When to try again.
    pub(super) next: Duration,
    pause: Duration,
    end: Duration,
}

impl Stuck {
    /// Notes a failure at `now`; `None` once `patience` is over, counted from the first failure.
    pub(super) fn again(
        before: Option<Stuck>,
        cause: Error,
        now: Duration,
        patience: Duration,
    ) -> Option<Stuck> {
        let end = before.as_ref().map_or(now.saturating_add(patience), |stuck| stuck.end);
        if now >= end {
            return None;
        }
        let pause = before.map_or(PAUSE_MIN, |stuck| stuck.pause.saturating_mul(2).min(PAUSE_MAX));
        Some(Stuck { cause, next: now.saturating_add(pause).min(end), pause, end })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_grow_rare_and_the_last_one_is_made_when_time_is_over() {
        let mut now = Duration::from_secs(100);
        let (begun, patience) = (now, Duration::from_secs(60));
        let (mut stuck, mut attempts) = (None, 0);
        loop {
            stuck = Stuck::again(stuck, Error::QueueFull, now, patience);
            let Some(stuck) = &stuck else { break };
            assert!(stuck.next > now && stuck.next - now <= PAUSE_MAX);
            (now, attempts) = (stuck.next, attempts + 1);
        }
        assert_eq!(now, begun + patience);
        assert!((60..80).contains(&attempts), "{attempts}");
    }

    #[test]
    fn without_patience_the_first_failure_is_the_last() {
        assert!(Stuck::again(None, Error::QueueFull, Duration::ZERO, Duration::ZERO).is_none());
        let forever = Stuck::again(None, Error::QueueFull, Duration::ZERO, Duration::MAX).unwrap();
        assert!(Stuck::again(Some(forever), Error::QueueFull, PAUSE_MAX, Duration::ZERO).is_some());
    }
}
