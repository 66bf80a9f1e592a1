//! Files around another file, for tests: the methods they have nothing to add to.

/// `forward_to_file!(read_at, len)` inside an `impl File`: these methods are those of `self.file`.
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

pub(crate) use forward_to_file;
