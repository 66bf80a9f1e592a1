//! Names of producers (Kafka's transactional ids), and producer ids.
//!
//! A transaction of a producer without a name is recorded under a name made of its producer id. Nobody can claim such a
//! name, and nobody needs it once the transaction is complete.

use crate::{
    error::{Error, Result},
    partition::state::producers::OWN_IDS_FROM,
};
use std::time::Duration;

/// The longest name, in bytes: a longer one does not fit Kafka's strings, whose length is an i16.
const NAME_MAX: usize = i16::MAX as usize;

/// The longest time that a transaction may stay open (Kafka's `transaction.max.timeout.ms`).
const TIMEOUT_MAX: Duration = Duration::from_secs(15 * 60);

const ANONYMOUS: &str = "streamlog.anonymous.";

/// Refuses a name that no producer can have.
pub(super) fn check_name(name: &str) -> Result<()> {
    let reason = match name.len() {
        0 => "a producer's name has at least one byte".to_string(),
        len if len > NAME_MAX => format!("a producer's name has at most {NAME_MAX} bytes, not {len}"),
        _ if is_anonymous(name) => {
            format!("names that begin with {ANONYMOUS:?} belong to producers without a name")
        }
        _ => return Ok(()),
    };
    Err(Error::InvalidArgument { reason })
}

/// The time in Kafka's milliseconds, if a transaction may stay open for it.
pub(super) fn check_timeout(timeout: Duration) -> Result<i32> {
    let millis = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    if millis == 0 || timeout > TIMEOUT_MAX {
        let reason = format!("{timeout:?} is not between 1 millisecond and 15 minutes");
        return Err(Error::InvalidConfig { key: "transaction_timeout".into(), reason });
    }
    Ok(millis)
}

/// The name under which the transactions of an unnamed producer are recorded.
pub(super) fn anonymous_name(producer_id: i64) -> String {
    format!("{ANONYMOUS}{producer_id}")
}

/// Whether it is such a name.
pub(super) fn is_anonymous(name: &str) -> bool {
    name.starts_with(ANONYMOUS)
}

/// A producer id out of a random number: 62 bits of it, so that none is drawn twice, and above those of brokers.
pub(super) fn producer_id(random: u64) -> i64 {
    (random >> 1) as i64 | OWN_IDS_FROM
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn a_name_fits_kafkas_strings_and_is_nobodys() {
        for good in ["a", "sensor-7", "é", &"n".repeat(NAME_MAX)] {
            assert!(check_name(good).is_ok());
        }
        for bad in ["", &"n".repeat(NAME_MAX + 1), &anonymous_name(7)] {
            assert_eq!(check_name(bad).unwrap_err().kind(), ErrorKind::InvalidArgument);
        }
    }

    /// T59.
    #[test]
    fn a_time_is_between_a_millisecond_and_a_quarter_of_an_hour() {
        let millis = |time| check_timeout(time).unwrap();
        assert_eq!((millis(Duration::from_millis(1)), millis(TIMEOUT_MAX)), (1, 900_000));
        for bad in
            [Duration::ZERO, Duration::from_nanos(1), TIMEOUT_MAX + Duration::from_nanos(1), Duration::MAX]
        {
            assert_eq!(check_timeout(bad).unwrap_err().kind(), ErrorKind::InvalidConfig);
        }
    }

    #[test]
    fn producer_ids_are_positive_and_above_those_of_brokers() {
        for random in [0, 1, u64::MAX, 1 << 41, 0x1234_5678_9abc_def0] {
            assert!(producer_id(random) >= 1 << 40);
        }
        assert_ne!(producer_id(2), producer_id(4));
    }
}
