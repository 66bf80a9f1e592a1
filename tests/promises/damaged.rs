//! What damage takes, and what it leaves: records keep their offsets, an error names the file it is about, and what was
//! never durable is not missed.

use crate::{promises, world::*};
use streamlog::{
    Durability, Error, Partition, RecordData, TopicConfig,
    admin::RecoveryVerdict,
    sim::{Crash, SimEnv},
};

promises! {
    after_damage_no_record_comes_at_anothers_offset: "src/manual/on_disk.rs",
        "A batch there is believed only if something else confirms its base offset"
        => [believe_any_base_offset_after_damage];
    a_batch_that_claims_the_offsets_of_others_is_damage_itself: "src/manual/on_disk.rs",
        "A batch that claims offsets of the batches after it, and has no records there, is damage itself"
        => [believe_a_batch_that_reaches_too_far];
    what_was_never_durable_is_not_missing: "src/manual/durability.rs",
        "A segment whose file a power cut took before anything in it was durable is not missing"
        => [never_durable_is_missing];
}

const LOG: &str = "/log/t-0/00000000000000000000.log";

/// What a killed process leaves of a log of six batches of one record, and where they begin and end.
fn of_six() -> (SimEnv, Vec<usize>) {
    let world = World::new(1);
    let ends = (0..6).map(|i| {
        world.append(&[&text(i)]);
        world.partition().size() as usize
    });
    let places = std::iter::once(0).chain(ends).collect();
    (world.env.crash(Crash::Kill, 1), places)
}

fn text(offset: u64) -> String {
    format!("record {offset}")
}

fn change(env: &SimEnv, path: &str, by: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = env.files()[path].clone();
    by(&mut bytes);
    env.overwrite(path, &bytes).unwrap();
}

/// The offsets that can be read, each of the record that was appended there, and where the errors are: `LOG`'s all.
fn what_is_read(partition: &Partition) -> (Vec<u64>, Vec<u64>) {
    let (mut offsets, mut damaged, mut next) = (Vec::new(), Vec::new(), Some(0.into()));
    while let Some(from) = next.take() {
        for batch in partition.read(from) {
            match batch {
                Ok(batch) => offsets.extend(batch.iter().map(|record| {
                    let offset = record.offset.value();
                    assert_eq!(record.value_text(), text(offset), "another's record at offset {offset}");
                    offset
                })),
                Err(Error::Corrupt { path, position, next_offset, .. }) => {
                    assert_eq!(path.to_str(), Some(LOG));
                    damaged.push(position);
                    next = next_offset;
                    break;
                }
                Err(other) => panic!("{other}"),
            }
        }
    }
    (offsets, damaged)
}

fn after_damage_no_record_comes_at_anothers_offset() {
    let (env, places) = of_six();
    change(&env, LOG, |bytes| {
        bytes[places[1] + 70] ^= 1;
        // No checksum covers it; 2 becomes 3.
        bytes[places[2] + 7] ^= 1;
    });
    let partition = open(&env).topic("t").unwrap().partition(0).unwrap();
    let (offsets, damaged) = what_is_read(&partition);
    assert_eq!(offsets, [0, 3, 4, 5]);
    assert_eq!(damaged, [places[1] as u64]);
}

fn a_batch_that_claims_the_offsets_of_others_is_damage_itself() {
    let (env, places) = of_six();
    change(&env, LOG, |bytes| {
        let batch = &mut bytes[places[2]..places[3]];
        batch[26] = 1;
        let crc = crc_fast::crc32_iscsi(&batch[21..]);
        batch[17..21].copy_from_slice(&crc.to_be_bytes());
    });
    let partition = open(&env).topic("t").unwrap().partition(0).unwrap();
    let (offsets, damaged) = what_is_read(&partition);
    assert_eq!(offsets, [0, 1, 3, 4, 5]);
    assert_eq!(damaged, [places[2] as u64]);
}

fn what_was_never_durable_is_not_missing() {
    let config = TopicConfig::default().durability(Durability::Written).segment_bytes(600);
    let world = World::with(config);
    world.append(&[&"x".repeat(400)]);
    world.partition().flush().unwrap();
    (0..3).for_each(|_| world.append(&[&"x".repeat(400)]));
    assert_eq!(world.partition().segment_count(), 4);
    let left = world.env.crash(Crash::ContentsOnly, 1);
    let log = open(&left);
    let partition = log.topic("t").unwrap().partition(0).unwrap();
    let verdict = &log.recovery_report().partitions[0].verdict;
    assert!(!matches!(verdict, RecoveryVerdict::Damage { .. }), "{verdict:?}");
    assert!(log.health().is_good(), "{}", log.health());
    assert_eq!(partition.log_end_offset(), 1);
    assert!(partition.append(&[RecordData::new("next")]).is_ok());
}
