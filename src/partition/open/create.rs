//! The beginning of a new log: a directory with an empty segment, which counts once the manifest names it.

use crate::{
    codec::{
        checkpoint::{encode_epochs, encode_partition_identity, encode_partition_metadata},
        mark::Mark,
    },
    error::{Error, Result},
    partition::{
        log::Log,
        open::{assemble::LogParts, segments::existing},
        state::{append_state::AppendState, identity::Identity, log_config::LogConfig},
    },
    storage::{
        data_dir::DataDir,
        foreign_files::{is_no_file, sync_dir},
        layout::{LEADER_EPOCHS, PARTITION_IDENTITY, PARTITION_METADATA, SegmentFile},
        scan::LEADER_EPOCH,
        segment::ActiveSegment,
        sidecar::{remove_segment_files, write_unflushed},
    },
    types::Offset,
};
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Creates the directory, the first segment and the identity of a new log. Nothing of it counts before the manifest
/// names it. The contents of the directory are durable when this returns, unless the caller does that for many at a
/// time: its descriptor, opened before, reports what failed.
pub fn prepare(data_dir: &DataDir, identity: &Identity, durably: bool) -> Result<()> {
    let env = &*data_dir.env;
    let dir = &identity.dir;
    match env.create_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => clear_leftovers(data_dir, identity)?,
        other => other.map_err(|e| Error::io("create", dir, e))?,
    }
    drop(ActiveSegment::create(&data_dir.pool, dir, Offset::ZERO, 0)?);
    let metadata = encode_partition_metadata(&identity.topic_id);
    let own = encode_partition_identity(&identity.topic_id, identity.name.partition);
    let epochs = encode_epochs(&[(LEADER_EPOCH, Offset::ZERO)]);
    for (name, content) in
        [(PARTITION_METADATA, metadata), (PARTITION_IDENTITY, own), (LEADER_EPOCHS, epochs)]
    {
        let path = dir.join(name);
        let file = write_unflushed(env, &path, content.as_bytes())?;
        if durably {
            file.sync_data().map_err(|e| Error::io("flush", &path, e))?;
        }
    }
    if durably {
        sync_dir(env, dir)?;
    }
    data_dir.marks.write(identity.slot, &Mark::blank(&identity.topic_id, identity.name.partition))
}

/// A log that was just prepared, and that the manifest names now.
pub fn created(data_dir: &Arc<DataDir>, identity: Identity, config: Arc<LogConfig>) -> Arc<Log> {
    let segment = existing(data_dir, &identity, &config, Offset::ZERO, 0);
    segment.expect_no_gaps(Some(LEADER_EPOCH));
    let writer = AppendState::Unloaded { size: 0, new_incarnation: false };
    let parts = LogParts::new(identity, config, writer);
    LogParts { segments: vec![segment], ..parts }.assemble(data_dir)
}

/// Kafka's name for the directory of a partition that no longer exists: `<topic>-<partition>.<32 digits>-<why>`. Its
/// beginning is shortened, so that the name stays below 255 bytes.
pub fn aside_name(data_dir: &DataDir, dir: &Path, why: &str) -> PathBuf {
    let name = dir.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    let kept: String = name.chars().take(200).collect();
    data_dir.dir.join(format!("{kept}.{:016x}{:016x}-{why}", data_dir.env.random(), data_dir.env.random()))
}

/// A directory without an entry in the manifest: left by a creation or a deletion that a crash cut short, or foreign.
/// Empty segments are removed; records never are, but put aside under Kafka's name for a replica that is no longer
/// assigned.
fn clear_leftovers(data_dir: &DataDir, identity: &Identity) -> Result<()> {
    let dir = &identity.dir;
    let env = &*data_dir.env;
    let entries = env.list(dir).map_err(|e| Error::io("list", dir, e))?;
    let mut has_data = false;
    for entry in entries.iter().filter(|e| SegmentFile::Log.parse(&e.name).is_some()) {
        let path = dir.join(&entry.name);
        has_data |= match env.metadata(&path) {
            Err(e) if is_no_file(&e) => true,
            found => found.map_err(|e| Error::io("measure", &path, e))?.len > 0,
        };
    }
    if !has_data {
        return remove_segment_files(env, dir, Offset::ZERO);
    }
    let aside = aside_name(data_dir, dir, "stray");
    env.rename(dir, &aside).map_err(|e| Error::io("put aside", dir, e))?;
    env.create_dir(dir).map_err(|e| Error::io("create", dir, e))
}
