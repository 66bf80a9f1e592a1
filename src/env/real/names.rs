//! Names of files, and where they are looked up.
//!
//! A log that is open holds its directory, and every name below it is looked up from there: whatever becomes of the
//! program's working directory, of the links on the way or of the directory's own name, the log's files are those that
//! it had when it was opened.
//!
//! A directory may be a stranger's, also where it has our names in it. Below the one that is held no link is followed, at
//! no place of a path; elsewhere none at its end, where a file is to be opened. What is opened is neither waited for
//! (`O_NONBLOCK`: a FIFO would be) nor believed to be a file before `fstat` says so. Outside Unix there is no such look-up:
//! the absolute path has to do, and a look at each name before it is used.

#[cfg(unix)]
pub(super) use below::{Names, Opened};
#[cfg(not(unix))]
pub(super) use by_path::{Names, Opened};

#[cfg(unix)]
mod below {
    use crate::{
        env::{DirEntry, FileKind, Metadata, Open, WrongKind},
        types::Timestamp,
    };
    use rustix::{
        fs::{self, AtFlags, CWD, FileType, Mode, OFlags, Stat},
        io::Errno,
    };
    use std::{
        ffi::OsStr,
        fs::File,
        io,
        os::{
            fd::{AsFd, BorrowedFd, OwnedFd},
            unix::ffi::OsStrExt,
        },
        path::{Component, Path, PathBuf},
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

    /// A file that was opened, and is one.
    #[derive(Debug)]
    pub(in crate::env::real) struct Opened {
        pub(in crate::env::real) file: File,
        /// Whether it had other names when it was opened.
        pub(in crate::env::real) has_other_names: bool,
        /// Its device and inode.
        pub(in crate::env::real) inode: Option<(u64, u64)>,
    }

    /// The directory in which a name is looked up, and the name.
    struct Place<'a> {
        dir: Dir<'a>,
        name: &'a Path,
        /// Where links are followed: on the way, and at the end of what names a directory.
        links: AtFlags,
    }

    enum Dir<'a> {
        Known(BorrowedFd<'a>),
        Opened(OwnedFd),
    }

    /// A directory to look names up in needs not be readable for that, where the system has a word for it.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    const TO_LOOK_UP: OFlags = OFlags::PATH;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    const TO_LOOK_UP: OFlags = OFlags::RDONLY;

    /// Neither a link is followed, nor a FIFO or a device waited for, nor a terminal made this process's own.
    const AS_IT_IS: OFlags =
        OFlags::NOFOLLOW.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

    impl Place<'_> {
        fn dir(&self) -> BorrowedFd<'_> {
            match &self.dir {
                Dir::Known(dir) => *dir,
                Dir::Opened(dir) => dir.as_fd(),
            }
        }

        /// What a system error means to a caller that expected this kind.
        fn error(&self, error: Errno, expected: FileKind) -> io::Error {
            explain(self.dir(), self.name, error, Some(expected), 0)
        }

        /// As [`Place::error`], of a removal: of every kind of name it may be refused, or fail.
        fn error_of_removal(&self, error: Errno, expected: FileKind) -> io::Error {
            match error {
                Errno::ACCESS | Errno::ROFS | Errno::IO => error.into(),
                other => self.error(other, expected),
            }
        }
    }

    impl Names {
        /// Names below `dir` are looked up in what is there now.
        pub(in crate::env::real) fn below(dir: &Path) -> io::Result<Self> {
            let flags = TO_LOOK_UP | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let opened = again(|| fs::openat(CWD, dir, flags, Mode::empty()))?;
            Ok(Names { held: Some(Held { path: dir.to_path_buf(), dir: opened }) })
        }

        /// Where `path` is looked up, and as what.
        fn place<'a>(&'a self, path: &'a Path) -> io::Result<Place<'a>> {
            let below = |held: &'a Held| Some((held.dir.as_fd(), rest_of(path, &held.path)?));
            planted!(follow_links => return Ok(Place { dir: Dir::Known(CWD), name: path, links: AtFlags::empty() }));
            match self.held.as_ref().and_then(below) {
                Some((dir, rest)) => step_down(dir, rest),
                None => Ok(Place { dir: Dir::Known(CWD), name: path, links: AtFlags::empty() }),
            }
        }

        pub(in crate::env::real) fn open(&self, path: &Path, how: Open) -> io::Result<Opened> {
            let mut flags = match how {
                Open::Read => AS_IT_IS | OFlags::RDONLY,
                Open::Write => AS_IT_IS | OFlags::RDWR,
                Open::CreateNew => AS_IT_IS | OFlags::RDWR | OFlags::CREATE | OFlags::EXCL,
                Open::Create => AS_IT_IS | OFlags::RDWR | OFlags::CREATE,
            };
            planted!(follow_links => flags -= OFlags::NOFOLLOW);
            let place = self.place(path)?;
            let mode = Mode::from_raw_mode(0o666);
            let opened = again(|| fs::openat(place.dir(), place.name, flags, mode));
            let file: File = opened.map_err(|e| place.error(e, FileKind::File))?.into();
            let found = fs::fstat(&file)?;
            let has_other_names = found.st_nlink > 1;
            #[allow(clippy::unnecessary_cast, reason = "their types differ from system to system")]
            let inode = Some((found.st_dev as u64, found.st_ino as u64));
            planted!(read_whatever_has_the_name => return Ok(Opened { file, has_other_names: false, inode }));
            match kind_of(&found) {
                FileKind::File => Ok(Opened { file, has_other_names, inode }),
                found => Err(WrongKind { found, expected: Some(FileKind::File), above: 0 }.into_io()),
            }
        }

        /// Whether `file` is what `path` names now.
        pub(in crate::env::real) fn is_at(&self, file: &File, path: &Path) -> io::Result<bool> {
            let place = self.place(path)?;
            let (opened, named) =
                (fs::fstat(file)?, fs::statat(place.dir(), place.name, AtFlags::SYMLINK_NOFOLLOW));
            match named {
                Err(Errno::NOENT) => Ok(false),
                named => {
                    let named = named?;
                    Ok((opened.st_dev, opened.st_ino) == (named.st_dev, named.st_ino))
                }
            }
        }

        /// A directory, to be flushed or listed.
        pub(in crate::env::real) fn open_dir(&self, path: &Path) -> io::Result<File> {
            let place = self.place(path)?;
            let mut flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            flags.set(OFlags::NOFOLLOW, !place.links.is_empty());
            let opened = again(|| fs::openat(place.dir(), place.name, flags, Mode::empty()));
            Ok(opened.map_err(|e| place.error(e, FileKind::Dir))?.into())
        }

        pub(in crate::env::real) fn create_dir(&self, path: &Path) -> io::Result<()> {
            let place = self.place(path)?;
            Ok(fs::mkdirat(place.dir(), place.name, Mode::from_raw_mode(0o777))?)
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
                let kind = match entry.file_type() {
                    FileType::Unknown => match fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW) {
                        // It went away in between.
                        Err(Errno::NOENT) => continue,
                        found => kind_of(&found?),
                    },
                    known => of_type(known),
                };
                entries.push(DirEntry { name: name.to_owned(), kind });
            }
            Ok(entries)
        }

        pub(in crate::env::real) fn metadata(&self, path: &Path) -> io::Result<Metadata> {
            let place = self.place(path)?;
            let found = fs::statat(place.dir(), place.name, place.links)?;
            match kind_of(&found) {
                kind @ (FileKind::File | FileKind::Dir) => Ok(Metadata {
                    len: u64::try_from(found.st_size).unwrap_or(0),
                    is_dir: kind == FileKind::Dir,
                    modified: modified(found.st_mtime as i64, found.st_mtime_nsec as u64),
                }),
                found => Err(WrongKind { found, expected: None, above: 0 }.into_io()),
            }
        }

        pub(in crate::env::real) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
            let (from, to) = (self.place(from)?, self.place(to)?);
            Ok(fs::renameat(from.dir(), from.name, to.dir(), to.name)?)
        }

        pub(in crate::env::real) fn remove_file(&self, path: &Path) -> io::Result<()> {
            let place = self.place(path)?;
            fs::unlinkat(place.dir(), place.name, AtFlags::empty())
                .map_err(|e| place.error_of_removal(e, FileKind::File))
        }

        pub(in crate::env::real) fn remove_dir(&self, path: &Path) -> io::Result<()> {
            let place = self.place(path)?;
            fs::unlinkat(place.dir(), place.name, AtFlags::REMOVEDIR)
                .map_err(|e| place.error_of_removal(e, FileKind::Dir))
        }
    }

    /// What follows `dir` in `path`. The paths of a log begin with its directory byte by byte, which is quickly seen; others
    /// are compared name by name.
    fn rest_of<'a>(path: &'a Path, dir: &Path) -> Option<&'a Path> {
        match path.as_os_str().as_bytes().strip_prefix(dir.as_os_str().as_bytes()) {
            Some([b'/', rest @ ..]) if !matches!(rest, [b'/' | b'.', ..]) => {
                Some(Path::new(OsStr::from_bytes(rest)))
            }
            _ => path.strip_prefix(dir).ok(),
        }
    }

    /// The place of `rest` below `dir`, which is reached one name at a time and through directories alone.
    fn step_down<'a>(dir: BorrowedFd<'a>, rest: &'a Path) -> io::Result<Place<'a>> {
        let links = AtFlags::SYMLINK_NOFOLLOW;
        let mut names = rest.components();
        let Some(last) = names.next_back() else {
            return Ok(Place { dir: Dir::Known(dir), name: Path::new("."), links });
        };
        let mut at = Dir::Known(dir);
        let above = names.clone().count();
        for (i, name) in names.chain([last]).enumerate() {
            let Component::Normal(name) = name else { return Err(io::ErrorKind::InvalidInput.into()) };
            if i == above {
                return Ok(Place { dir: at, name: Path::new(name), links });
            }
            let here = Place { dir: at, name: Path::new(name), links };
            let flags = TO_LOOK_UP | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let opened = again(|| fs::openat(here.dir(), here.name, flags, Mode::empty()));
            at = Dir::Opened(
                opened.map_err(|e| explain(here.dir(), here.name, e, Some(FileKind::Dir), above - i))?,
            );
        }
        Err(io::ErrorKind::InvalidInput.into())
    }

    /// What an error of the system's means for who asked for something of the kind `expected`: perhaps that something
    /// else is there. Which error that is differs from system to system, so a look tells.
    fn explain(
        dir: BorrowedFd<'_>,
        name: &Path,
        error: Errno,
        expected: Option<FileKind>,
        above: usize,
    ) -> io::Error {
        // By these nothing is said of what is there.
        let others = [Errno::NOENT, Errno::EXIST, Errno::NOSPC, Errno::DQUOT, Errno::MFILE, Errno::NFILE];
        if !others.contains(&error)
            && let Ok(found) = fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).map(|found| kind_of(&found))
            && expected != Some(found)
        {
            return WrongKind { found, expected, above }.into_io();
        }
        match error {
            // Only of a file that is leased to somebody (as by Samba) and was not to be waited for. It is no lock of ours.
            Errno::WOULDBLOCK => io::ErrorKind::ResourceBusy.into(),
            other => other.into(),
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

    fn kind_of(found: &Stat) -> FileKind {
        of_type(FileType::from_raw_mode(found.st_mode))
    }

    fn of_type(found: FileType) -> FileKind {
        match found {
            FileType::RegularFile => FileKind::File,
            FileType::Directory => FileKind::Dir,
            FileType::Symlink => FileKind::Link,
            FileType::Fifo => FileKind::Fifo,
            FileType::Socket => FileKind::Socket,
            _ => FileKind::Device,
        }
    }

    fn modified(seconds: i64, nanoseconds: u64) -> Timestamp {
        let since = u64::try_from(seconds).ok().and_then(|seconds| {
            UNIX_EPOCH
                .checked_add(Duration::from_secs(seconds).saturating_add(Duration::from_nanos(nanoseconds)))
        });
        since.map_or(Timestamp::NONE, Timestamp::from)
    }

    #[cfg(all(test, not(miri)))]
    mod tests {
        use super::*;

        #[test]
        fn what_may_not_be_removed_is_not_said_to_be_something_else() {
            let dir = tempfile::tempdir().unwrap();
            let (link, below) = (dir.path().join("link"), dir.path().join("below"));
            std::os::unix::fs::symlink("nothing", &link).unwrap();
            std::fs::create_dir(&below).unwrap();
            let names = Names::below(dir.path()).unwrap();
            for (path, expected) in
                [(&link, FileKind::Dir), (&link, FileKind::File), (&below, FileKind::File)]
            {
                let place = names.place(path).unwrap();
                for errno in [Errno::ACCESS, Errno::ROFS, Errno::IO] {
                    let error = place.error_of_removal(errno, expected);
                    assert_eq!(error.raw_os_error(), Some(errno.raw_os_error()), "{error}");
                }
                // By these the systems say that it is none.
                for errno in [Errno::NOTDIR, Errno::ISDIR, Errno::PERM] {
                    assert!(WrongKind::of(&place.error_of_removal(errno, expected)).is_some());
                }
            }
        }
    }
}

#[cfg(not(unix))]
mod by_path {
    use crate::{
        env::{DirEntry, FileKind, Metadata, Open, WrongKind},
        types::Timestamp,
    };
    use std::{fs, io, path::Path};

    /// See the head of the file.
    #[derive(Debug, Default)]
    pub(in crate::env::real) struct Names;

    /// A file that was opened, and is one.
    #[derive(Debug)]
    pub(in crate::env::real) struct Opened {
        pub(in crate::env::real) file: fs::File,
        pub(in crate::env::real) has_other_names: bool,
        /// Its device and inode.
        pub(in crate::env::real) inode: Option<(u64, u64)>,
    }

    fn kind_of(found: fs::FileType) -> FileKind {
        match found {
            found if found.is_symlink() => FileKind::Link,
            found if found.is_dir() => FileKind::Dir,
            found if found.is_file() => FileKind::File,
            _ => FileKind::Device,
        }
    }

    impl Names {
        pub(in crate::env::real) fn below(_dir: &Path) -> io::Result<Self> {
            Ok(Names)
        }

        pub(in crate::env::real) fn open(&self, path: &Path, how: Open) -> io::Result<Opened> {
            if let Ok(found) = fs::symlink_metadata(path).map(|found| kind_of(found.file_type()))
                && found != FileKind::File
                && how != Open::CreateNew
            {
                return Err(WrongKind { found, expected: Some(FileKind::File), above: 0 }.into_io());
            }
            let mut options = fs::OpenOptions::new();
            options.read(true);
            match how {
                Open::Read => &mut options,
                Open::Write => options.write(true),
                Open::CreateNew => options.write(true).create_new(true),
                Open::Create => options.write(true).create(true).truncate(false),
            };
            Ok(Opened { file: options.open(path)?, has_other_names: false, inode: None })
        }

        pub(in crate::env::real) fn create_dir(&self, path: &Path) -> io::Result<()> {
            fs::create_dir(path)
        }

        pub(in crate::env::real) fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
            let mut entries = Vec::new();
            for entry in fs::read_dir(path)? {
                let entry = entry?;
                let Ok(name) = entry.file_name().into_string() else { continue };
                entries.push(DirEntry { name, kind: kind_of(entry.file_type()?) });
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
