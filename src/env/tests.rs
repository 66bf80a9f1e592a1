//! What every environment must do, run against each of them.

use super::sync::{AtomicUsize, Mutex, Ordering, Signal};
use super::*;
use proptest::prelude::*;
use std::io::ErrorKind;
use std::path::PathBuf;

/// As `on_machines`, and on a simulated machine.
fn everywhere(check: impl Fn(&dyn Env, &Path)) {
    #[cfg(feature = "sim")]
    {
        let sim = sim::SimEnv::new(1);
        sim.create_dir(Path::new("/tmp")).unwrap();
        check(&sim, Path::new("/tmp"));
    }
    on_machines(check);
}

/// Runs `check` in the environment in memory, and (but for Miri, which has no mappings) in a directory of the disk.
fn on_machines(check: impl Fn(&dyn Env, &Path)) {
    let memory = memory::MemoryEnv::new();
    memory.create_dir(Path::new("/tmp")).unwrap();
    check(&*memory, Path::new("/tmp"));
    if !cfg!(miri) {
        let dir = tempfile::tempdir().unwrap();
        check(&*real::RealEnv::new(), dir.path());
        let dir = tempfile::tempdir().unwrap();
        check(&*real::RealEnv::new().hold(dir.path()).unwrap().unwrap(), dir.path());
    }
}

fn kind<T>(result: io::Result<T>) -> ErrorKind {
    match result {
        Ok(_) => panic!("this should have failed"),
        Err(e) => e.kind(),
    }
}

fn create(env: &dyn Env, path: &Path, content: &[u8]) -> Arc<dyn File> {
    let file = env.open(path, Open::CreateNew).unwrap();
    write_all_at(&*file, content, 0).unwrap();
    file
}

fn content(file: &dyn File) -> Vec<u8> {
    let mut buf = vec![0xaa; file.len().unwrap() as usize + 10];
    let n = read_full_at(file, &mut buf, 0).unwrap();
    buf.truncate(n);
    buf
}

fn list(env: &dyn Env, dir: &Path) -> Vec<String> {
    env.list(dir).unwrap().into_iter().map(|e| if e.is_dir() { e.name + "/" } else { e.name }).collect()
}

#[test]
fn a_medium_says_how_much_of_it_is_free() {
    everywhere(|env, dir| {
        // A machine under test may be full, and others fill it: what is certain is that it answers, and where not.
        assert!(env.space(dir).unwrap().is_some());
    });
    #[cfg(feature = "sim")]
    {
        let sim = sim::SimEnv::new(1);
        sim.set_capacity(Some(1000));
        let file = create(&sim, Path::new("/file"), &[7; 300]);
        let free = |sim: &sim::SimEnv| sim.space(Path::new("/")).unwrap();
        assert_eq!(free(&sim), Some(700));
        file.allocate(1000).unwrap();
        assert_eq!(free(&sim), Some(0));
    }
    if !cfg!(miri) {
        assert!(real::RealEnv::new().space(Path::new("/there is no such directory")).is_err());
    }
}

#[test]
fn a_file_is_opened_in_four_ways() {
    everywhere(|env, dir| {
        let path = dir.join("file");
        assert_eq!(kind(env.open(&path, Open::Read)), ErrorKind::NotFound);
        assert_eq!(kind(env.open(&path, Open::Write)), ErrorKind::NotFound);
        assert_eq!(kind(env.open(&dir.join("no/file"), Open::CreateNew)), ErrorKind::NotFound);
        create(env, &path, b"content");
        assert_eq!(kind(env.open(&path, Open::CreateNew)), ErrorKind::AlreadyExists);
        assert_eq!(kind(env.open(&path.join("below"), Open::Create)), ErrorKind::NotADirectory);
        for how in [Open::Read, Open::Write, Open::Create] {
            let file = env.open(&path, how).unwrap();
            assert_eq!(content(&*file), b"content", "{how:?}");
            assert_eq!(file.write_at(b"C", 0).is_ok(), how != Open::Read, "{how:?}");
            assert_eq!(file.set_len(7).is_ok(), how != Open::Read, "{how:?}");
            write_all_at(&*env.open(&path, Open::Write).unwrap(), b"c", 0).unwrap();
        }
        for how in [Open::Read, Open::Write, Open::Create] {
            assert_eq!(kind(env.open(dir, how)), ErrorKind::IsADirectory, "{how:?}");
        }
        assert_eq!(kind(env.open(dir, Open::CreateNew)), ErrorKind::AlreadyExists);
    });
}

#[test]
fn reads_end_with_the_file_and_writes_grow_it() {
    everywhere(|env, dir| {
        let file = create(env, &dir.join("file"), b"0123456789");
        let reader = env.open(&dir.join("file"), Open::Read).unwrap();
        let mut buf = [0; 4];
        assert_eq!(reader.read_at(&mut buf, 8).unwrap(), 2);
        assert_eq!(reader.read_at(&mut buf, 10).unwrap(), 0);
        assert_eq!(reader.read_at(&mut buf, 1000).unwrap(), 0);
        assert_eq!(kind(read_exact_at(&*reader, &mut buf, 7)), ErrorKind::UnexpectedEof);
        write_all_at(&*file, b"x", 12).unwrap();
        assert_eq!(content(&*reader), b"0123456789\0\0x");
        write_all_at(&*file, b"", 100).unwrap();
        file.set_len(3).unwrap();
        file.set_len(5).unwrap();
        assert_eq!(content(&*reader), b"012\0\0");
        assert!(file.write_at(b"x", u64::MAX).is_err());
        assert!(file.set_len(u64::MAX).is_err());
        file.sync_data().unwrap();
        reader.sync_data().unwrap();
    });
}

#[test]
fn allocate_grows_with_zeros_and_never_shrinks() {
    everywhere(|env, dir| {
        let file = create(env, &dir.join("file"), b"data");
        file.allocate(100_000).unwrap();
        assert_eq!(file.len().unwrap(), 100_000);
        let read = content(&*file);
        assert_eq!(&read[..4], b"data");
        assert!(read[4..].iter().all(|b| *b == 0));
        file.allocate(10).unwrap();
        file.allocate(0).unwrap();
        assert_eq!(file.len().unwrap(), 100_000);
        assert!(file.allocate(u64::MAX).is_err());
        assert_eq!(file.len().unwrap(), 100_000);
        assert!(env.open(&dir.join("file"), Open::Read).unwrap().allocate(200_000).is_err());
    });
}

#[test]
fn what_is_told_to_be_zeros_is() {
    everywhere(|env, dir| {
        let file = create(env, &dir.join("file"), b"at the start");
        file.allocate(300_000).unwrap();
        file.write_at(b"further on", 150_000).unwrap();
        file.set_len(400_000).unwrap();
        file.sync_data().unwrap();
        let all = content(&*file);
        for position in [0, 5, 4096, 149_999, 150_000, 150_009, 160_000, 399_999, 400_000, u64::MAX] {
            let Some(zeros_from) = file.zeros_from(position) else { continue };
            assert!(zeros_from >= position, "{position}: {zeros_from}");
            let zeros = all.get(zeros_from as usize..).unwrap_or_default();
            assert!(zeros.iter().all(|b| *b == 0), "{position}: {zeros_from}");
        }
        for position in [0, 5, 4096, 149_999, 150_000, 150_009, 160_000, 250_000, 399_999, 400_000, u64::MAX]
        {
            let data = file.data_from(position);
            assert!(data >= position, "{position}: {data}");
            let end = data.min(400_000) as usize;
            let zeros = all.get(position.min(400_000) as usize..end).unwrap_or_default();
            assert!(zeros.iter().all(|b| *b == 0), "{position}: {data}");
            let behind = file.data_behind(position).unwrap();
            assert!(behind <= 400_000u64.saturating_sub(position), "{position}: {behind}");
            assert!(position > 150_000 || behind >= 10, "{position}: {behind}");
        }
    });
}

#[test]
fn reading_past_the_cache_reads_the_same_or_is_refused() {
    everywhere(|env, dir| {
        let bytes: Vec<u8> = (0..20_000u32).map(|i| (i % 251) as u8).collect();
        let file = create(env, &dir.join("file"), &bytes);
        env.remove_file(&dir.join("file")).unwrap();
        for (position, len) in [
            (0, 10),
            (4095, 2),
            (5000, 9000),
            (4096, 15_000),
            (19_990, 10),
            (19_990, 50),
            (20_000, 5),
            (90_000, 5),
        ] {
            let mut expected = vec![0; len];
            let n = file.read_at(&mut expected, position).unwrap();
            // Wherever the memory lies.
            let mut space = vec![0; len + 8192];
            let aligned = space.as_ptr().align_offset(4096);
            for shift in [0, aligned, aligned + position as usize % 4096, aligned + 100] {
                let found = &mut space[shift..shift + len];
                found.fill(0);
                match read_full_past_cache_at(&*file, found, position) {
                    Ok(read) => assert_eq!((read, &*found), (n, &*expected), "{position} at {shift}"),
                    Err(e) => assert_eq!(e.kind(), ErrorKind::Unsupported),
                }
            }
        }
        let _ = file.read_past_cache(&mut [0; 5], u64::MAX - 2);
    });
}

#[test]
fn a_region_sees_later_writes_and_outlives_the_file() {
    everywhere(|env, dir| {
        let path = dir.join("file");
        let file = create(env, &path, b"0123456789");
        let region = env.open(&path, Open::Read).unwrap().region(1 << 20).unwrap();
        assert_eq!(region.capacity(), 1 << 20);
        let early = region.get(2..5).unwrap();
        assert_eq!(kind(region.get(5..20)), ErrorKind::UnexpectedEof);
        assert_eq!(kind(region.get(0..(1 << 20) + 1)), ErrorKind::InvalidInput);
        #[expect(clippy::reversed_empty_ranges, reason = "what is asked for is wrong on purpose")]
        let backwards = 5..4;
        assert_eq!(kind(region.get(backwards)), ErrorKind::InvalidInput);
        write_all_at(&*file, b"abcdef", 10).unwrap();
        file.allocate(100_000).unwrap();
        env.remove_file(&path).unwrap();
        drop(file);
        assert_eq!(&region.get(5..16).unwrap()[..], b"56789abcdef");
        assert_eq!(&region.get(15..18).unwrap()[..], b"f\0\0");
        assert!(region.get(7..7).unwrap().is_empty());
        assert!(region.get(99_990..100_000).unwrap().iter().all(|b| *b == 0));
        drop(region);
        assert_eq!(&early[..], b"234");
    });
}

#[test]
fn directories_list_their_entries_by_name() {
    everywhere(|env, dir| {
        let sub = dir.join("sub");
        env.create_dir(&sub).unwrap();
        assert_eq!(kind(env.create_dir(&sub)), ErrorKind::AlreadyExists);
        assert_eq!(kind(env.create_dir(&dir.join("no/sub"))), ErrorKind::NotFound);
        for name in ["b", "a", "c-1", "B"] {
            create(env, &dir.join(name), name.as_bytes());
        }
        assert_eq!(kind(env.create_dir(&dir.join("a"))), ErrorKind::AlreadyExists);
        assert_eq!(list(env, dir), ["B", "a", "b", "c-1", "sub/"]);
        assert!(list(env, &sub).is_empty());
        assert_eq!(kind(env.list(&dir.join("no"))), ErrorKind::NotFound);
        assert_eq!(kind(env.list(&dir.join("a"))), ErrorKind::NotADirectory);
        env.sync_dir(dir).unwrap();
        assert_eq!(kind(env.sync_dir(&dir.join("no"))), ErrorKind::NotFound);
        assert_eq!(kind(env.sync_dir(&dir.join("a"))), ErrorKind::NotADirectory);
    });
}

#[test]
fn metadata_tells_files_from_directories() {
    everywhere(|env, dir| {
        let before = env.now();
        create(env, &dir.join("file"), b"12345");
        let file = env.metadata(&dir.join("file")).unwrap();
        assert_eq!((file.len, file.is_dir), (5, false));
        // File systems keep time by ticks.
        assert!((file.modified.as_millis() - before.as_millis()).abs() < 5_000);
        assert!(env.metadata(dir).unwrap().is_dir);
        assert_eq!(kind(env.metadata(&dir.join("no"))), ErrorKind::NotFound);
        assert_eq!(kind(env.metadata(&dir.join("file/below"))), ErrorKind::NotADirectory);
    });
}

#[test]
fn a_removed_file_stays_readable_by_who_has_it_open() {
    everywhere(|env, dir| {
        let path = dir.join("file");
        let file = create(env, &path, b"old");
        env.remove_file(&path).unwrap();
        assert_eq!(kind(env.remove_file(&path)), ErrorKind::NotFound);
        create(env, &path, b"new");
        write_all_at(&*file, b"er", 3).unwrap();
        assert_eq!(content(&*file), b"older");
        assert_eq!(content(&*env.open(&path, Open::Read).unwrap()), b"new");
    });
}

#[test]
fn a_directory_is_removed_when_it_is_empty() {
    everywhere(|env, dir| {
        let sub = dir.join("sub");
        env.create_dir(&sub).unwrap();
        create(env, &sub.join("file"), b"");
        assert_eq!(kind(env.remove_dir(&sub)), ErrorKind::DirectoryNotEmpty);
        assert_eq!(kind(env.remove_dir(&sub.join("file"))), ErrorKind::NotADirectory);
        assert!(env.remove_file(&sub).is_err());
        env.remove_file(&sub.join("file")).unwrap();
        env.remove_dir(&sub).unwrap();
        assert_eq!(kind(env.remove_dir(&sub)), ErrorKind::NotFound);
    });
}

#[test]
fn a_rename_replaces_a_file_and_moves_a_directory() {
    everywhere(|env, dir| {
        let at = |name: &str| -> PathBuf { dir.join(name) };
        let replaced = create(env, &at("to"), b"old");
        create(env, &at("from"), b"new");
        env.rename(&at("from"), &at("to")).unwrap();
        assert_eq!(content(&*env.open(&at("to"), Open::Read).unwrap()), b"new");
        assert_eq!(content(&*replaced), b"old");
        assert_eq!(kind(env.rename(&at("from"), &at("to"))), ErrorKind::NotFound);
        assert_eq!(kind(env.rename(&at("to"), &at("no/to"))), ErrorKind::NotFound);
        env.rename(&at("to"), &at("to")).unwrap();

        env.create_dir(&at("sub")).unwrap();
        create(env, &at("sub/file"), b"below");
        env.rename(&at("sub"), &at("moved")).unwrap();
        assert_eq!(content(&*env.open(&at("moved/file"), Open::Read).unwrap()), b"below");
        env.rename(&at("moved/file"), &at("up")).unwrap();
        assert_eq!(list(env, dir), ["moved/", "to", "up"]);
        assert_eq!(kind(env.rename(&at("to"), &at("moved"))), ErrorKind::IsADirectory);
        assert_eq!(kind(env.rename(&at("moved"), &at("to"))), ErrorKind::NotADirectory);
        assert_eq!(kind(env.rename(&at("moved"), &at("moved/within"))), ErrorKind::InvalidInput);
        env.create_dir(&at("full")).unwrap();
        create(env, &at("full/file"), b"");
        assert_eq!(kind(env.rename(&at("moved"), &at("full"))), ErrorKind::DirectoryNotEmpty);
        env.rename(&at("full"), &at("moved")).unwrap();
        assert_eq!(list(env, dir), ["moved/", "to", "up"]);
    });
}

#[test]
fn a_lock_excludes_its_own_process_until_it_is_dropped() {
    everywhere(|env, dir| {
        let path = dir.join("LOCK");
        let lock = env.lock(&path).unwrap();
        assert_eq!(kind(env.lock(&path)), ErrorKind::WouldBlock);
        let other = env.lock(&dir.join("OTHER")).unwrap();
        lock.write(b"a long text").unwrap();
        lock.write(b"a text").unwrap();
        assert_eq!(content(&*env.open(&path, Open::Read).unwrap()), b"a text");
        drop(lock);
        assert_eq!(content(&*env.open(&path, Open::Read).unwrap()), b"a text");
        drop(env.lock(&path).unwrap());
        drop((other, env.lock(&path).unwrap()));
        assert_eq!(kind(env.lock(&dir.join("no/LOCK"))), ErrorKind::NotFound);
        assert_eq!(kind(env.lock(dir)), ErrorKind::IsADirectory);
    });
}

/// A child has a copy of every descriptor until its program begins.
#[cfg(unix)]
#[test]
fn a_lock_ends_where_it_is_dropped_also_while_programs_are_started() {
    let dir = tempfile::tempdir().unwrap();
    let (env, path) = (real::RealEnv::new(), dir.path().join("LOCK"));
    let ends = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..200 {
                std::process::Command::new("true").status().unwrap();
            }
            ends.store(true, Ordering::Relaxed);
        });
        while !ends.load(Ordering::Relaxed) {
            drop(env.lock(&path).unwrap());
        }
    });
}

#[test]
fn clocks_run_and_numbers_differ() {
    on_machines(|env, _| {
        let start = env.monotonic();
        std::thread::sleep(Duration::from_millis(2));
        assert!(env.monotonic() >= start + Duration::from_millis(2));
        assert!(env.now().as_millis() > 1_600_000_000_000 || cfg!(miri));
        assert_ne!(env.random(), env.random());
        if !cfg!(miri) {
            assert_eq!(env.identity().0, std::process::id());
        }
    });
}

#[test]
fn a_wait_ends_with_a_notification_or_at_its_deadline() {
    everywhere(|env, _| {
        let signal = Signal::new();
        let seen = signal.epoch();
        let deadline = env.monotonic() + Duration::from_millis(10);
        env.wait(&signal, seen, Some(deadline));
        assert!(env.monotonic() >= deadline);
        // Notified between the look and the wait.
        signal.notify();
        env.wait(&signal, seen, None);
        let seen = signal.epoch();
        std::thread::scope(|scope| {
            scope.spawn(|| signal.notify());
            env.wait(&signal, seen, Some(Duration::MAX));
        });
        env.wait(&signal, signal.epoch(), Some(Duration::ZERO));
    });
}

/// Counts its runs, and stops when it was told to.
struct Counter {
    runs: Arc<AtomicUsize>,
    ran: Arc<Signal>,
    next: fn(usize) -> Next,
}

impl Task for Counter {
    fn run(&mut self) -> Next {
        let runs = self.runs.fetch_add(1, Ordering::SeqCst) + 1;
        self.ran.notify();
        (self.next)(runs)
    }
}

#[test]
fn a_task_runs_again_when_it_is_notified_and_is_joined_when_done() {
    everywhere(|env, _| {
        let (runs, ran, signal) =
            (Arc::new(AtomicUsize::new(0)), Arc::new(Signal::new()), Arc::new(Signal::new()));
        let next = |runs| match runs {
            1 => Next::Again,
            2 => Next::Wait(Some(Duration::ZERO)),
            3 | 4 => Next::Wait(None),
            _ => Next::Done,
        };
        let task = Counter { runs: runs.clone(), ran: ran.clone(), next };
        let running = env.spawn("counter", signal.clone(), Box::new(task)).unwrap();
        for reached in 3..=5 {
            loop {
                let seen = ran.epoch();
                if runs.load(Ordering::SeqCst) == reached {
                    break;
                }
                env.wait(&ran, seen, None);
            }
            signal.notify();
        }
        running.join();
        assert_eq!(runs.load(Ordering::SeqCst), 5);
    });
}

#[test]
fn every_job_runs_although_one_panics() {
    everywhere(|env, _| {
        let done = Arc::new(Mutex::new(Vec::new()));
        for count in [0, 1, 3, 20] {
            done.lock().clear();
            let jobs = (0..count).map(|i| -> Job {
                let done = Arc::clone(&done);
                Box::new(move || {
                    done.lock().push(i);
                    // Unwinds as a panic does, without the message.
                    if i % 3 == 1 {
                        std::panic::resume_unwind(Box::new("on purpose"));
                    }
                })
            });
            env.run_all(jobs.collect());
            let mut ran = done.lock().clone();
            ran.sort_unstable();
            assert_eq!(ran, (0..count).collect::<Vec<_>>());
        }
    });
}

#[test]
fn a_task_that_panics_ends_alone() {
    struct Panics;
    impl Task for Panics {
        fn run(&mut self) -> Next {
            std::panic::resume_unwind(Box::new("on purpose"))
        }
    }
    everywhere(|env, _| env.spawn("panics", Arc::new(Signal::new()), Box::new(Panics)).unwrap().join());
}

mod kinds;

#[derive(Clone, Debug)]
enum Op {
    Write(u64, Vec<u8>),
    SetLen(u64),
    Allocate(u64),
    Read(u64, usize),
}

/// Miri takes its time over every byte.
const SMALL: u64 = if cfg!(miri) { 50 } else { 1 };

fn op() -> impl Strategy<Value = Op> {
    let at = 0..20_000 / SMALL;
    prop_oneof![
        4 => (at.clone(), prop::collection::vec(any::<u8>(), 1..6000 / SMALL as usize)).prop_map(|(at, bytes)| Op::Write(at, bytes)),
        1 => at.clone().prop_map(Op::SetLen),
        1 => at.clone().prop_map(Op::Allocate),
        3 => (at, 0..9000 / SMALL as usize).prop_map(|(at, n)| Op::Read(at, n)),
    ]
}

/// Does the same to a file and to a vector, and compares what they say.
fn agrees(env: &dyn Env, dir: &Path, ops: &[Op]) {
    let path = dir.join("model");
    let file = env.open(&path, Open::CreateNew).unwrap();
    let mut model: Vec<u8> = Vec::new();
    let region = file.region(1 << 16).unwrap();
    for op in ops {
        match op {
            Op::Write(at, bytes) => {
                let end = *at as usize + bytes.len();
                model.resize(model.len().max(end), 0);
                model[*at as usize..end].copy_from_slice(bytes);
                write_all_at(&*file, bytes, *at).unwrap();
            }
            Op::SetLen(len) => {
                model.resize(*len as usize, 0);
                file.set_len(*len).unwrap();
            }
            Op::Allocate(len) => {
                model.resize(model.len().max(*len as usize), 0);
                file.allocate(*len).unwrap();
            }
            Op::Read(at, n) => {
                let expected = &model[model.len().min(*at as usize)..model.len().min(*at as usize + n)];
                let mut found = vec![0xaa; *n];
                let read = read_full_at(&*file, &mut found, *at).unwrap();
                assert_eq!(&found[..read], expected);
                // Through the region only what the file has: no one may ask for more of a file that was cut.
                assert_eq!(&region.get(*at..*at + expected.len() as u64).unwrap()[..], expected);
            }
        }
        assert_eq!(file.len().unwrap(), model.len() as u64);
    }
    assert_eq!(content(&*file), model);
    env.remove_file(&path).unwrap();
}

/// `/proc` has no call to flush a directory, and says EINVAL.
#[cfg(target_os = "linux")]
#[cfg(not(miri))]
#[test]
fn a_directory_that_cannot_be_flushed_is_taken_as_it_is() {
    let env = super::real::RealEnv::new();
    if Path::new("/proc/self").is_dir() {
        assert!(std::fs::File::open("/proc").unwrap().sync_all().is_err());
        env.sync_dir(Path::new("/proc")).unwrap();
    }
    assert_eq!(env.sync_dir(Path::new("/nowhere")).unwrap_err().kind(), io::ErrorKind::NotFound);
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 3 } else { 64 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn files_agree_with_a_vector(ops in prop::collection::vec(op(), 1..40 / SMALL.min(4) as usize)) {
        everywhere(|env, dir| agrees(env, dir, &ops));
    }
}
