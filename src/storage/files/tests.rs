//! Flushes and writes that cross, descriptors that run out, and names that are taken.

use super::*;
use crate::{
    env::{
        memory::MemoryEnv,
        read_exact_at,
        sync::{AtomicUsize, Ordering},
    },
    storage::sidecar::replace_file,
};
use std::{fmt, io, path::Path};

/// A file that does something else before each write, and in place of each flush.
struct Hooked {
    file: Arc<dyn File>,
    before_write: Box<dyn Fn() + Send + Sync>,
    flush: Box<dyn Fn() -> io::Result<()> + Send + Sync>,
}

impl fmt::Debug for Hooked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooked").finish_non_exhaustive()
    }
}

impl File for Hooked {
    crate::env::forward_to_file!(read_at, len, set_len, allocate, read_past_cache, region);

    fn write_at(&self, buf: &[u8], position: u64) -> io::Result<usize> {
        (self.before_write)();
        self.file.write_at(buf, position)
    }
    fn sync_data(&self) -> io::Result<()> {
        (self.flush)()
    }
}

fn hooked(
    before_write: impl Fn() + Send + Sync + 'static,
    flush: impl Fn() -> io::Result<()> + Send + Sync + 'static,
) -> Arc<PooledFile> {
    let env = MemoryEnv::new();
    let pool = FilePool::new(env.clone(), ReadMode::Pread, 4);
    let path = Path::new("/file").to_path_buf();
    let file = env.open(&path, Open::CreateNew).unwrap();
    let (before_write, flush) = (Box::new(before_write), Box::new(flush));
    pool.file(path, Open::Write, Some(Arc::new(Hooked { file, before_write, flush })))
}

#[test]
fn a_flush_that_runs_is_not_taken_for_one_that_is_done() {
    let barriers = Arc::new((std::sync::Barrier::new(2), std::sync::Barrier::new(2)));
    let both = Arc::clone(&barriers);
    let file = hooked(
        || {},
        move || {
            both.0.wait();
            both.1.wait();
            Err(io::Error::other("the medium is gone"))
        },
    );
    let (begun, done) = &*barriers;
    file.write_all(b"acknowledged when flushed", 0).unwrap();
    std::thread::scope(|scope| {
        // As the pool does it, for want of descriptors.
        let first = scope.spawn(|| file.descriptor.sync());
        begun.wait();
        let second = scope.spawn(|| file.sync());
        let waited = std::time::Instant::now();
        while !second.is_finished() && waited.elapsed() < std::time::Duration::from_millis(100) {
            std::thread::yield_now();
        }
        done.wait();
        assert!(first.join().unwrap().is_err());
        assert!(second.join().unwrap().is_err(), "it said yes while the flush was running");
    });
}

#[test]
fn a_flush_that_comes_just_before_a_write_does_not_count_for_it() {
    let flushes = Arc::new(AtomicUsize::new(0));
    let file = Arc::new(std::sync::OnceLock::<Arc<PooledFile>>::new());
    let (counted, other) = (Arc::clone(&flushes), Arc::clone(&file));
    // Another appender's flush, which covers what was written before.
    let before_write = move || {
        if let Some(file) = other.get() {
            file.sync().unwrap();
        }
    };
    let flush = move || {
        counted.fetch_add(1, Ordering::SeqCst);
        Ok(())
    };
    file.set(hooked(before_write, flush)).unwrap();
    let file = file.get().unwrap();
    file.write_all(b"one", 0).unwrap();
    file.write_all(b"two", 3).unwrap();
    let before = flushes.load(Ordering::SeqCst);
    file.sync().unwrap();
    assert_eq!(flushes.load(Ordering::SeqCst), before + 1, "the second write is not flushed");
}

#[cfg(feature = "sim")]
#[test]
fn where_descriptors_have_run_out_idle_files_are_closed_and_then_dirty_ones_are_flushed() {
    use crate::sim::{Fault, FaultKind, Operation, SimEnv};
    let env = SimEnv::new(1);
    let pool = FilePool::new(Arc::new(env.clone()), ReadMode::Pread, 100);
    let files: Vec<_> = (0..3)
        .map(|i| {
            let file = pool.create(PathBuf::from(format!("/{i}"))).unwrap();
            file.write_all(b"x", 0).unwrap();
            file
        })
        .collect();
    files[0].sync().unwrap();
    env.inject(Fault::new(FaultKind::TooManyFiles).on(Operation::Open).forever());
    assert!(pool.env().open(Path::new("/2"), Open::Read).is_err());
    assert_eq!(pool.held().0, 0, "everything was given back, and flushed before");
    assert!(files.iter().all(|file| !file.is_dirty()));
    let refused = files[0].read_full(&mut [0], 0).unwrap_err().to_string();
    assert!(refused.contains("max_open_files") && refused.contains("ulimit -n"), "{refused}");
    env.clear_faults();
    for file in &files {
        file.sync().unwrap();
        assert_eq!(file.read_full(&mut [0], 0).unwrap(), 1);
    }
    files[0].write_all(b"y", 1).unwrap();
    env.inject(Fault::new(FaultKind::TooManyFiles).on(Operation::Open));
    env.open(Path::new("/2"), Open::Read).unwrap_err();
    env.inject(Fault::new(FaultKind::TooManyFiles).on(Operation::Open));
    pool.env().open(Path::new("/2"), Open::Read).unwrap();
    assert!(files[0].is_dirty(), "idle ones were enough");
}

#[test]
fn a_file_whose_name_was_taken_by_another_is_opened_anew() {
    for mode in [ReadMode::Mapped, ReadMode::Pread] {
        let env = MemoryEnv::new();
        let path = Path::new("/file");
        let pool = FilePool::new(env.clone(), mode, 4);
        let file = pool.create(path.to_path_buf()).unwrap();
        file.write_all(b"old", 0).unwrap();
        assert_eq!(file.bytes(0..3, 3).unwrap(), "old");
        replace_file(&*env, path, b"new").unwrap();
        file.replaced();
        assert_eq!(file.bytes(0..3, 3).unwrap(), "new");
        assert!(!file.is_dirty());
        file.write_all(b"er", 3).unwrap();
        let mut found = [0; 5];
        read_exact_at(&*env.open(path, Open::Read).unwrap(), &mut found, 0).unwrap();
        assert_eq!(&found, b"newer");
        assert!(pool.held().0 <= 1 && pool.held().1 <= 1, "{:?}", pool.held());
    }
}
