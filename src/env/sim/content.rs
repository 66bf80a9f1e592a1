//! The bytes of a file as shared pages.

use std::sync::Arc;

const PAGE: usize = 4096;

/// The most bytes of a file.
pub(super) const MAX_LEN: u64 = 1 << 40;

/// The bytes of a file. A page that was never written takes no memory, and reads as zeros.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    len: u64,
    pages: Vec<Option<Arc<[u8; PAGE]>>>,
}

impl Content {
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Fills `buf` from `position` on, up to the end of the file.
    pub(super) fn read(&self, buf: &mut [u8], position: u64) -> usize {
        let left = self.len.saturating_sub(position).min(buf.len() as u64) as usize;
        let mut done = 0;
        while done < left {
            let at = position as usize + done;
            let (page, within) = (at / PAGE, at % PAGE);
            let n = (PAGE - within).min(left - done);
            match self.pages.get(page).and_then(Option::as_ref) {
                Some(bytes) => buf[done..done + n].copy_from_slice(&bytes[within..within + n]),
                None => buf[done..done + n].fill(0),
            }
            done += n;
        }
        left
    }

    /// The end of the last written page.
    pub(super) fn data_end(&self) -> u64 {
        let pages = self.pages.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
        (pages * PAGE) as u64
    }

    /// Writes, and grows the file; the caller stays below [`MAX_LEN`].
    pub(super) fn write(&mut self, data: &[u8], position: u64) {
        if data.is_empty() {
            return;
        }
        self.len = self.len.max(position + data.len() as u64);
        self.put(data, position);
    }

    /// Writes the part that lies within the file, which keeps its length.
    pub(super) fn write_within(&mut self, data: &[u8], position: u64) {
        let n = self.len.saturating_sub(position).min(data.len() as u64) as usize;
        self.put(&data[..n], position);
    }

    fn put(&mut self, data: &[u8], position: u64) {
        let mut done = 0;
        while done < data.len() {
            let at = position as usize + done;
            let (page, within) = (at / PAGE, at % PAGE);
            let n = (PAGE - within).min(data.len() - done);
            if self.pages.len() <= page {
                self.pages.resize(page + 1, None);
            }
            let bytes = Arc::make_mut(self.pages[page].get_or_insert_with(|| Arc::new([0; PAGE])));
            bytes[within..within + n].copy_from_slice(&data[done..done + n]);
            done += n;
        }
    }

    pub(super) fn set_len(&mut self, len: u64) {
        if len < self.len {
            let (page, within) = ((len / PAGE as u64) as usize, (len % PAGE as u64) as usize);
            self.pages.truncate(page + usize::from(within > 0));
            if within > 0
                && let Some(Some(bytes)) = self.pages.get_mut(page)
            {
                Arc::make_mut(bytes)[within..].fill(0);
            }
        }
        self.len = len;
    }

    pub(super) fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len as usize];
        self.read(&mut bytes, 0);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_behind_a_cut_do_not_come_back() {
        let mut content = Content::default();
        content.write(&[7; 9000], 100);
        let before = content.clone();
        content.set_len(5000);
        content.set_len(9100);
        let bytes = content.to_vec();
        assert!(bytes[100..5000].iter().all(|b| *b == 7) && bytes[5000..].iter().all(|b| *b == 0));
        assert!(before.to_vec()[100..].iter().all(|b| *b == 7), "a copy shares pages, not changes");
        content.write_within(&[9; 10], 9095);
        assert_eq!(content.len(), 9100);
        assert_eq!(content.to_vec()[9094..], [0, 9, 9, 9, 9, 9]);
    }
}
