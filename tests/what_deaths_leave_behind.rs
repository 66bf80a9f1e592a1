//! Deaths pile nothing up: what the manifest says is removed is removed by the next opening, and of lives of which no offset
//! is left the manifest forgets. (I4, I11, I15)

use streamlog::{
    Durability, Partition, RecordData, Streamlog, TopicConfig,
    admin::Compact,
    config::{Builder, CleanupPolicy, ConfigChange},
    sim::{Crash, Fault, FaultKind, Operation, SimEnv},
};

fn open(env: &SimEnv) -> Streamlog {
    Builder::env(env, "/data").background_thread(false).open().unwrap()
}

/// The bases of the segment files, whatever was done to their names.
fn bases(env: &SimEnv) -> Vec<u64> {
    let files = env.files().into_keys().filter_map(|path| {
        let name = path.strip_prefix("/data/t-0/")?.to_string();
        name.contains(".log").then(|| name[..20].parse().unwrap())
    });
    files.collect()
}

/// A topic of six records, each in a segment of its own.
fn append_six_segments(log: &Streamlog) {
    let config = TopicConfig::default().segment_bytes(600);
    let partition = log.create_topic("t", config).unwrap().partition(0).unwrap();
    for i in 0..6 {
        partition.append(&[RecordData::new(&[i; 400])]).unwrap();
    }
}

#[test]
fn a_death_in_the_middle_of_a_removal_leaves_no_file_of_what_was_removed() {
    let env = SimEnv::new(1);
    let log = open(&env);
    append_six_segments(&log);
    env.record();
    log.delete_records("t", 0, 4).unwrap();
    let recording = env.recording();
    let mut cursor = recording.cursor();
    let (mut between, mut cases) = (0, 0);
    loop {
        for crash in [Crash::Kill, Crash::Prefix, Crash::Subset] {
            let env = cursor.crash(crash, cases);
            cases += 1;
            let found = bases(&env);
            let log = open(&env);
            let partition = log.topic("t").unwrap().partition(0).unwrap();
            let start = partition.log_start_offset().value();
            assert!([0, 4].contains(&start));
            let left = bases(&env);
            let gone = |base: &&u64| start == 4 && **base < 4 && log.stats().segments == 2;
            between += found.iter().filter(gone).count();
            assert_eq!(left.iter().filter(gone).count(), 0, "{left:?}");
            let read: Vec<u8> = partition
                .read(start)
                .flat_map(|b| b.unwrap().iter().map(|record| record.value.unwrap()[0]).collect::<Vec<_>>())
                .collect();
            assert_eq!(read, (start as u8..6).collect::<Vec<_>>());
        }
        if cursor.advance().is_none() {
            break;
        }
    }
    assert!(between > 0);
}

#[test]
fn what_lies_beside_a_log_and_was_not_removed_is_kept() {
    let env = SimEnv::new(1);
    let log = open(&env);
    append_six_segments(&log);
    let files = env.files();
    log.delete_records("t", 0, 4).unwrap();
    let env = env.crash(Crash::Kill, 1);
    // Under the name of one that was removed, one whose records were not.
    let name = |base: u64| format!("/data/t-0/{base:020}.log");
    env.overwrite(name(0), &files[&name(0)]).unwrap();
    env.overwrite(name(1), &files[&name(5)]).unwrap();
    // Put aside, one whose first sector a power cut took, with records that were not removed; and one of zeros only.
    let sectors = [vec![0; 512], files[&name(5)].clone()].concat();
    env.overwrite(name(2) + ".aside", &sectors).unwrap();
    env.overwrite(name(3) + ".aside", &[0; 5000]).unwrap();
    let log = open(&env);
    let files = env.files();
    assert!(files.get(&(name(2) + ".aside")) == Some(&sectors));
    assert!(!files.contains_key(&(name(3) + ".aside")));
    assert!(!files.contains_key(&name(0)) && !files.contains_key(&(name(0) + ".aside")));
    assert!(files.contains_key(&(name(1) + ".aside")));
    assert_eq!(log.topic("t").unwrap().partition(0).unwrap().log_start_offset(), 4);
}

#[test]
fn a_death_in_the_middle_of_a_compaction_or_a_purge_leaves_no_unfinished_file_once_the_log_is_written_again()
{
    let env = SimEnv::new(1);
    let log = open(&env);
    let config = TopicConfig::default().cleanup_policy(CleanupPolicy::Compact).segment_bytes(600);
    let partition = log.create_topic("t", config).unwrap().partition(0).unwrap();
    for i in 0..6 {
        partition
            .append(&[RecordData::new(&[i; 200]).key("k"), RecordData::new(&[i; 200]).key(&[i])])
            .unwrap();
    }
    env.record();
    log.compact_now("t", Compact::new()).unwrap();
    // What a broker was about to delete is purged with the log.
    let segment = "/data/t-0/00000000000000000000.log".to_string();
    env.overwrite(segment.clone() + ".deleted", &env.files()[&segment]).unwrap();
    log.purge_key("t", [0]).unwrap();
    let recording = env.recording();
    let mut cursor = recording.cursor();
    let is_unfinished = |path: &String| path.starts_with("/data/t-0/") && path.ends_with(".tmp");
    let is_left = |path: &String| is_unfinished(path) || path.contains(".cleaned");
    let unfinished = |env: &SimEnv| env.files().into_keys().filter(is_left).collect::<Vec<_>>();
    let mut found = Vec::new();
    while cursor.advance().is_some() {
        let env = cursor.crash(Crash::Kill, 1);
        found.extend(unfinished(&env));
        let log = open(&env);
        log.topic("t").unwrap().partition(0).unwrap().append(&[RecordData::new("v").key("k")]).unwrap();
        assert_eq!(unfinished(&env), [""; 0]);
    }
    for name in [".keys.cleaned.tmp", ".log.deleted.tmp"] {
        assert!(found.iter().any(|path| path.ends_with(name)), "{found:?}");
    }
}

#[test]
fn hundreds_of_deaths_leave_a_small_manifest() {
    let mut env = SimEnv::new(1);
    let config = TopicConfig::default().segment_bytes(600).retention_bytes(2000);
    let log = open(&env);
    log.create_topic("t", config).unwrap();
    for life in 0..300 {
        env = env.crash(Crash::Kill, life);
        let log = open(&env);
        let partition = log.topic("t").unwrap().partition(0).unwrap();
        partition.append(&[RecordData::new(&[1; 400])]).unwrap();
        assert_eq!(u64::from(partition.incarnation_of(life)), life + 1);
        // A life that appends nothing.
        let dies = env.crash(Crash::Kill, life);
        let idle = open(&dies);
        env = dies.crash(Crash::Kill, life);
        drop((log, idle));
    }
    let manifest = env.files().remove("/data/manifest").unwrap();
    let said = manifest.iter().rposition(|byte| *byte != 0).unwrap();
    // The newest lives are remembered, for transactions may ask about them.
    assert!(said < 5000, "{said} bytes");
}

/// The partition's directory holds what belongs to its segments and to the end of the log, whole, and nothing else.
fn check_tidy(env: &SimEnv, end: u64, at: &str) {
    let files = env.files();
    let names: Vec<&str> = files.keys().filter_map(|path| path.strip_prefix("/data/t-0/")).collect();
    let bases: Vec<u64> = names.iter().filter_map(|name| name.strip_suffix(".log")?.parse().ok()).collect();
    for name in names {
        let Some((digits, kind)) = name.split_once('.') else {
            assert_eq!(name, "leader-epoch-checkpoint", "{at}");
            continue;
        };
        let belongs = match (digits.parse::<u64>(), kind) {
            (Ok(base), "log" | "index" | "timeindex" | "pages") => bases.contains(&base),
            (Ok(offset), "snapshot") => offset == end || bases.contains(&offset),
            // Records, which nobody removes.
            (Ok(_), "log.aside") => true,
            _ => ["partition.metadata", "partition.identity"].contains(&name),
        };
        let is_whole =
            !files[&format!("/data/t-0/{name}")].is_empty() || kind.contains("index") || kind == "log";
        assert!(belongs && is_whole, "{at}: {name} of {bases:?} to {end}");
    }
    let above: Vec<&str> = files.keys().filter_map(|path| path.strip_prefix("/data/")).collect();
    assert!(above.iter().all(|name| !name.ends_with(".tmp")), "{at}: {above:?}");
}

/// A topic whose appends need no flush, with segments that wait for their checkpoint.
fn before_a_checkpoint(env: &SimEnv) -> (Streamlog, Partition) {
    let log = open(env);
    let config = TopicConfig::default().segment_bytes(600).durability(Durability::Written);
    let partition = log.create_topic("t", config).unwrap().partition(0).unwrap();
    for i in 0..3 {
        partition.append(&[RecordData::new(&[i; 400])]).unwrap();
        if i == 0 {
            partition.flush().unwrap();
        }
    }
    (log, partition)
}

#[test]
fn a_full_disk_leaves_no_file_that_nobody_asks_for() {
    for kind in [FaultKind::DiskFull, FaultKind::Quota, FaultKind::ShortThenFull, FaultKind::Io] {
        let mut full = 0;
        for at in 0.. {
            let env = SimEnv::new(1);
            let (log, partition) = before_a_checkpoint(&env);
            env.inject(Fault::new(kind).skip(at));
            let done = partition.flush();
            let struck = env.struck() > 0;
            env.clear_faults();
            if !struck {
                break;
            }
            // A flush that failed is final.
            let goes_on = partition.append(&[RecordData::new("more")]).is_ok() && partition.flush().is_ok();
            if goes_on && done.is_err() {
                full += 1;
                check_tidy(&env, 4, &format!("{kind:?} at {at}: {done:?}"));
                log.close().unwrap();
                check_tidy(&env, 4, &format!("{kind:?} at {at}, closed"));
            }
        }
        assert!(full > 5, "{kind:?}: {full}");
    }
}

#[test]
fn a_death_at_any_moment_of_a_checkpoint_leaves_no_file_once_the_log_is_written_again() {
    let env = SimEnv::new(1);
    let (_log, partition) = before_a_checkpoint(&env);
    env.record();
    partition.flush().unwrap();
    let recording = env.recording();
    let mut cursor = recording.cursor();
    let mut cases = 0;
    loop {
        for crash in Crash::ALL {
            cases += 1;
            let env = cursor.crash(crash, cases);
            let log = open(&env);
            let partition = log.topic("t").unwrap().partition(0).unwrap();
            partition.append(&[RecordData::new("more")]).unwrap();
            partition.flush().unwrap();
            let end = partition.log_end_offset().value();
            log.close().unwrap();
            check_tidy(&env, end, &format!("{crash:?}, case {cases}"));
        }
        if cursor.advance().is_none() {
            break;
        }
    }
    assert!(cases > 100);
}

#[test]
fn what_a_removal_could_not_remove_goes_in_a_later_life_that_was_closed_cleanly() {
    let env = SimEnv::new(1);
    let log = open(&env);
    append_six_segments(&log);
    env.inject(Fault::new(FaultKind::Io).on(Operation::Remove).path("t-0").forever());
    log.delete_records("t", 0, 4).unwrap_err();
    env.clear_faults();
    log.close().unwrap();
    assert_eq!(bases(&env), [0, 1, 2, 3, 4, 5]);
    // Names that a power cut brought back, of one that was put aside too.
    let leftover = env.files()["/data/t-0/00000000000000000000.log"].clone();
    env.overwrite("/data/t-0/00000000000000000000.log.aside", &leftover).unwrap();
    env.overwrite("/data/t-0/00000000000000000002.index", b"").unwrap();
    let log = open(&env);
    let partition = log.topic("t").unwrap().partition(0).unwrap();
    assert_eq!(partition.log_start_offset(), 4);
    partition.append(&[RecordData::new("x")]).unwrap();
    log.close().unwrap();
    check_tidy(&env, 7, "later");
}

#[test]
fn a_removal_before_the_first_append_finds_the_directory_tidy() {
    let env = SimEnv::new(1);
    let log = open(&env);
    append_six_segments(&log);
    let env = env.crash(Crash::Kill, 1);
    let leftover = "/data/t-0/00000000000000000003.snapshot.tmp";
    env.overwrite(leftover, b"unfinished").unwrap();
    let log = open(&env);
    log.alter_topic("t", &[ConfigChange::set("retention.bytes", "1000")]).unwrap();
    assert!(env.files().contains_key(leftover));
    // A first append beside it would otherwise take away what the removal is about to rename.
    log.maintain().unwrap();
    assert!(bases(&env).len() < 6 && !env.files().contains_key(leftover));
    log.topic("t").unwrap().partition(0).unwrap().append(&[RecordData::new("x")]).unwrap();
    log.close().unwrap();
    check_tidy(&env, 7, "closed");
}
