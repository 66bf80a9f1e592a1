//! What is outside a log's directory stays outside. On real directories, which have links of both sorts.

use crate::{promises, world::*};
use std::{
    fs,
    path::{Path, PathBuf},
};
use streamlog::{
    Error, RecordData, Result, Streamlog, TopicConfig,
    config::{Builder, ConfigChange, ReadMode},
};

promises! {
    no_link_is_followed_below_the_logs_directory: "src/manual/on_disk.rs",
        "below it no link is followed, anywhere in a path" => [follow_links];
    nothing_but_files_is_read: "src/manual/on_disk.rs",
        "only regular files and directories are opened" => [read_whatever_has_the_name];
    a_backup_by_hard_links_does_not_change: "src/manual/on_disk.rs",
        "a closed log that was copied with cp -al stays as it was copied" => [write_through_other_names, rewrite_a_sidecar_through_other_names];
    what_takes_a_files_place_is_not_taken_for_it: "src/manual/on_disk.rs",
        "A file that takes the place of another while the log is open is not mistaken for it" => [open_what_has_the_name_now];
    a_manifest_names_no_other_topics_than_the_api: "src/manual/on_disk.rs",
        "a manifest cannot name a topic that create_topic would refuse" => [believe_any_name];
}

fn open_at(dir: &Path) -> Result<Streamlog> {
    Streamlog::builder(dir).background_thread(false).open()
}

/// A closed log with a record, in a directory of a directory.
fn closed() -> (tempfile::TempDir, PathBuf) {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("log");
    let log = open_at(&dir).unwrap();
    let partition = log.create_topic("t", TopicConfig::default()).unwrap().partition(0).unwrap();
    partition.append(&[RecordData::new("a")]).unwrap();
    drop(partition);
    log.close().unwrap();
    (home, dir)
}

/// What the opening says of something in the place of the marks.
fn refused(dir: &Path) -> String {
    match open_at(dir) {
        Err(error @ Error::Corrupt { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

fn no_link_is_followed_below_the_logs_directory() {
    let (home, dir) = closed();
    let (outside, marks) = (home.path().join("outside"), dir.join("marks"));
    fs::rename(&marks, &outside).unwrap();
    std::os::unix::fs::symlink(&outside, &marks).unwrap();
    let before = fs::read(&outside).unwrap();
    let text = refused(&dir);
    assert!(text.contains("/marks") && text.contains("a symbolic link"), "{text}");
    assert_eq!(fs::read(&outside).unwrap(), before);
}

fn nothing_but_files_is_read() {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    let (_home, dir) = closed();
    fs::remove_file(dir.join("marks")).unwrap();
    mknodat(CWD, dir.join("marks"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    let text = refused(&dir);
    assert!(text.contains("/marks") && text.contains("a FIFO"), "{text}");
}

fn a_backup_by_hard_links_does_not_change() {
    let (home, dir) = closed();
    let backup = home.path().join("backup");
    fs::create_dir(&backup).unwrap();
    let files = || fs::read_dir(dir.join("t-0")).unwrap().map(|entry| entry.unwrap().path());
    for file in files() {
        fs::hard_link(&file, backup.join(file.file_name().unwrap())).unwrap();
    }
    let before: Vec<_> =
        files().map(|file| (file.file_name().unwrap().to_owned(), fs::read(file).unwrap())).collect();
    let log = open_at(&dir).unwrap();
    let partition = log.topic("t").unwrap().partition(0).unwrap();
    partition.append(&[RecordData::new("b")]).unwrap();
    // A roll writes indexes where they are.
    log.alter_topic("t", &[ConfigChange::set("segment.bytes", "700")]).unwrap();
    partition.append(&[RecordData::new(&[7; 500])]).unwrap();
    assert_eq!(partition.segment_count(), 2);
    log.close().unwrap();
    for (name, bytes) in before {
        assert_eq!(fs::read(backup.join(&name)).unwrap(), bytes, "{name:?}");
    }
}

fn what_takes_a_files_place_is_not_taken_for_it() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("log");
    // Each file that is read is opened by its name.
    let builder = Streamlog::builder(&dir).background_thread(false).read_mode(ReadMode::Pread);
    let log = builder.max_open_files(1).open().unwrap();
    let topic = log.create_topic("t", TopicConfig::default().partitions(4)).unwrap();
    let partitions = topic.partitions();
    let all = || partitions.iter().zip(["a", "b", "c", "d"]);
    for (partition, value) in all() {
        partition.append(&[RecordData::new(value)]).unwrap();
    }
    fs::rename(dir.join("t-1"), home.path().join("away")).unwrap();
    fs::rename(dir.join("t-0"), dir.join("t-1")).unwrap();
    for (partition, value) in all().chain(all()) {
        let values = partition.records(0).map_while(|record| record.ok()?.value);
        values.for_each(|found| assert_eq!(found, value));
    }
}

fn a_manifest_names_no_other_topics_than_the_api() {
    let world = World::new(1);
    world.log.create_topic("it", TopicConfig::default()).unwrap();
    let env = world.env.crash(streamlog::sim::Crash::Kill, 1);
    let mut manifest = env.files()["/log/manifest"].clone();
    let name = manifest.windows(6).rposition(|bytes| bytes == b"\0\0\0\x02it").unwrap();
    manifest[name + 4..name + 6].fill(b'.');
    // The topic's id, and the header of the record: type, zeros, length, checksum.
    let (payload, header) = (name - 16, name - 28);
    let len = u32::from_be_bytes(manifest[header + 4..header + 8].try_into().unwrap()) as usize;
    let sum = crc32fast::hash(&[&manifest[header..header + 8], &manifest[payload..payload + len]].concat());
    manifest[header + 8..payload].copy_from_slice(&sum.to_be_bytes());
    env.overwrite("/log/manifest", &manifest).unwrap();
    let error = Builder::env(&env, "/log").background_thread(false).open().unwrap_err();
    assert!(error.to_string().contains("no topic's name"), "{error}");
}
