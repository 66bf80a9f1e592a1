//! An environment without a disk.
//!
//! A tree of directories and files in memory that answers as the real one does, down to the kinds of its errors. What
//! it holds is gone with the last handle on it; flushing is free, and reading past the cache reads the same. Clock,
//! threads and waits are the machine's. Paths have one root, with or without a leading slash. Only tests can make links
//! here, and none is followed anywhere.
//!
//! One mutex guards the tree, one lock each the content of a file; the tree's may be held while a file's is taken, never
//! the other way round.

mod extents;

use super::sync::{AtomicBool, Mutex, Ordering, RwLock, Signal};
use super::{
    DirEntry, Env, File, FileKind, Job, Lock, Metadata, Open, Region, Running, Task, WrongKind, machine,
};
use crate::types::Timestamp;
use bytes::Bytes;
use extents::Extents;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{self, ErrorKind};
use std::path::{Component, Path};
use std::{fmt, ops::Range, sync::Arc, time::Duration};

/// Directories and files in memory.
#[derive(Debug)]
pub struct MemoryEnv {
    root: Mutex<Dir>,
}

#[derive(Debug)]
struct Dir {
    entries: BTreeMap<OsString, Node>,
    modified: Timestamp,
}

#[derive(Debug)]
enum Node {
    Dir(Dir),
    File(Arc<Inode>),
    #[cfg_attr(not(test), allow(dead_code, reason = "nobody else makes one"))]
    Link,
}

impl Node {
    fn kind(&self) -> FileKind {
        match self {
            Node::Dir(_) => FileKind::Dir,
            Node::File(_) => FileKind::File,
            Node::Link => FileKind::Link,
        }
    }

    /// An error that says that this is not what was looked for, a number of names above the end of the path.
    fn is_no(&self, expected: FileKind, above: usize) -> io::Error {
        WrongKind { found: self.kind(), expected: Some(expected), above }.into_io()
    }
}

/// A file, whatever its name is now.
struct Inode {
    content: RwLock<Content>,
    locked: AtomicBool,
}

struct Content {
    extents: Extents,
    modified: Timestamp,
}

impl MemoryEnv {
    /// An empty tree: there is the root directory, and nothing in it.
    pub fn new() -> Arc<MemoryEnv> {
        Arc::new(MemoryEnv { root: Mutex::new(Dir::new()) })
    }

    /// Makes a symbolic link. Where it leads does not matter: nobody goes there.
    #[cfg(test)]
    pub fn symlink(&self, at: &Path) -> io::Result<()> {
        let mut root = self.root.lock();
        match root.parent_of(at)? {
            Some((dir, name)) if !dir.entries.contains_key(name) => {
                dir.put(name, Node::Link);
                Ok(())
            }
            _ => Err(ErrorKind::AlreadyExists.into()),
        }
    }

    fn open_inode(&self, path: &Path, how: Open) -> io::Result<Arc<Inode>> {
        let mut root = self.root.lock();
        let Some((dir, name)) = root.parent_of(path)? else { return Err(ErrorKind::IsADirectory.into()) };
        match (dir.entries.get(name), how) {
            (Some(_), Open::CreateNew) => Err(ErrorKind::AlreadyExists.into()),
            (Some(Node::File(inode)), _) => Ok(inode.clone()),
            (Some(other), _) => Err(other.is_no(FileKind::File, 0)),
            (None, Open::Read | Open::Write) => Err(ErrorKind::NotFound.into()),
            (None, Open::Create | Open::CreateNew) => {
                let inode = Arc::new(Inode::new());
                dir.put(name, Node::File(inode.clone()));
                Ok(inode)
            }
        }
    }
}

/// The names on the way from the root to `path`.
fn names(path: &Path) -> Vec<&OsStr> {
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => names.push(name),
            Component::ParentDir => drop(names.pop()),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    names
}

impl Dir {
    fn new() -> Self {
        Dir { entries: BTreeMap::new(), modified: machine::now() }
    }

    fn put(&mut self, name: &OsStr, node: Node) {
        self.entries.insert(name.to_os_string(), node);
        self.modified = machine::now();
    }

    fn take(&mut self, name: &OsStr) -> Option<Node> {
        self.modified = machine::now();
        self.entries.remove(name)
    }

    /// The directory under these names, behind which a path has `more`.
    fn walk(&mut self, names: &[&OsStr], more: usize) -> io::Result<&mut Dir> {
        names.iter().zip((0..names.len()).rev()).try_fold(self, |dir, (name, above)| {
            match dir.entries.get_mut(*name) {
                Some(Node::Dir(next)) => Ok(next),
                Some(other) => Err(other.is_no(FileKind::Dir, above + more)),
                None => Err(ErrorKind::NotFound.into()),
            }
        })
    }

    /// The directory that `path` is in, and its name there; `None` for the root, which is in none.
    fn parent_of<'a, 'p>(&'a mut self, path: &'p Path) -> io::Result<Option<(&'a mut Dir, &'p OsStr)>> {
        let names = names(path);
        let Some((last, before)) = names.split_last() else { return Ok(None) };
        Ok(Some((self.walk(before, 1)?, last)))
    }
}

impl Env for MemoryEnv {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        let inode = self.open_inode(path, how)?;
        Ok(Arc::new(MemoryFile { inode, writable: how != Open::Read }))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut root = self.root.lock();
        match root.parent_of(path)? {
            Some((dir, name)) if !dir.entries.contains_key(name) => {
                dir.put(name, Node::Dir(Dir::new()));
                Ok(())
            }
            _ => Err(ErrorKind::AlreadyExists.into()),
        }
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let mut root = self.root.lock();
        let entries = root.walk(&names(dir), 0)?.entries.iter();
        // The order of the names' bytes, which the tree has, is the order of the strings.
        let listed = entries.filter_map(|(name, node)| {
            let name = name.to_str()?.to_owned();
            Some(DirEntry { name, kind: node.kind() })
        });
        Ok(listed.collect())
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        let mut root = self.root.lock();
        let of_dir = |dir: &Dir| Metadata { len: 0, is_dir: true, modified: dir.modified };
        let Some((dir, name)) = root.parent_of(path)? else { return Ok(of_dir(&root)) };
        match dir.entries.get(name) {
            None => Err(ErrorKind::NotFound.into()),
            Some(Node::Dir(dir)) => Ok(of_dir(dir)),
            Some(Node::File(inode)) => {
                let content = inode.content.read();
                Ok(Metadata { len: content.extents.len(), is_dir: false, modified: content.modified })
            }
            Some(Node::Link) => Err(WrongKind { found: FileKind::Link, expected: None, above: 0 }.into_io()),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (old, new) = (names(from), names(to));
        let mut root = self.root.lock();
        let invalid = || io::Error::from(ErrorKind::InvalidInput);
        let (dir, name) = root.parent_of(from)?.ok_or_else(invalid)?;
        let moves_dir = match dir.entries.get(name) {
            None => return Err(ErrorKind::NotFound.into()),
            Some(node) => matches!(node, Node::Dir(_)),
        };
        let (dir, name) = root.parent_of(to)?.ok_or_else(invalid)?;
        if old == new {
            return Ok(());
        }
        if new.starts_with(&old) {
            // A directory would come to lie within itself.
            return Err(invalid());
        }
        match dir.entries.get(name) {
            Some(Node::Dir(target)) if moves_dir && !target.entries.is_empty() => {
                return Err(ErrorKind::DirectoryNotEmpty.into());
            }
            Some(Node::Dir(_)) if !moves_dir => return Err(ErrorKind::IsADirectory.into()),
            Some(Node::File(_) | Node::Link) if moves_dir => return Err(ErrorKind::NotADirectory.into()),
            _ => {}
        }
        let (dir, name) = root.parent_of(from)?.ok_or_else(invalid)?;
        let node = dir.take(name).ok_or(ErrorKind::NotFound)?;
        let (dir, name) = root.parent_of(to)?.ok_or_else(invalid)?;
        dir.put(name, node);
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut root = self.root.lock();
        let Some((dir, name)) = root.parent_of(path)? else { return Err(ErrorKind::IsADirectory.into()) };
        match dir.entries.get(name) {
            None => Err(ErrorKind::NotFound.into()),
            Some(found @ Node::Dir(_)) => Err(found.is_no(FileKind::File, 0)),
            Some(Node::File(_) | Node::Link) => {
                dir.take(name);
                Ok(())
            }
        }
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let mut root = self.root.lock();
        let Some((dir, name)) = root.parent_of(path)? else { return Err(ErrorKind::InvalidInput.into()) };
        match dir.entries.get(name) {
            None => Err(ErrorKind::NotFound.into()),
            Some(found @ (Node::File(_) | Node::Link)) => Err(found.is_no(FileKind::Dir, 0)),
            Some(Node::Dir(found)) if !found.entries.is_empty() => Err(ErrorKind::DirectoryNotEmpty.into()),
            Some(Node::Dir(_)) => {
                dir.take(name);
                Ok(())
            }
        }
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.root.lock().walk(&names(dir), 0).map(drop)
    }

    /// As much as the process can have.
    fn space(&self, _dir: &Path) -> io::Result<Option<u64>> {
        Ok(Some(u64::MAX))
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        let inode = self.open_inode(path, Open::Create)?;
        if inode.locked.swap(true, Ordering::AcqRel) {
            return Err(ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(MemoryLock { inode }))
    }

    fn now(&self) -> Timestamp {
        machine::now()
    }

    fn monotonic(&self) -> Duration {
        machine::monotonic()
    }

    fn random(&self) -> u64 {
        machine::random()
    }

    fn identity(&self) -> (u32, String) {
        machine::identity()
    }

    fn wait(&self, signal: &Signal, seen: u64, deadline: Option<Duration>) {
        machine::wait(signal, seen, deadline);
    }

    fn spawn(&self, name: &str, signal: Arc<Signal>, task: Box<dyn Task>) -> io::Result<Box<dyn Running>> {
        machine::spawn(name, signal, task)
    }

    fn run_all(&self, jobs: Vec<Job>) {
        // Flushing takes no time here.
        machine::run_in_turn(jobs);
    }
}

impl Inode {
    fn new() -> Self {
        let content = Content { extents: Extents::default(), modified: machine::now() };
        Inode { content: RwLock::new(content), locked: AtomicBool::new(false) }
    }

    /// Changes the content; `end` is how long the file may become, which has the limit of a signed number.
    fn change(&self, end: Option<u64>, change: impl FnOnce(&mut Extents)) -> io::Result<()> {
        if end.is_none_or(|end| i64::try_from(end).is_err()) {
            return Err(ErrorKind::InvalidInput.into());
        }
        let mut content = self.content.write();
        change(&mut content.extents);
        content.modified = machine::now();
        Ok(())
    }
}

impl fmt::Debug for Inode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inode").field("locked", &self.locked).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct MemoryLock {
    inode: Arc<Inode>,
}

impl Lock for MemoryLock {
    fn write(&self, content: &[u8]) -> io::Result<()> {
        self.inode.change(Some(content.len() as u64), |extents| {
            extents.set_len(0);
            extents.write(content, 0);
        })
    }
}

impl Drop for MemoryLock {
    fn drop(&mut self) {
        self.inode.locked.store(false, Ordering::Release);
    }
}

#[derive(Debug)]
struct MemoryFile {
    inode: Arc<Inode>,
    writable: bool,
}

impl MemoryFile {
    fn writable(&self) -> io::Result<&Inode> {
        match self.writable {
            true => Ok(&self.inode),
            false => Err(ErrorKind::PermissionDenied.into()),
        }
    }
}

impl File for MemoryFile {
    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        Ok(self.inode.content.read().extents.read(buf, position))
    }

    fn write_at(&self, buf: &[u8], position: u64) -> io::Result<usize> {
        let end = position.checked_add(buf.len() as u64);
        self.writable()?.change(end, |extents| extents.write(buf, position))?;
        Ok(buf.len())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.inode.content.read().extents.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.writable()?.change(Some(len), |extents| extents.set_len(len))
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.writable()?.change(Some(len), |extents| extents.set_len(len.max(extents.len())))
    }

    fn read_past_cache(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        self.read_at(buf, position)
    }

    fn zeros_from(&self, position: u64) -> Option<u64> {
        Some(self.inode.content.read().extents.data_end().max(position))
    }

    fn data_from(&self, position: u64) -> u64 {
        let ends = position >= self.inode.content.read().extents.data_end();
        if ends { u64::MAX } else { position }
    }

    fn region(&self, capacity: u64) -> io::Result<Arc<dyn Region>> {
        Ok(Arc::new(MemoryRegion { inode: self.inode.clone(), capacity }))
    }
}

#[derive(Debug)]
struct MemoryRegion {
    inode: Arc<Inode>,
    capacity: u64,
}

impl Region for MemoryRegion {
    fn get(&self, range: Range<u64>) -> io::Result<Bytes> {
        if range.start > range.end || range.end > self.capacity {
            return Err(ErrorKind::InvalidInput.into());
        }
        let content = self.inode.content.read();
        if !range.is_empty() && range.end > content.extents.len() {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        content.extents.share(range).ok_or_else(|| ErrorKind::OutOfMemory.into())
    }

    fn capacity(&self) -> u64 {
        self.capacity
    }
}
