//! Names of files, and where they are looked up.
//!
//! A log that is open holds its directory, and every name below it is looked up from there: whatever becomes of the
//! program's working directory, of the links on the way or of the directory's own name, the log's files are those that
//! it had when it was opened. Outside Unix there is no such look-up, and the absolute path has to do.

#[cfg(unix)]
pub(super) use below::Names;
#[cfg(not(unix))]
pub(super) use by_path::Names;

#[cfg(unix)]
mod below {
    use crate::{
        env::{DirEntry, Metadata, Open},
        types::Timestamp,
    };
    use rustix::{
        fs::{self, AtFlags, CWD, FileType, Mode, OFlags},
        io::Errno,
    };
    use std::{
        fs::File,
        io,
        os::fd::{AsFd, BorrowedFd, OwnedFd},
        path::{Path, PathBuf},
        time::{Duration, UNIX_EPOCH},
    };

    /// See the head of the file.
    #[derive(Debug, Default)]
    pub(in crate::env::real) struct Names {
        held: Option<Held>,
    }

    #[derive(Debug)]
    struct Held {
        path: PathBuf,
        dir: OwnedFd,
    }

    /// A directory to look names up in needs not be readable for that, where the system has a word for it.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    const TO_LOOK_UP: OFlags = OFlags::PATH;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    const TO_LOOK_UP: OFlags = OFlags::RDONLY;

    impl Names {
        /// Names below `dir` are looked up in what is there now.
        pub(in crate::env::real) fn below(dir: &Path) -> io::Result<Self> {
            let flags = TO_LOOK_UP | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let opened = again(|| fs::openat(CWD, dir, flags, Mode::empty()))?;
            Ok(Names { held: Some(Held { path: dir.to_path_buf(), dir: opened }) })
        }

        /// Where `path` is looked up, and as what.
        fn place<'a>(&'a self, path: &'a Path) -> (BorrowedFd<'a>, &'a Path) {
            let below = |held: &'a Held| Some((held.dir.as_fd(), path.strip_prefix(&held.path).ok()?));
            match self.held.as_ref().and_then(below) {
                Some((dir, rest)) if rest.as_os_str().is_empty() => (dir, Path::new(".")),
                Some(found) => found,
                None => (CWD, path),
            }
        }

        pub(in crate::env::real) fn open(&self, path: &Path, how: Open) -> io::Result<File> {
            let flags = match how {
                Open::Read => OFlags::RDONLY,
                Open::Write => OFlags::RDWR,
                Open::CreateNew => OFlags::RDWR | OFlags::CREATE | OFlags::EXCL,
                Open::Create => OFlags::RDWR | OFlags::CREATE,
            };
            self.open_with(path, flags)
        }

        /// A directory, to be flushed or listed.
        pub(in crate::env::real) fn open_dir(&self, path: &Path) -> io::Result<File> {
            self.open_with(path, OFlags::RDONLY | OFlags::DIRECTORY)
        }

        fn open_with(&self, path: &Path, flags: OFlags) -> io::Result<File> {
            let (dir, name) = self.place(path);
            let mode = Mode::from_raw_mode(0o666);
            Ok(again(|| fs::openat(dir, name, flags | OFlags::CLOEXEC, mode))?.into())
        }

        pub(in crate::env::real) fn create_dir(&self, path: &Path) -> io::Result<()> {
            let (dir, name) = self.place(path);
            Ok(fs::mkdirat(dir, name, Mode::from_raw_mode(0o777))?)
        }

        pub(in crate::env::real) fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
            let dir = self.open_dir(path)?;
            let mut entries = Vec::new();
            for entry in fs::Dir::read_from(&dir)? {
                let entry = entry?;
                let Ok(name) = entry.file_name().to_str() else { continue };
                if matches!(name, "." | "..") {
                    continue;
                }
                let is_dir = match entry.file_type() {
                    FileType::Directory => true,
                    // A link counts as what it leads to.
                    FileType::Symlink | FileType::Unknown => is_dir(&dir, name),
                    _ => false,
                };
                entries.push(DirEntry { name: name.to_owned(), is_dir });
            }
            Ok(entries)
        }

        pub(in crate::env::real) fn metadata(&self, path: &Path) -> io::Result<Metadata> {
            let (dir, name) = self.place(path);
            let found = fs::statat(dir, name, AtFlags::empty())?;
            Ok(Metadata {
                len: u64::try_from(found.st_size).unwrap_or(0),
                is_dir: FileType::from_raw_mode(found.st_mode) == FileType::Directory,
                modified: modified(found.st_mtime as i64, found.st_mtime_nsec as u64),
            })
        }

        pub(in crate::env::real) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
            let ((from_dir, from), (to_dir, to)) = (self.place(from), self.place(to));
            Ok(fs::renameat(from_dir, from, to_dir, to)?)
        }

        pub(in crate::env::real) fn remove_file(&self, path: &Path) -> io::Result<()> {
            let (dir, name) = self.place(path);
            Ok(fs::unlinkat(dir, name, AtFlags::empty())?)
        }

        pub(in crate::env::real) fn remove_dir(&self, path: &Path) -> io::Result<()> {
            let (dir, name) = self.place(path);
            Ok(fs::unlinkat(dir, name, AtFlags::REMOVEDIR)?)
        }
    }

    /// Makes a call that a signal interrupted again.
    fn again<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
        loop {
            match call() {
                Err(Errno::INTR) => {}
                done => return done,
            }
        }
    }

    fn is_dir(dir: &File, name: &str) -> bool {
        fs::statat(dir, name, AtFlags::empty())
            .is_ok_and(|found| FileType::from_raw_mode(found.st_mode) == FileType::Directory)
    }

    fn modified(seconds: i64, nanoseconds: u64) -> Timestamp {
        let since = u64::try_from(seconds).ok().and_then(|seconds| {
            UNIX_EPOCH
                .checked_add(Duration::from_secs(seconds).saturating_add(Duration::from_nanos(nanoseconds)))
        });
        since.map_or(Timestamp::NONE, Timestamp::from)
    }
}

#[cfg(not(unix))]
mod by_path {
    use crate::{
        env::{DirEntry, Metadata, Open},
        types::Timestamp,
    };
    use std::{fs, io, path::Path};

    /// See the head of the file.
    #[derive(Debug, Default)]
    pub(in crate::env::real) struct Names;

    impl Names {
        pub(in crate::env::real) fn below(_dir: &Path) -> io::Result<Self> {
            Ok(Names)
        }

        pub(in crate::env::real) fn open(&self, path: &Path, how: Open) -> io::Result<fs::File> {
            let mut options = fs::OpenOptions::new();
            options.read(true);
            match how {
                Open::Read => &mut options,
                Open::Write => options.write(true),
                Open::CreateNew => options.write(true).create_new(true),
                Open::Create => options.write(true).create(true).truncate(false),
            };
            options.open(path)
        }

        pub(in crate::env::real) fn create_dir(&self, path: &Path) -> io::Result<()> {
            fs::create_dir(path)
        }

        pub(in crate::env::real) fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
            let mut entries = Vec::new();
            for entry in fs::read_dir(path)? {
                let entry = entry?;
                let Ok(name) = entry.file_name().into_string() else { continue };
                let is_dir = fs::metadata(entry.path()).is_ok_and(|target| target.is_dir());
                entries.push(DirEntry { name, is_dir });
            }
            Ok(entries)
        }

        pub(in crate::env::real) fn metadata(&self, path: &Path) -> io::Result<Metadata> {
            let found = fs::metadata(path)?;
            let modified = found.modified().map_or(Timestamp::NONE, Timestamp::from);
            Ok(Metadata { len: found.len(), is_dir: found.is_dir(), modified })
        }

        pub(in crate::env::real) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
            fs::rename(from, to)
        }

        pub(in crate::env::real) fn remove_file(&self, path: &Path) -> io::Result<()> {
            fs::remove_file(path)
        }

        pub(in crate::env::real) fn remove_dir(&self, path: &Path) -> io::Result<()> {
            fs::remove_dir(path)
        }
    }
}
