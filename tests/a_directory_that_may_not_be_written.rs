//! Without the right to write, opening says so and reading works; without the right to read, the error names the file.
//! (I14)
//!
//! Whoever runs as root may do everything, so the test starts its own program once more as nobody.

#![cfg(target_os = "linux")]

mod support;

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};
use streamlog::{Durability, Error, Streamlog, TopicConfig};
use support::*;

/// Says to a copy of this program which directory to try.
const DIRECTORY: &str = "STREAMLOG_TEST_DIRECTORY";
const NOBODY: &str = "65534";

fn allow(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Directories may be listed and files read, by everybody; nothing may be written.
fn protect(dir: &Path) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { protect(&path) } else { allow(&path, 0o444) }
    }
    allow(dir, 0o555);
}

fn assert_denied(error: Error, expected: &Path) {
    match error {
        Error::Io { path, source, .. } => {
            assert_eq!(path, expected);
            assert_eq!(source.kind(), io::ErrorKind::PermissionDenied);
        }
        other => panic!("{other}"),
    }
}

/// Not a test of its own: what nobody can do, when the program was started as nobody.
#[test]
fn nobody() {
    let Ok(dir) = std::env::var(DIRECTORY) else { return };
    check(&PathBuf::from(dir));
}

fn check(dir: &Path) {
    for name in ["closed", "killed"] {
        let dir = dir.join(name);
        assert_denied(Streamlog::open(&dir).unwrap_err(), &dir.join("LOCK"));
        let log = Streamlog::open_read_only(&dir).unwrap();
        for topic in log.topics().unwrap() {
            let (end, error) = read_from(&topic.partition(0).unwrap(), 0);
            assert!(error.is_none(), "{name}: {error:?}");
            assert_eq!(end, 200, "{name}: {}", topic.name());
        }
    }
    let new = dir.join("closed/new");
    assert_denied(Streamlog::open(&new).unwrap_err(), &new);
    let hidden = dir.join("hidden");
    let log = Streamlog::open_read_only(&hidden);
    // Whether the opening or the reading notices, the file is named.
    let error = match log {
        Err(error) => error,
        Ok(log) => read_from(&log.topic("flushed").unwrap().partition(0).unwrap(), 0).1.unwrap(),
    };
    assert_denied(error, &hidden.join("flushed-0/00000000000000000000.log"));

    // A directory that can be entered and written, and not listed: the first opening works as the second does.
    for _ in 0..2 {
        Streamlog::open(dir.join("entered/new/log")).unwrap().close().unwrap();
    }

    let volume = Streamlog::open(dir.join("volume")).unwrap();
    volume.create_topic("t", TopicConfig::default()).unwrap();
    assert!(volume.disk_usage().unwrap().topics.contains_key("t"));
}

#[test]
fn without_the_right_to_write_reading_works_and_without_that_to_read_the_file_is_named() {
    let root = quick_dir();
    let [living, closed, killed, hidden] =
        ["living", "closed", "killed", "hidden"].map(|name| root.path().join(name));
    let log = Streamlog::open(&living).unwrap();
    for (name, durability) in [("flushed", Durability::Flushed), ("written", Durability::Written)] {
        let config = TopicConfig::default().segment_bytes(4000).durability(durability);
        let partition = log.create_topic(name, config).unwrap().partition(0).unwrap();
        (0..200).for_each(|i| append_batch(&partition, i..i + 1).unwrap());
    }
    image(&living, &killed);
    log.close().unwrap();
    image(&living, &closed);
    image(&living, &hidden);
    [&closed, &killed, &hidden].into_iter().for_each(|dir| protect(dir));
    allow(&hidden.join("flushed-0/00000000000000000000.log"), 0);
    allow(root.path(), 0o755);
    let [entered, volume] = ["entered", "volume"].map(|name| root.path().join(name));
    let lost = volume.join("lost+found");
    [&entered, &volume, &lost].into_iter().for_each(|dir| fs::create_dir(dir).unwrap());
    [(&entered, 0o333), (&volume, 0o777), (&lost, 0)].into_iter().for_each(|(dir, mode)| allow(dir, mode));

    let is_root = fs::metadata("/proc/self").is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0);
    if is_root {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"]);
        command.arg(std::env::current_exe().unwrap()).args(["--exact", "nobody", "--nocapture"]);
        match command.env(DIRECTORY, root.path()).output() {
            Ok(output) if output.status.success() => {}
            // Where the program itself is out of nobody's reach, setpriv fails before it begins.
            Ok(output) if output.status.code() != Some(101) => eprintln!("SKIPPED: {output:?}"),
            Ok(output) => panic!("{}", String::from_utf8_lossy(&output.stderr)),
            Err(error) => eprintln!("SKIPPED: this cannot be tried as root without setpriv: {error}"),
        }
    } else {
        check(root.path());
    }
    // So that the directories can be removed.
    [entered, lost].iter().for_each(|dir| allow(dir, 0o755));
    for dir in [closed, killed, hidden] {
        allow(&dir, 0o755);
        ["flushed-0", "written-0"].iter().for_each(|name| allow(&dir.join(name), 0o755));
    }
}
