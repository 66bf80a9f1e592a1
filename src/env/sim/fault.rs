//! Operations that fail on demand.

use std::io;

/// The kinds of operations, to choose which fail and to read a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// Opening a file that exists.
    Open,
    /// Creating a file or directory.
    Create,
    /// Reading bytes, also past the cache.
    Read,
    /// Writing bytes.
    Write,
    /// Cutting or lengthening a file.
    SetLen,
    /// Preallocating space.
    Allocate,
    /// Flushing a file.
    Sync,
    /// Flushing a directory.
    SyncDir,
    /// Renaming.
    Rename,
    /// Removing a name.
    Remove,
    /// Listing a directory.
    List,
    /// Asking for a length, or for the metadata of a name.
    Metadata,
    /// Mapping a file.
    Map,
    /// Taking a lock, or writing into the locked file.
    Lock,
}

/// How an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FaultKind {
    /// Fails with EIO.
    Io,
    /// Fails with ENOSPC.
    DiskFull,
    /// Fails with EDQUOT.
    Quota,
    /// Fails with EFBIG.
    FileTooLarge,
    /// Fails with EINTR.
    Interrupted,
    /// Fails with EMFILE.
    TooManyFiles,
    /// A read or write transfers about half of its bytes; others succeed.
    Short,
    /// A write transfers about half of its bytes, in whole sectors, and the next one fails with ENOSPC; if half is less than
    /// a sector, it fails immediately. A flush fails with EIO.
    ShortThenFull,
    /// A flush fails with EIO and loses the dirty pages: later flushes succeed, and the cache still shows bytes that the
    /// medium does not have. Others fail with EIO.
    LosePages,
    /// A flush loses the dirty pages and succeeds; the next flush of the same file fails with EIO. Others fail with EIO.
    Late,
}

impl FaultKind {
    /// Failures that an honest system reports in time: nothing acknowledged may be missing afterwards.
    pub const HONEST: [FaultKind; 8] = [
        FaultKind::Io,
        FaultKind::DiskFull,
        FaultKind::Quota,
        FaultKind::Interrupted,
        FaultKind::TooManyFiles,
        FaultKind::Short,
        FaultKind::ShortThenFull,
        FaultKind::LosePages,
    ];

    pub(super) fn error(self) -> io::Error {
        #[cfg(unix)]
        {
            io::Error::from_raw_os_error(match self {
                FaultKind::DiskFull => 28,
                FaultKind::Quota => 122,
                FaultKind::FileTooLarge => 27,
                FaultKind::Interrupted => 4,
                FaultKind::TooManyFiles => 24,
                _ => 5,
            })
        }
        #[cfg(not(unix))]
        {
            match self {
                FaultKind::DiskFull => io::ErrorKind::StorageFull.into(),
                FaultKind::Quota => io::ErrorKind::QuotaExceeded.into(),
                FaultKind::FileTooLarge => io::ErrorKind::FileTooLarge.into(),
                FaultKind::Interrupted => io::ErrorKind::Interrupted.into(),
                _ => io::Error::other("a simulated fault"),
            }
        }
    }
}

/// Which operations fail, and how.
///
/// ```
/// use streamlog::sim::{Fault, FaultKind, Operation};
/// // The third flush from now on, and every later one, of files whose path has "orders" in it.
/// let fault = Fault::new(FaultKind::Io).on(Operation::Sync).path("orders").skip(2).forever();
/// # let _ = fault;
/// ```
#[derive(Clone, Debug)]
pub struct Fault {
    kind: FaultKind,
    operation: Option<Operation>,
    path: Option<String>,
    skip: u64,
    left: u64,
    /// The file whose next flush, or write, fails as the second half of this fault.
    owed: Option<(usize, Operation, FaultKind)>,
}

impl Fault {
    /// The next operation that matches, once.
    pub fn new(kind: FaultKind) -> Fault {
        Fault { kind, operation: None, path: None, skip: 0, left: 1, owed: None }
    }

    /// Matches operations of this kind alone.
    #[must_use]
    pub fn on(mut self, operation: Operation) -> Fault {
        self.operation = Some(operation);
        self
    }

    /// Matches operations on paths that contain this text alone.
    #[must_use]
    pub fn path(mut self, part: impl Into<String>) -> Fault {
        self.path = Some(part.into());
        self
    }

    /// Passes over the first `count` operations that match.
    #[must_use]
    pub fn skip(mut self, count: u64) -> Fault {
        self.skip = count;
        self
    }

    /// Strikes every later match as well, not the first alone.
    #[must_use]
    pub fn forever(mut self) -> Fault {
        self.left = u64::MAX;
        self
    }

    /// What happens to this operation; `None` leaves it alone.
    pub(super) fn strikes(&mut self, operation: Operation, path: &str, ino: usize) -> Option<FaultKind> {
        if let Some((of, which, kind)) = self.owed
            && of == ino
            && which == operation
        {
            self.owed = None;
            return Some(kind);
        }
        if self.left == 0
            || self.operation.is_some_and(|o| o != operation)
            || self.path.as_ref().is_some_and(|p| !path.contains(p.as_str()))
        {
            return None;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return None;
        }
        self.left = if self.left == u64::MAX { u64::MAX } else { self.left - 1 };
        match (self.kind, operation) {
            (FaultKind::Late, Operation::Sync) => self.owed = Some((ino, operation, FaultKind::Io)),
            (FaultKind::ShortThenFull, Operation::Write) => {
                self.owed = Some((ino, operation, FaultKind::DiskFull));
            }
            _ => {}
        }
        Some(self.kind)
    }
}
