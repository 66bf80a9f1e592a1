//! What a recovery has put aside does not come back under a name that is used again. (I3)

use streamlog::{
    Durability, RecordData, Result, Streamlog, TopicConfig,
    config::Builder,
    sim::{Crash, SimEnv},
};

fn open(env: &SimEnv) -> Result<Streamlog> {
    Builder::env(env, "/data").background_thread(false).open()
}

#[test]
fn a_segment_that_was_put_aside_does_not_come_back_as_the_one_that_took_its_name() {
    let env = SimEnv::new(3);
    let log = open(&env).unwrap();
    let config = TopicConfig::default().durability(Durability::Written).segment_bytes(1000);
    let partition = log.create_topic("t", config).unwrap().partition(0).unwrap();
    let (dropped, other) = ("a".repeat(150), "b".repeat(150));
    for _ in 0..8 {
        partition.append(&[RecordData::new(&dropped)]).unwrap();
    }
    let mut tried = 0;
    for seed in 0..40 {
        let second = env.crash(Crash::Sectors, seed);
        let log = open(&second).unwrap();
        if log.recovery_report().partitions[0].quarantined.is_empty() {
            continue;
        }
        tried += 1;
        let partition = log.topic("t").unwrap().partition(0).unwrap();
        let end = partition.log_end_offset().value();
        for _ in end..8 {
            partition.append(&[RecordData::new(&other)]).unwrap();
        }
        for crash in Crash::ALL {
            let log = open(&second.crash(crash, seed)).unwrap();
            for batch in log.topic("t").unwrap().partition(0).unwrap().read(end) {
                for record in &batch.unwrap() {
                    assert_eq!(record.value, Some(other.as_bytes()), "{crash:?} {seed}: {}", record.offset);
                }
            }
        }
    }
    assert!(tried > 5, "{tried}");
}
