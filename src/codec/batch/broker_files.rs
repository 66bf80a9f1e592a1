//! Every batch that a real Kafka broker wrote into the fixtures, decoded.
//!
//! The fixtures lie outside the crate and most people do not have them: without them this says so and passes.

use super::*;
use crate::codec::{compress::is_available, control::ControlRecord};
use std::path::{Path, PathBuf};

fn log_files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            log_files(&path, found);
        } else if path.extension().is_some_and(|e| e == "log") {
            found.push(path);
        }
    }
}

#[test]
fn every_batch_that_a_broker_wrote_decodes() {
    let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let Some(root) = above.map(|dir| dir.join("shared/fixtures/kafka")).find(|dir| dir.is_dir()) else {
        return eprintln!("SKIPPED: no shared/fixtures/kafka beside the repository");
    };
    let mut files = Vec::new();
    log_files(&root, &mut files);
    assert!(!files.is_empty(), "no segments under {}", root.display());
    let (mut batches, mut records, mut markers) = (0, 0, 0);
    for path in files {
        let file = Bytes::from(std::fs::read(&path).unwrap());
        let mut at = 0;
        while at < file.len() {
            let batch = RecordBatch::parse(file.slice(at..))
                .unwrap_or_else(|error| panic!("{} at {at}: {error}", path.display()));
            batch.verify_crc().unwrap_or_else(|error| panic!("{} at {at}: {error}", path.display()));
            let header = *batch.header();
            assert_eq!(header.to_bytes(), batch.bytes()[..HEADER_LEN], "{} at {at}", path.display());
            at += batch.bytes().len();
            batches += 1;
            markers += usize::from(matches!(
                ControlRecord::of_batch(batch.bytes()),
                Some(ControlRecord::Marker { .. })
            ));
            if !is_available(header.compression()) {
                eprintln!("SKIPPED: a batch with {} in {}", header.compression(), path.display());
                continue;
            }
            let valid = batch.records(64 << 20).and_then(Records::validate);
            let valid = valid.unwrap_or_else(|error| panic!("{} before {at}: {error}", path.display()));
            assert_eq!(valid.iter().count(), header.record_count as usize);
            records += valid.len();
        }
    }
    eprintln!("{batches} batches, {records} records, {markers} markers");
    assert!(batches > 100 && records > 1000 && markers > 0);
}
