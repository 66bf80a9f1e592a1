//! Names that stand for something else than a regular file or a directory: refused by what they are, in every environment.

use super::*;

/// Makes the link at the second path, which leads to the first.
type Symlink<'a> = &'a dyn Fn(&Path, &Path);

/// Runs `check` in every environment where links can be made, with a directory that is held.
fn where_there_are_links(check: impl Fn(&dyn Env, &Path, Symlink<'_>)) {
    let memory = memory::MemoryEnv::new();
    memory.create_dir(Path::new("/tmp")).unwrap();
    check(&*memory, Path::new("/tmp"), &|_, at| memory.symlink(at).unwrap());
    #[cfg(feature = "sim")]
    {
        let sim = sim::SimEnv::new(1);
        sim.create_dir(Path::new("/tmp")).unwrap();
        let held = sim.hold(Path::new("/tmp")).unwrap().unwrap();
        check(&*held, Path::new("/tmp"), &|target, at| sim.symlink(target, at).unwrap());
    }
    #[cfg(all(unix, not(miri)))]
    {
        let dir = tempfile::tempdir().unwrap();
        let held = real::RealEnv::new().hold(dir.path()).unwrap().unwrap();
        check(&*held, dir.path(), &|target, at| std::os::unix::fs::symlink(target, at).unwrap());
    }
}

/// What is found, what belongs there, and how far above the end of the path; anything else is a failure.
fn wrong<T>(result: io::Result<T>) -> (FileKind, Option<FileKind>, usize) {
    let Err(error) = result else { panic!("this should have failed") };
    let wrong = WrongKind::of(&error).unwrap_or_else(|| panic!("{error}"));
    (wrong.found, wrong.expected, wrong.above)
}

const NO_FILE: (FileKind, Option<FileKind>, usize) = (FileKind::Link, Some(FileKind::File), 0);
const NO_DIR: (FileKind, Option<FileKind>, usize) = (FileKind::Link, Some(FileKind::Dir), 0);
const WAYS: [Open; 4] = [Open::Read, Open::Write, Open::Create, Open::CreateNew];

#[test]
fn no_link_is_followed_at_the_end_of_a_path_or_on_its_way() {
    where_there_are_links(|env, dir, symlink| {
        let (target, link) = (dir.join("target"), dir.join("link"));
        env.create_dir(&target).unwrap();
        create(env, &target.join("file"), b"precious");
        symlink(&target, &link);
        symlink(&target.join("file"), &dir.join("file"));
        symlink(&dir.join("nothing"), &dir.join("dangling"));
        symlink(&dir.join("loop"), &dir.join("loop"));
        for name in ["link", "file", "dangling", "loop"] {
            let path = dir.join(name);
            for how in WAYS {
                match how {
                    Open::CreateNew => {
                        assert_eq!(kind(env.open(&path, how)), ErrorKind::AlreadyExists, "{name}")
                    }
                    how => assert_eq!(wrong(env.open(&path, how)), NO_FILE, "{name} {how:?}"),
                }
            }
            assert_eq!(wrong(env.lock(&path)), NO_FILE, "{name}");
            assert_eq!(wrong(env.metadata(&path)), (FileKind::Link, None, 0), "{name}");
            assert_eq!(wrong(env.list(&path)), NO_DIR, "{name}");
            assert_eq!(wrong(env.sync_dir(&path)), NO_DIR, "{name}");
            assert_eq!(wrong(env.remove_dir(&path)), NO_DIR, "{name}");
            assert_eq!(kind(env.create_dir(&path)), ErrorKind::AlreadyExists, "{name}");
        }
        // On the way to a file, and to a directory that does not exist.
        let above = (FileKind::Link, Some(FileKind::Dir), 1);
        let below = link.join("file");
        WAYS.into_iter().for_each(|how| assert_eq!(wrong(env.open(&below, how)), above, "{how:?}"));
        assert_eq!(wrong(env.metadata(&below)), above);
        assert_eq!(wrong(env.remove_file(&below)), above);
        assert_eq!(wrong(env.rename(&below, &dir.join("stolen"))), above);
        assert_eq!(wrong(env.rename(&target.join("file"), &link.join("put"))), above);
        assert_eq!(wrong(env.create_dir(&link.join("new"))), above);
        assert_eq!(wrong(env.list(&link.join("new"))), above);
        assert_eq!(content(&*env.open(&target.join("file"), Open::Read).unwrap()), b"precious");
        assert_eq!(list(env, &target), ["file"]);
    });
}

#[test]
fn a_link_is_listed_as_one_and_renamed_and_removed_as_a_name() {
    where_there_are_links(|env, dir, symlink| {
        let target = dir.join("target");
        env.create_dir(&target).unwrap();
        create(env, &target.join("file"), b"precious");
        symlink(&target, &dir.join("to-dir"));
        symlink(&target.join("file"), &dir.join("to-file"));
        let kinds: Vec<_> =
            env.list(dir).unwrap().into_iter().map(|entry| (entry.name, entry.kind)).collect();
        let expected = [("target", FileKind::Dir), ("to-dir", FileKind::Link), ("to-file", FileKind::Link)];
        assert_eq!(kinds, expected.map(|(name, kind)| (name.to_string(), kind)));
        env.rename(&dir.join("to-dir"), &dir.join("renamed")).unwrap();
        create(env, &dir.join("new"), b"new");
        env.rename(&dir.join("new"), &dir.join("to-file")).unwrap();
        env.remove_file(&dir.join("renamed")).unwrap();
        assert_eq!(content(&*env.open(&dir.join("to-file"), Open::Read).unwrap()), b"new");
        assert_eq!(content(&*env.open(&target.join("file"), Open::Read).unwrap()), b"precious");
        assert_eq!(list(env, dir), ["target/", "to-file"]);
    });
}

#[cfg(feature = "sim")]
#[test]
fn the_directory_that_is_held_may_be_reached_through_links() {
    let sim = sim::SimEnv::new(1);
    for dir in ["/data", "/data/log", "/other"] {
        sim.create_dir(Path::new(dir)).unwrap();
    }
    sim.symlink("../data", "/other/way").unwrap();
    sim.symlink("/other/way/log", "/log").unwrap();
    let held = sim.hold(Path::new("/log")).unwrap().unwrap();
    create(&*held, Path::new("/log/file"), b"content");
    assert_eq!(list(&sim, Path::new("/data/log")), ["file"]);
    // It stays the one that it was.
    sim.rename(Path::new("/data/log"), Path::new("/data/moved")).unwrap();
    assert_eq!(list(&*held, Path::new("/log")), ["file"]);
    sim.symlink("/loop", "/loop").unwrap();
    assert!(sim.hold(Path::new("/loop")).is_err() && sim.hold(Path::new("/nothing")).is_err());
}

#[cfg(all(unix, not(miri)))]
mod on_disk {
    use super::*;
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    use std::os::unix::net::UnixListener;

    /// Something of each kind, by name. Devices only where one may be made.
    fn of_every_kind(dir: &Path) -> Vec<(&'static str, FileKind)> {
        let mode = Mode::from_raw_mode(0o600);
        mknodat(CWD, dir.join("fifo"), FileType::Fifo, mode, 0).unwrap();
        drop(UnixListener::bind(dir.join("socket")).unwrap());
        let mut made = vec![("fifo", FileKind::Fifo), ("socket", FileKind::Socket)];
        let zero = rustix::fs::makedev(1, 5);
        match mknodat(CWD, dir.join("zero"), FileType::CharacterDevice, mode, zero) {
            Ok(()) => made.push(("zero", FileKind::Device)),
            Err(e) => eprintln!("no device is tried, for none can be made here: {e}"),
        }
        made
    }

    #[test]
    fn nothing_but_a_regular_file_is_opened_and_nothing_is_waited_for() {
        for held in [true, false] {
            let dir = tempfile::tempdir().unwrap();
            let dir = dir.path();
            let bare = real::RealEnv::new();
            let env = if held { bare.hold(dir).unwrap().unwrap() } else { bare };
            for (name, found) in of_every_kind(dir) {
                let path = dir.join(name);
                for how in [Open::Read, Open::Write, Open::Create] {
                    assert_eq!(
                        wrong(env.open(&path, how)),
                        (found, Some(FileKind::File), 0),
                        "{name} {how:?}"
                    );
                }
                assert_eq!(wrong(env.lock(&path)), (found, Some(FileKind::File), 0), "{name}");
                assert_eq!(wrong(env.metadata(&path)), (found, None, 0), "{name}");
                for result in [env.list(&path).map(drop), env.sync_dir(&path), env.remove_dir(&path)] {
                    assert_eq!(wrong(result), (found, Some(FileKind::Dir), 0), "{name}");
                }
                assert!(env.list(dir).unwrap().iter().any(|entry| entry.name == name && entry.kind == found));
                env.remove_file(&path).unwrap();
            }
            assert!(list(&*env, dir).is_empty());
        }
    }

    #[test]
    fn a_path_below_a_held_directory_does_not_lead_out_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let (log, outside) = (dir.path().join("log"), dir.path().join("outside"));
        std::fs::create_dir(&log).unwrap();
        std::fs::write(&outside, "precious").unwrap();
        let env = real::RealEnv::new().hold(&log).unwrap().unwrap();
        for how in WAYS {
            assert_eq!(kind(env.open(&log.join("../outside"), how)), ErrorKind::InvalidInput, "{how:?}");
        }
        assert_eq!(kind(env.remove_file(&log.join("../outside"))), ErrorKind::InvalidInput);
        assert_eq!(kind(env.rename(&log.join("../outside"), &log.join("in"))), ErrorKind::InvalidInput);
        assert_eq!(std::fs::read(&outside).unwrap(), b"precious");
    }

    #[test]
    fn a_lock_that_has_another_name_is_taken_and_written_under_its_own_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (env, path) = (real::RealEnv::new(), dir.path().join("LOCK"));
        std::fs::write(dir.path().join("backup"), "as it was").unwrap();
        std::fs::hard_link(dir.path().join("backup"), &path).unwrap();
        let other = std::fs::File::open(dir.path().join("backup")).unwrap();
        other.try_lock().unwrap();
        assert_eq!(kind(env.lock(&path)), ErrorKind::WouldBlock);
        drop(other);
        let lock = env.lock(&path).unwrap();
        lock.write(b"mine").unwrap();
        assert_eq!(kind(env.lock(&path)), ErrorKind::WouldBlock);
        assert_eq!(std::fs::read(&path).unwrap(), b"mine");
        assert_eq!(std::fs::read(dir.path().join("backup")).unwrap(), b"as it was");
    }
}
