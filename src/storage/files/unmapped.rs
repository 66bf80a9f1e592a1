//! Files that the system does not map are read all the same.

use super::*;
use crate::env::{
    Region,
    memory::MemoryEnv,
    sync::{AtomicUsize, Ordering},
};
use std::io;

/// A file that is not mapped, and how often that was asked.
#[derive(Debug)]
struct Unmapped {
    file: Arc<dyn File>,
    asked: Arc<AtomicUsize>,
    errno: i32,
}

impl File for Unmapped {
    crate::env::forward_to_file!(read_at, write_at, sync_data, len, set_len, allocate, read_past_cache);

    fn region(&self, _capacity: u64) -> io::Result<Arc<dyn Region>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        match self.errno {
            0 => Err(io::ErrorKind::Unsupported.into()),
            errno => Err(io::Error::from_raw_os_error(errno)),
        }
    }
}

/// Reads a file twice whose mapping is refused, and says how often a mapping was asked for.
fn asked_when_read_twice(errno: i32) -> usize {
    let env = MemoryEnv::new();
    let pool = FilePool::new(env.clone(), ReadMode::Mapped, 4);
    let path = PathBuf::from("/file");
    let file = env.open(&path, Open::CreateNew).unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let unmapped = Unmapped { file, asked: Arc::clone(&asked), errno };
    let file = pool.file(path, Open::Write, Some(Arc::new(unmapped)));
    file.write_all(b"acknowledged", 0).unwrap();
    for _ in 0..2 {
        assert_eq!(file.bytes(2..6, 100).unwrap(), "know");
    }
    assert_eq!(pool.held().1, 0);
    let beyond = file.bytes(2..20, 100).unwrap_err();
    assert!(matches!(&beyond, Error::Io { source, .. } if source.kind() == io::ErrorKind::UnexpectedEof));
    asked.load(Ordering::SeqCst)
}

#[test]
fn a_file_that_is_never_mapped_is_read_and_asked_once() {
    assert_eq!(asked_when_read_twice(0), 1);
}

#[test]
fn a_file_that_cannot_be_mapped_now_is_read_and_asked_again() {
    const ENOMEM: i32 = 12;
    const EMFILE: i32 = 24;
    for errno in [ENOMEM, EMFILE] {
        assert!(asked_when_read_twice(errno) >= 3, "{errno}");
    }
}
