//! The only door outside: files, clock, randomness, threads, locks and waits.
//!
//! Every room above reaches the machine through an [`Env`]. The real one ([`real`]) is thin; the one in memory
//! ([`memory`]) behaves the same without a disk; a simulated one (`sim`) can lose power. What an environment must hold:
//!
//! * [`File::read_at`] and [`File::write_at`] are positional and may be short; [`read_exact_at`] and
//!   [`write_all_at`] finish the job.
//! * Written bytes are visible to every reader of the file immediately. They are durable after [`File::sync_data`] returned
//!   `Ok`, together with the file's length. A new name is durable after [`Env::sync_dir`] on its directory.
//! * Names are looked up without following symbolic links, but for those on the way to the directory that is held (or, where
//!   none is, to the last name of a path). Only regular files and directories are opened: anything else under the name (a
//!   link, a FIFO, a socket, a device) is a [`WrongKind`] before it is opened for good, read or waited for. It can be
//!   renamed and removed, which concerns the name alone.
//! * A [`Region`] shows what is written to its file later, and outlives the file's name and its descriptor.
//! * [`Env::wait`] returns when the signal was notified after `seen` was taken, or at the deadline, or for no reason.
//!   A simulated environment runs background tasks and moves its clock there, so nothing may block elsewhere for
//!   what a background task does.
//!
//! Locks, condition variables and atomics come from [`sync`]. The one file with `unsafe` code is `mapped.rs`.

mod forward;
pub mod held;
mod machine;
pub mod mapped;
pub mod memory;
pub mod process;
pub mod real;
#[cfg(feature = "sim")]
pub mod sim;
pub mod sync;
#[cfg(test)]
mod tests;
pub mod trace;
mod worker_pool;

pub(crate) use forward::forward_to_env;
#[cfg(test)]
pub(crate) use forward::forward_to_file;

pub use crate::error::wrong_kind::{FileKind, WrongKind};
use crate::types::Timestamp;
use bytes::Bytes;
use std::{
    fmt, io,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use sync::Signal;

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// An existing file, to be read.
    Read,
    /// An existing file, to be read and written.
    Write,
    /// A file that must not exist yet, to be read and written.
    CreateNew,
    /// A file that may exist, to be read and written; its content is kept.
    Create,
}

/// What a directory holds under one name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirEntry {
    /// The name; entries whose name is not UTF-8 are not listed.
    pub name: String,
    /// What it is. A link is a link, whatever it leads to.
    pub kind: FileKind,
}

impl DirEntry {
    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.kind == FileKind::Dir
    }

    /// Whether it is a regular file.
    pub fn is_file(&self) -> bool {
        self.kind == FileKind::File
    }
}

/// What is known of a file without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// The length in bytes.
    pub len: u64,
    /// Whether it is a directory.
    pub is_dir: bool,
    /// When it was last written.
    pub modified: Timestamp,
}

/// The machine, as this crate sees it.
pub trait Env: Send + Sync + fmt::Debug {
    /// Opens a file.
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>>;
    /// Creates a directory; its parent must exist. `AlreadyExists` when there is one.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Lists a directory, in the order of the names.
    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>>;
    /// What is known of a file or directory. `NotFound` when there is none, and a [`WrongKind`] where it is neither.
    fn metadata(&self, path: &Path) -> io::Result<Metadata>;
    /// Gives a file or directory another name, atomically, replacing a file that had it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes the name of anything but a directory. A process that has the file open keeps reading it.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes an empty directory.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;
    /// The same path, whatever the working directory is later.
    fn absolute(&self, path: &Path) -> io::Result<PathBuf> {
        Ok(path.to_path_buf())
    }
    /// This environment with a directory held: from then on names below `dir` are those of the directory that is there now,
    /// even if it is moved or another takes its place. `None` where `dir` always means the same.
    fn hold(&self, _dir: &Path) -> io::Result<Option<Arc<dyn Env>>> {
        Ok(None)
    }
    /// Makes the names in a directory durable, as far as its file system has a call for that.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// The file system that `dir` is on, as a file whose flush covers everything written to it since. `None` where there is
    /// no such flush, or its worth is unknown.
    fn whole_file_system(&self, _dir: &Path) -> io::Result<Option<Arc<dyn Flushed>>> {
        Ok(None)
    }
    /// How many bytes of the file system that `dir` is on this process may still fill. `None` where that cannot be said.
    fn space(&self, _dir: &Path) -> io::Result<Option<u64>> {
        Ok(None)
    }
    /// Opens (creating it where needed) and locks a file exclusively, without waiting: `WouldBlock` when someone,
    /// this process included, holds it. The lock ends when the value is dropped or its process dies.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>>;

    /// How many descriptors this process may have, where there is a limit.
    fn descriptors(&self) -> Option<u64> {
        None
    }
    /// The wall clock.
    fn now(&self) -> Timestamp;
    /// A clock that never goes back, from an arbitrary start.
    fn monotonic(&self) -> Duration;
    /// A random number.
    fn random(&self) -> u64;
    /// This process's id, and the host's name where it is known.
    fn identity(&self) -> (u32, String);

    /// Sleeps until `signal` was notified since `seen` (its [`Signal::epoch`]), or `deadline` on the monotonic clock.
    fn wait(&self, signal: &Signal, seen: u64, deadline: Option<Duration>);
    /// Runs `task` in the background until it is done, waiting on `signal` between its steps.
    fn spawn(&self, name: &str, signal: Arc<Signal>, task: Box<dyn Task>) -> io::Result<Box<dyn Running>>;
    /// Runs every job to its end, several at a time where the machine can, before it returns.
    fn run_all(&self, jobs: Vec<Job>);
    /// How many threads are kept for such jobs.
    fn job_threads(&self) -> usize {
        0
    }
    /// Keeps none from now on, and returns when the existing ones have ended. Callers run later jobs themselves.
    fn end_job_threads(&self) {}
}

/// What is flushed as a whole.
pub trait Flushed: Send + Sync + fmt::Debug {
    /// Makes everything durable that was written since it was opened.
    fn sync_data(&self) -> io::Result<()>;
}

/// An open file. All calls take `&self` and may come from several threads.
pub trait File: Send + Sync + fmt::Debug {
    /// Reads from `position` on; 0 at the end of the file.
    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize>;
    /// Writes at `position`, growing the file where needed.
    fn write_at(&self, buf: &[u8], position: u64) -> io::Result<usize>;
    /// Makes content and length durable. After an error nothing is known of either, and a second call proves nothing.
    fn sync_data(&self) -> io::Result<()>;
    /// The length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Whether the file had other names (hard links) when it was opened, as in a backup made of links, which would see every
    /// write.
    fn has_other_names(&self) -> bool {
        false
    }
    /// Which file it is, under any name: device and inode. `None` where the system has no such identity.
    fn inode(&self) -> Option<(u64, u64)> {
        None
    }
    /// Cuts or lengthens the file; new bytes are zero.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Makes the file at least `len` bytes long and reserves the space, so that writing there needs no more. New bytes are
    /// zero. `FileTooLarge` where no file may be as long. After an error the length is as it was.
    fn allocate(&self, len: u64) -> io::Result<()>;
    /// Writes zeros over bytes of the file that are zeros, where that makes later flushes cheaper. After an error they are
    /// zeros as before.
    fn write_zeros(&self, _range: Range<u64>) -> io::Result<()> {
        Ok(())
    }
    /// As `read_at`, from the medium and not from a cache. `Unsupported` where that is not possible. Fastest if position and
    /// memory both begin at a multiple of 4096.
    fn read_past_cache(&self, buf: &mut [u8], position: u64) -> io::Result<usize>;
    /// Where, at `position` or after it, the zeros begin that end the file; `None` where only reading would tell. Only for a
    /// flushed file without a writer.
    fn zeros_from(&self, _position: u64) -> Option<u64> {
        None
    }
    /// Where, at `position` or after it, something other than zeros may lie; `u64::MAX` where nothing does, `position` where
    /// only reading would tell. Only for a part of the file without a writer.
    fn data_from(&self, position: u64) -> u64 {
        position
    }
    /// About how many bytes from `position` on may be something other than zeros: the stored ones, where the file system
    /// knows. For a file of thousands of holes it may be less.
    fn data_behind(&self, position: u64) -> io::Result<u64> {
        Ok(self.len()?.saturating_sub(position))
    }
    /// The first `capacity` bytes of the file for reading without a copy. The file may still be shorter. `Unsupported`
    /// where no such file is mapped, however often that is asked.
    fn region(&self, capacity: u64) -> io::Result<Arc<dyn Region>>;
}

/// Part of a file that can be read without a copy.
pub trait Region: Send + Sync + fmt::Debug {
    /// The bytes of `range`, which the file must have: the caller asks only for what was published. A range beyond the
    /// capacity, or beyond the end of the file where that is known, is an error.
    fn get(&self, range: Range<u64>) -> io::Result<Bytes>;
    /// How many bytes it can show.
    fn capacity(&self) -> u64;
    /// Whether somebody still has bytes of it, where that is known.
    fn is_held(&self) -> bool {
        false
    }
}

/// A locked file.
pub trait Lock: Send + Sync + fmt::Debug {
    /// Replaces what the file says about its holder.
    fn write(&self, content: &[u8]) -> io::Result<()>;
}

/// What a background task wants next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// To run again when its signal is notified, or at this time on the monotonic clock.
    Wait(Option<Duration>),
    /// To run again immediately.
    Again,
    /// To end.
    Done,
}

/// A piece of work that a caller waits for.
pub type Job = Box<dyn FnOnce() + Send>;

/// Work in the background: short steps that never wait for another task.
pub trait Task: Send {
    /// Does what is due and says when to come back.
    fn run(&mut self) -> Next;
}

/// A task that was spawned.
pub trait Running: Send + Sync {
    /// Waits for the task's end. The caller has made sure that it will end.
    fn join(self: Box<Self>);
}

/// Reads `buf.len()` bytes from `position` on, or fails with `UnexpectedEof`.
pub fn read_exact_at(file: &dyn File, buf: &mut [u8], position: u64) -> io::Result<()> {
    match read_full_at(file, buf, position)? {
        n if n == buf.len() => Ok(()),
        n => Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            format!("{n} of {} bytes at {position}", buf.len()),
        )),
    }
}

/// Reads until `buf` is full or the file ends, and says how much was read.
pub fn read_full_at(file: &dyn File, buf: &mut [u8], position: u64) -> io::Result<usize> {
    fill(buf, |rest, done| file.read_at(rest, position + done))
}

/// As [`read_full_at`], from the medium and not from a cache.
pub fn read_full_past_cache_at(file: &dyn File, buf: &mut [u8], position: u64) -> io::Result<usize> {
    fill(buf, |rest, done| file.read_past_cache(rest, position + done))
}

/// Fills `buf` by reads, each given how much was read before, until it is full or there is no more.
fn fill(buf: &mut [u8], mut read: impl FnMut(&mut [u8], u64) -> io::Result<usize>) -> io::Result<usize> {
    let mut done = 0;
    while done < buf.len() {
        match read(&mut buf[done..], done as u64) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(done)
}

/// Writes all of `buf` at `position`. After an error an unknown part of it may be in the file.
pub fn write_all_at(file: &dyn File, buf: &[u8], position: u64) -> io::Result<()> {
    let mut done = 0;
    while done < buf.len() {
        match file.write_at(&buf[done..], position + done as u64) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => {
                planted!(ignore_a_short_write => break);
                done += n;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {
                planted!(give_up_when_interrupted => return Err(e));
            }
            Err(e) => {
                planted!(ignore_a_failed_write => break);
                return Err(e);
            }
        }
    }
    Ok(())
}
