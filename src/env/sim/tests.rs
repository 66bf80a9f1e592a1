//! What a simulated disk loses, keeps and invents.

use super::*;
use crate::env::{Env, File, Next, Open, Task, sync::Signal, write_all_at};
use std::path::PathBuf;

fn read(env: &SimEnv, path: &str) -> Option<Vec<u8>> {
    env.files().remove(path)
}

fn create(env: &SimEnv, path: &str, content: &[u8]) -> Arc<dyn File> {
    let file = env.open(Path::new(path), Open::CreateNew).unwrap();
    write_all_at(&*file, content, 0).unwrap();
    file
}

/// A file `/f` of 1024 bytes that is durable, with its second half overwritten and 512 bytes more that are not.
fn half_flushed() -> SimEnv {
    let env = SimEnv::new(1);
    let file = create(&env, "/f", &[1; 1024]);
    file.sync_data().unwrap();
    env.sync_dir(Path::new("/")).unwrap();
    write_all_at(&*file, &[2; 1024], 512).unwrap();
    env
}

#[test]
fn what_was_flushed_survives_every_crash() {
    let env = half_flushed();
    for crash in Crash::ALL {
        for seed in 0..20 {
            let after = read(&env.crash(crash, seed), "/f").unwrap();
            assert!(after.len() == 1024 || after.len() == 1536, "{crash:?}");
            assert!(after[..512].iter().all(|b| *b == 1), "{crash:?}");
            assert!(after[512..1024].chunks(512).all(|s| s.iter().all(|b| *b == s[0])), "{crash:?}");
        }
    }
}

#[test]
fn of_one_write_any_sector_may_survive() {
    let env = half_flushed();
    let outcomes: BTreeSet<Vec<u8>> =
        (0..50).map(|seed| read(&env.crash(Crash::Sectors, seed), "/f").unwrap()).collect();
    assert_eq!(outcomes.len(), 4, "two sectors, each there or not");
    let holes = [[1; 512], [1; 512], [2; 512]].concat();
    assert!(outcomes.contains(&holes));
}

#[test]
fn sizes_and_data_go_separately() {
    let env = half_flushed();
    let zeros = read(&env.crash(Crash::SizesZero, 0), "/f").unwrap();
    assert!(zeros.len() == 1536 && zeros[..1024] == [1; 1024] && zeros[1024..] == [0; 512]);
    let garbage = read(&env.crash(Crash::SizesGarbage, 0), "/f").unwrap();
    assert!(garbage.len() == 1536 && garbage[1024..] != [0; 512] && garbage[1024..] != [2; 512]);
    let data = read(&env.crash(Crash::DataWithoutSizes, 0), "/f").unwrap();
    assert!(data.len() == 1024 && data[512..] == [2; 512]);
}

#[test]
fn names_that_were_not_flushed_may_be_lost_or_come_back() {
    let env = half_flushed();
    let file = create(&env, "/g", b"new");
    file.sync_data().unwrap();
    env.rename(Path::new("/g"), Path::new("/f")).unwrap();
    create(&env, "/h", b"x");
    let old = env.crash(Crash::ContentsOnly, 0).files();
    assert_eq!(old.keys().map(String::as_str).collect::<Vec<_>>(), ["/f"]);
    assert_eq!(old["/f"][..512], [1; 512]);
    assert_eq!(read(&env.crash(Crash::NamesOnly, 0), "/f").unwrap(), b"new");
    assert_eq!(read(&env.crash(Crash::NamesOnly, 0), "/h").unwrap(), b"");
    let names: BTreeSet<Vec<String>> =
        (0..60).map(|seed| env.crash(Crash::NamesSubset, seed).files().into_keys().collect()).collect();
    let name = |names: &[&str]| names.iter().map(|n| n.to_string()).collect::<Vec<_>>();
    assert!(names.contains(&name(&["/f", "/g"])) && names.contains(&name(&["/f", "/h"])), "{names:?}");
    env.sync_dir(Path::new("/")).unwrap();
    assert_eq!(read(&env.crash(Crash::Nothing, 0), "/f").unwrap(), b"new");
}

#[test]
fn changes_of_names_reach_the_medium_in_any_order() {
    let env = SimEnv::new(1);
    for (path, content) in [("/a", b"a"), ("/b", b"b")] {
        create(&env, path, content).sync_data().unwrap();
    }
    env.sync_dir(Path::new("/")).unwrap();
    for path in ["/a", "/b"] {
        env.rename(Path::new(path), Path::new("/t")).unwrap();
    }
    let found = |last: &[u8]| {
        let only = BTreeMap::from([("/t".to_string(), last.to_vec())]);
        (0..60).any(|seed| env.crash(Crash::NamesSubset, seed).files() == only)
    };
    assert!(found(b"a") && found(b"b"));
}

#[test]
fn a_flush_that_loses_its_pages_says_yes_later_and_the_cache_lies() {
    let env = half_flushed();
    let file = env.open(Path::new("/f"), Open::Write).unwrap();
    env.inject(Fault::new(FaultKind::LosePages).on(Operation::Sync));
    assert!(file.sync_data().is_err());
    file.sync_data().unwrap();
    let mut cache = [0; 1024];
    file.read_at(&mut cache, 512).unwrap();
    assert_eq!(cache, [2; 1024]);
    let mut medium = [0; 1024];
    assert_eq!(file.read_past_cache(&mut medium, 512).unwrap(), 512);
    assert_eq!(medium[..512], [1; 512]);
    assert_eq!(read(&env.crash(Crash::Everything, 0), "/f").unwrap(), [1; 1024]);
    assert_eq!(read(&env.crash(Crash::Kill, 0), "/f").unwrap().len(), 1536);
    write_all_at(&*file, &[3; 10], 0).unwrap();
    file.sync_data().unwrap();
    let after = read(&env.crash(Crash::Nothing, 0), "/f").unwrap();
    assert_eq!((after[0], after[10], after.len()), (3, 1, 1024));
}

#[test]
fn an_error_may_come_one_flush_late() {
    let env = half_flushed();
    let file = env.open(Path::new("/f"), Open::Write).unwrap();
    env.inject(Fault::new(FaultKind::Late).on(Operation::Sync));
    file.sync_data().unwrap();
    assert!(file.sync_data().is_err());
    file.sync_data().unwrap();
    assert_eq!(read(&env.crash(Crash::Nothing, 0), "/f").unwrap(), [1; 1024]);
}

#[test]
fn faults_strike_the_operation_they_were_told() {
    let env = SimEnv::new(1);
    env.inject(Fault::new(FaultKind::DiskFull).on(Operation::Write).path("b").skip(1));
    let (a, b) = (create(&env, "/a", b"x"), create(&env, "/b", b"x"));
    a.write_at(b"y", 0).unwrap();
    assert_eq!(b.write_at(b"y", 0).unwrap_err().kind(), io::ErrorKind::StorageFull);
    b.write_at(b"y", 0).unwrap();
    env.inject(Fault::new(FaultKind::Short));
    assert_eq!(a.write_at(b"12345", 0).unwrap(), 3);
    env.inject(Fault::new(FaultKind::ShortThenFull).on(Operation::Write));
    let full = write_all_at(&*a, &[7; 1500], 0).unwrap_err();
    assert_eq!((full.kind(), read(&env, "/a").unwrap()), (io::ErrorKind::StorageFull, vec![7; 512]));
    env.inject(Fault::new(FaultKind::Io).forever());
    assert!(a.len().is_err() && env.list(Path::new("/")).is_err());
    env.clear_faults();
    assert_eq!(env.struck(), 6);
}

#[test]
fn space_that_was_set_aside_is_there_when_the_disk_is_full() {
    let env = SimEnv::new(1);
    let file = create(&env, "/f", b"x");
    env.set_capacity(Some(1000));
    file.allocate(900).unwrap();
    let other = create(&env, "/g", b"");
    assert_eq!(other.write_at(&[1; 200], 0).unwrap(), 100);
    assert_eq!(other.write_at(&[1; 1], 100).unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!(other.allocate(101).unwrap_err().kind(), io::ErrorKind::StorageFull);
    write_all_at(&*file, &[1; 900], 0).unwrap();
    assert!(env.open(Path::new("/h"), Open::Create).is_err());
    env.remove_file(Path::new("/f")).unwrap();
    other.allocate(1000).unwrap();
}

#[test]
fn a_mapping_tells_on_who_reads_what_nobody_wrote() {
    let env = SimEnv::new(1);
    let file = create(&env, "/f", b"0123");
    file.allocate(100).unwrap();
    let region = file.region(1 << 20).unwrap();
    assert_eq!(region.get(1..4).unwrap(), &b"123"[..]);
    assert!(env.violations().is_empty());
    region.get(0..5).unwrap();
    assert!(region.get(99..101).is_err());
    assert_eq!(env.violations().len(), 2);
}

#[test]
fn a_recording_gives_the_disk_after_every_operation() {
    let env = SimEnv::new(1);
    create(&env, "/f", b"before");
    env.record();
    let file = env.open(Path::new("/f"), Open::Write).unwrap();
    let mut expected = Vec::new();
    for i in 0..20u64 {
        file.write_at(&[i as u8; 3], i).unwrap();
        expected.push((env.operations(), read(&env, "/f").unwrap()));
        if i == 10 {
            file.sync_data().unwrap();
            expected.push((env.operations(), read(&env, "/f").unwrap()));
        }
    }
    let recording = env.recording();
    let mut cursor = recording.cursor();
    for (number, content) in expected {
        assert_eq!(cursor.advance(), Some(number));
        assert_eq!(read(&cursor.crash(Crash::Everything, 0), "/f"), Some(content));
    }
    assert_eq!(cursor.advance(), None);
    assert_eq!(recording.operations().count(), 22);
}

struct Ticker(Arc<Signal>, SimEnv, Arc<Mutex<Vec<Duration>>>);

impl Task for Ticker {
    fn run(&mut self) -> Next {
        let now = self.1.monotonic();
        self.2.lock().push(now);
        self.0.notify();
        if self.2.lock().len() == 3 { Next::Done } else { Next::Wait(Some(now + Duration::from_secs(60))) }
    }
}

#[test]
fn time_jumps_to_the_next_thing_that_happens() {
    let env = SimEnv::new(1);
    let (tick, times) = (Arc::new(Signal::new()), Arc::new(Mutex::new(Vec::new())));
    let task = Ticker(tick.clone(), env.clone(), times.clone());
    let running = env.spawn("ticker", Arc::new(Signal::new()), Box::new(task)).unwrap();
    env.wait(&tick, 0, None);
    env.wait(&tick, 1, None);
    running.join();
    let times = times.lock().clone();
    assert_eq!(times.len(), 3);
    assert!(times.windows(2).all(|w| w[1] - w[0] >= Duration::from_secs(60)));
    let before = env.now();
    env.advance(Duration::from_secs(5));
    assert_eq!(env.now().as_millis() - before.as_millis(), 5000);
    env.set_wall_clock(Timestamp::from_millis(9));
    assert_eq!(env.now().as_millis(), 9);
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_wait_that_nothing_can_end_is_a_deadlock() {
    let env = SimEnv::new(1);
    env.wait(&Signal::new(), 0, None);
}

#[test]
fn one_seed_gives_one_machine() {
    let run = || {
        let env = half_flushed();
        let numbers: Vec<u64> = (0..5).map(|_| env.random()).collect();
        let crashed = env.crash(Crash::Sectors, 3);
        (numbers, crashed.files(), crashed.rot(5, 2), env.operations())
    };
    assert_eq!(run(), run());
    let path = PathBuf::from("/f");
    assert!(half_flushed().metadata(&path).is_ok());
}
