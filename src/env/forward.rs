//! Files around another file, and environments around another one: the methods that they have nothing to add to.

/// `forward_to_file!(read_at, len)` inside an `impl File`: these methods are those of `self.file`.
#[cfg(test)]
macro_rules! forward_to_file {
    ($($method:ident),+ $(,)?) => { $( $crate::env::forward_to_file!(@ $method); )+ };
    (@ read_at) => {
        fn read_at(&self, buf: &mut [u8], position: u64) -> std::io::Result<usize> {
            self.file.read_at(buf, position)
        }
    };
    (@ write_at) => {
        fn write_at(&self, buf: &[u8], position: u64) -> std::io::Result<usize> {
            self.file.write_at(buf, position)
        }
    };
    (@ sync_data) => {
        fn sync_data(&self) -> std::io::Result<()> {
            self.file.sync_data()
        }
    };
    (@ len) => {
        fn len(&self) -> std::io::Result<u64> {
            self.file.len()
        }
    };
    (@ set_len) => {
        fn set_len(&self, len: u64) -> std::io::Result<()> {
            self.file.set_len(len)
        }
    };
    (@ allocate) => {
        fn allocate(&self, len: u64) -> std::io::Result<()> {
            self.file.allocate(len)
        }
    };
    (@ read_past_cache) => {
        fn read_past_cache(&self, buf: &mut [u8], position: u64) -> std::io::Result<usize> {
            self.file.read_past_cache(buf, position)
        }
    };
    (@ region) => {
        fn region(&self, capacity: u64) -> std::io::Result<std::sync::Arc<dyn $crate::env::Region>> {
            self.file.region(capacity)
        }
    };
}

/// `forward_to_env!(env: random, wait)` inside an `impl Env`: these methods are those of `self.env`.
macro_rules! forward_to_env {
    ($env:ident: $($method:ident),+ $(,)?) => { $( $crate::env::forward_to_env!(@ $env $method); )+ };
    (@ $env:ident create_dir) => {
        fn create_dir(&self, path: &std::path::Path) -> std::io::Result<()> {
            self.$env.create_dir(path)
        }
    };
    (@ $env:ident list) => {
        fn list(&self, dir: &std::path::Path) -> std::io::Result<Vec<$crate::env::DirEntry>> {
            self.$env.list(dir)
        }
    };
    (@ $env:ident metadata) => {
        fn metadata(&self, path: &std::path::Path) -> std::io::Result<$crate::env::Metadata> {
            self.$env.metadata(path)
        }
    };
    (@ $env:ident rename) => {
        fn rename(&self, from: &std::path::Path, to: &std::path::Path) -> std::io::Result<()> {
            self.$env.rename(from, to)
        }
    };
    (@ $env:ident remove_file) => {
        fn remove_file(&self, path: &std::path::Path) -> std::io::Result<()> {
            self.$env.remove_file(path)
        }
    };
    (@ $env:ident remove_dir) => {
        fn remove_dir(&self, path: &std::path::Path) -> std::io::Result<()> {
            self.$env.remove_dir(path)
        }
    };
    (@ $env:ident sync_dir) => {
        fn sync_dir(&self, dir: &std::path::Path) -> std::io::Result<()> {
            self.$env.sync_dir(dir)
        }
    };
    (@ $env:ident lock) => {
        fn lock(&self, path: &std::path::Path) -> std::io::Result<Box<dyn $crate::env::Lock>> {
            self.$env.lock(path)
        }
    };
    (@ $env:ident now) => {
        fn now(&self) -> $crate::types::Timestamp {
            self.$env.now()
        }
    };
    (@ $env:ident monotonic) => {
        fn monotonic(&self) -> std::time::Duration {
            self.$env.monotonic()
        }
    };
    (@ $env:ident random) => {
        fn random(&self) -> u64 {
            self.$env.random()
        }
    };
    (@ $env:ident identity) => {
        fn identity(&self) -> (u32, String) {
            self.$env.identity()
        }
    };
    (@ $env:ident wait) => {
        fn wait(&self, signal: &$crate::env::sync::Signal, seen: u64, deadline: Option<std::time::Duration>) {
            self.$env.wait(signal, seen, deadline);
        }
    };
    (@ $env:ident spawn) => {
        fn spawn(
            &self,
            name: &str,
            signal: std::sync::Arc<$crate::env::sync::Signal>,
            task: Box<dyn $crate::env::Task>,
        ) -> std::io::Result<Box<dyn $crate::env::Running>> {
            self.$env.spawn(name, signal, task)
        }
    };
    (@ $env:ident run_all) => {
        fn run_all(&self, jobs: Vec<$crate::env::Job>) {
            self.$env.run_all(jobs);
        }
    };
    (@ $env:ident job_threads) => {
        fn job_threads(&self) -> usize {
            self.$env.job_threads()
        }
    };
    (@ $env:ident end_job_threads) => {
        fn end_job_threads(&self) {
            self.$env.end_job_threads();
        }
    };
}

pub(crate) use forward_to_env;
#[cfg(test)]
pub(crate) use forward_to_file;
