//! The machine under all this, and what a process takes of it. Linux's `/proc`; elsewhere the figures are missing.

use std::{fs, path::Path, time::Duration};

/// One line on the machine: processor, memory, kernel, file system.
pub fn describe(dir: &Path) -> String {
    let model = field("/proc/cpuinfo", "model name").unwrap_or_else(|| std::env::consts::ARCH.to_string());
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = field("/proc/meminfo", "MemTotal").and_then(|kib| number(&kib)).unwrap_or(0) >> 20;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!(
        "{model}, {cores} cores, {memory} GiB, {} {}, {}",
        std::env::consts::OS,
        kernel.trim(),
        file_system(dir).unwrap_or_else(|| "unknown file system".to_string())
    )
}

/// The type of the file system that holds `dir`: the mount with the longest matching name.
fn file_system(dir: &Path) -> Option<String> {
    let dir = dir.canonicalize().ok()?;
    let mounts = fs::read_to_string("/proc/mounts").ok()?;
    let mounts = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        let (at, kind) = (words.next()?, words.next()?);
        dir.starts_with(at).then(|| (at.len(), kind.to_string()))
    });
    mounts.max_by_key(|(length, _)| *length).map(|(_, kind)| kind)
}

fn field(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_string())
}

fn number(text: &str) -> Option<u64> {
    text.split_whitespace().next()?.parse().ok()
}

/// What a process holds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Held {
    pub anonymous_bytes: u64,
    pub threads: u64,
    pub mappings: u64,
}

/// What this process holds now.
pub fn held() -> Held {
    let status = |name| field("/proc/self/status", name).and_then(|value| number(&value)).unwrap_or(0);
    Held {
        anonymous_bytes: status("RssAnon") << 10,
        threads: status("Threads"),
        mappings: fs::read_to_string("/proc/self/maps").map_or(0, |maps| maps.lines().count() as u64),
    }
}

/// Does `work` while another thread looks at this process every millisecond; tells the most anonymous memory it saw
/// beyond what was there before.
pub fn peak_anonymous<T>(work: impl FnOnce() -> T) -> (T, u64) {
    use std::sync::atomic::{AtomicBool, Ordering};
    let done = AtomicBool::new(false);
    let before = held().anonymous_bytes;
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut peak = 0;
            while !done.load(Ordering::Relaxed) {
                peak = peak.max(held().anonymous_bytes);
                std::thread::sleep(Duration::from_millis(1));
            }
            peak.max(held().anonymous_bytes)
        });
        let result = work();
        done.store(true, Ordering::Relaxed);
        (result, watcher.join().unwrap_or(0).saturating_sub(before))
    })
}

/// The bytes of all files below a directory.
pub fn bytes_below(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => bytes_below(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    });
    sizes.sum()
}
