//! A topic as a program configures it: created if it does not exist, brought up to date if it does.

use super::{
    Topic,
    catalog::Catalog,
    config::{ConfigChange, TopicConfig},
};
use crate::{
    env::trace::event,
    error::{Error, Result},
};

impl Catalog {
    /// The topic of this name, with the settings that `config` sets; created if it does not exist.
    pub fn topic_or_create(&self, name: &str, config: &TopicConfig) -> Result<Topic> {
        config.validate()?;
        loop {
            self.data_dir().check_open()?;
            let result = match self.find(name) {
                Some(_) => self.bring_up_to_date(name, config),
                None => self.create(name, config.clone()),
            };
            match result {
                // Another caller came between.
                Err(Error::TopicExists { .. } | Error::UnknownTopic { .. }) => {}
                done => return done,
            }
        }
    }

    fn bring_up_to_date(&self, name: &str, config: &TopicConfig) -> Result<Topic> {
        let _one_at_a_time = self.one_admin();
        let topic = self.topic(name)?;
        let (found, requested) = (topic.partition_count(), config.partition_count());
        if config.sets_partitions() && found != requested {
            return Err(Error::PartitionsDiffer { topic: name.to_string(), found, requested });
        }
        let changes = config.changes_to(&topic.config());
        if changes.is_empty() {
            return Ok(topic);
        }
        if self.data_dir().read_only {
            return Err(Error::ReadOnly { reason: differences(name, &changes) });
        }
        self.change(&topic, &changes)?;
        event!(INFO, topic = name, ?changes, "brought the settings of a topic up to date");
        Ok(topic)
    }
}

fn differences(topic: &str, changes: &[ConfigChange]) -> String {
    let shown: Vec<String> = changes
        .iter()
        .map(|change| match change {
            ConfigChange::Set(key, value) => format!("{key}={value}"),
            ConfigChange::Unset(key) => format!("{key} at its default"),
        })
        .collect();
    format!(
        "topic '{topic}' is not configured with {}: open the log for writing to bring it up to date, or use Streamlog::topic to take it as it is",
        shown.join(", ")
    )
}

#[cfg(test)]
#[cfg(feature = "sim")]
mod tests {
    use crate::{
        Durability, Error, Streamlog, TopicConfig,
        config::Builder,
        sim::{Crash, SimEnv},
    };
    use std::{thread, time::Duration};

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn config() -> TopicConfig {
        TopicConfig::default().partitions(2).retention_time(DAY).segment_bytes(4096)
    }

    fn log(env: &SimEnv) -> Streamlog {
        Builder::env(env, "/data").background_thread(false).open().unwrap()
    }

    #[test]
    fn the_settings_that_are_set_are_brought_up_to_date_for_good_and_the_others_stay() {
        let env = SimEnv::new(1);
        let log = log(&env);
        let topic = log.topic_or_create("t", config()).unwrap();
        let next = TopicConfig::default().retention_time(2 * DAY).durability(Durability::Written);
        log.topic_or_create("t", next.clone()).unwrap();
        let expected = config().retention_time(2 * DAY).durability(Durability::Written);
        assert_eq!(*topic.config(), expected);
        let operations = env.operations();
        log.topic_or_create("t", next).unwrap();
        log.topic_or_create("t", TopicConfig::default()).unwrap();
        assert_eq!(env.operations(), operations, "nothing differs, and nothing is written");
        let log = Builder::env(&env.crash(Crash::Nothing, 1), "/data").open().unwrap();
        assert_eq!(*log.topic("t").unwrap().config(), expected);
    }

    #[test]
    fn another_number_of_partitions_is_an_error_where_one_was_set() {
        let log = Streamlog::in_memory().unwrap();
        let topic = log.topic_or_create("t", config()).unwrap();
        for (requested, advice) in [(5, "add_partitions"), (1, "cannot be removed")] {
            // Also beside settings that could be brought up to date.
            let error =
                log.topic_or_create("t", config().partitions(requested).retention_time(2 * DAY)).unwrap_err();
            assert!(
                matches!(error, Error::PartitionsDiffer { found: 2, requested: r, .. } if r == requested)
            );
            assert!(
                error.to_string().contains("2 partitions, and ") && error.to_string().contains(advice),
                "{error}"
            );
        }
        assert_eq!((&*topic.config(), topic.partition_count()), (&config(), 2));
        let _ = log.add_partitions("t", 5).unwrap();
        assert_eq!(log.topic_or_create("t", config().partitions(5)).unwrap().partition_count(), 5);
        assert_eq!(log.topic_or_create("t", TopicConfig::default()).unwrap().partition_count(), 5);
    }

    #[test]
    fn invalid_settings_leave_the_topic_as_it_is() {
        let log = Streamlog::in_memory().unwrap();
        let topic = log.topic_or_create("t", config()).unwrap();
        for wrong in [config().segment_bytes(1), config().max_message_bytes(1 << 20), config().partitions(0)]
        {
            assert!(matches!(log.topic_or_create("t", wrong), Err(Error::InvalidConfig { .. })));
        }
        assert_eq!(*topic.config(), config());
    }

    #[test]
    fn a_read_only_handle_compares_and_reports() {
        let env = SimEnv::new(1);
        log(&env).topic_or_create("t", config()).unwrap();
        let reader = Builder::env(&env, "/data").read_only(true).open().unwrap();
        let writer = log(&env);
        reader.topic_or_create("t", config()).unwrap();
        reader.topic_or_create("t", TopicConfig::default()).unwrap();
        let refused = reader.topic_or_create("t", config().retention_time(2 * DAY)).unwrap_err();
        assert!(
            matches!(refused, Error::ReadOnly { .. })
                && refused.to_string().contains("retention.ms=172800000")
        );
        let refused = reader.topic_or_create("t", config().partitions(3)).unwrap_err();
        assert!(matches!(refused, Error::PartitionsDiffer { found: 2, requested: 3, .. }));
        assert!(matches!(reader.topic_or_create("new", config()), Err(Error::ReadOnly { .. })));
        writer.topic_or_create("t", config().retention_time(2 * DAY)).unwrap();
        reader.topic_or_create("t", config().retention_time(2 * DAY)).unwrap();
    }

    #[test]
    fn callers_at_the_same_time_all_get_the_topic() {
        let log = Streamlog::in_memory().unwrap();
        thread::scope(|scope| {
            for days in 1..4 {
                let log = &log;
                scope.spawn(move || {
                    for _ in 0..200 {
                        log.topic_or_create("t", config().retention_time(days * DAY)).unwrap();
                        match log.delete_topic("t") {
                            Ok(()) | Err(Error::UnknownTopic { .. }) => {}
                            Err(error) => panic!("{error}"),
                        }
                    }
                });
            }
        });
    }
}
