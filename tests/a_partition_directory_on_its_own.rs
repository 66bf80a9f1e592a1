//! A partition's directory opened without its log: beside a live writer, after a close, and without changing a byte.

mod support;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};
use streamlog::{ErrorKind, Offset, RecordData, Streamlog, TopicConfig, dir::PartitionDir};
use support::all_files;

/// Every file below `dir`: its bytes and when it was last written.
fn image(dir: &Path) -> BTreeMap<PathBuf, (Vec<u8>, SystemTime)> {
    let state = |path: &Path| (fs::read(path).unwrap(), fs::metadata(path).unwrap().modified().unwrap());
    all_files(dir).into_iter().map(|file| (file.clone(), state(&dir.join(file)))).collect()
}

fn values(dir: &PartitionDir) -> Vec<String> {
    let mut values = Vec::new();
    for batch in dir.read(dir.log_start_offset()) {
        for record in &batch.unwrap() {
            values.push(String::from_utf8(record.value.unwrap().to_vec()).unwrap());
        }
    }
    values
}

#[test]
fn it_reads_beside_a_live_writer_and_after_it_and_changes_nothing() {
    let base = tempfile::tempdir().unwrap();
    // Between its calls it writes nothing, as one with a thread of its own would at any moment.
    let log = Streamlog::builder(base.path()).background_thread(false).open().unwrap();
    let config = TopicConfig::default().segment_bytes(4096);
    let topic = log.create_topic("orders", config).unwrap();
    let partition = topic.partition(0).unwrap();
    let path = base.path().join("orders-0");
    assert_eq!(PartitionDir::open_read_only(&path).unwrap().log_end_offset(), Offset::ZERO);

    let mut written = Vec::new();
    for i in 0..300 {
        let value = format!("order {i}");
        partition.append(&[RecordData::new(&value)]).unwrap();
        written.push(value);
    }
    let before = image(base.path());
    let live = PartitionDir::open_read_only(&path).unwrap();
    assert_eq!(values(&live), written);
    assert_eq!((&live.report().torn_end, live.report().damage.len()), (&None, 0));
    assert_eq!(live.topic_id().unwrap(), Some(topic.id()));
    assert_eq!(live.append(&[RecordData::new("no")]).unwrap_err().kind(), ErrorKind::ReadOnly);
    assert_eq!(image(base.path()), before);

    log.delete_records("orders", 0, Offset::new(100)).unwrap();
    let live = PartitionDir::open_read_only(&path).unwrap();
    assert_eq!(live.log_start_offset(), 100, "the manifest says so");
    assert_eq!(values(&live), written[100..]);

    partition.append(&[RecordData::new("the last")]).unwrap();
    written.push("the last".to_string());
    log.close().unwrap();
    let before = image(base.path());
    let closed = PartitionDir::open_read_only(&path).unwrap();
    assert_eq!(values(&closed), written[100..]);
    assert_eq!(closed.last(1).unwrap()[0].offset, 300);
    assert_eq!(image(base.path()), before);
}

#[cfg(unix)]
#[test]
fn it_needs_no_right_to_write() {
    use std::os::unix::fs::PermissionsExt;
    let base = tempfile::tempdir().unwrap();
    let log = Streamlog::open(base.path()).unwrap();
    let topic = log.create_topic("t", TopicConfig::default()).unwrap();
    topic.partition(0).unwrap().append(&[RecordData::new("v")]).unwrap();
    log.close().unwrap();
    let path = base.path().join("t-0");
    let allow = |files: u32, dirs: u32| {
        for entry in fs::read_dir(&path).unwrap() {
            fs::set_permissions(entry.unwrap().path(), fs::Permissions::from_mode(files)).unwrap();
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(dirs)).unwrap();
    };
    allow(0o444, 0o555);
    let read = PartitionDir::open_read_only(&path).map(|dir| values(&dir));
    allow(0o644, 0o755);
    assert_eq!(read.unwrap(), ["v"]);
}
