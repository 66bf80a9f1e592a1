//! The state of a simulated disk: what programs see, what the medium has, and the changes between the two.
//!
//! What is always true: programs see of a file or directory what the medium has plus its pending changes, in their order.
//! Only a flush that lost its pages breaks this, and marks the file. Contents are shared pages: a copy
//! of a disk costs a reference per file.

use super::{content::Content, rng::Rng};
use crate::{
    env::{FileKind, WrongKind},
    types::Timestamp,
};
use std::{collections::BTreeMap, io, io::ErrorKind, path::Component, path::Path, sync::Arc};

/// A file or directory, whatever its names.
pub(super) type Ino = usize;
pub(super) const ROOT: Ino = 0;
pub(super) type Entries = BTreeMap<Arc<str>, Ino>;

/// A change of the disk.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Write {
        ino: Ino,
        at: u64,
        data: Arc<[u8]>,
    },
    SetLen {
        ino: Ino,
        len: u64,
    },
    Make {
        dir: Ino,
        name: Arc<str>,
        ino: Ino,
        /// Its content when it is made.
        body: Body,
    },
    Unlink {
        dir: Ino,
        name: Arc<str>,
        ino: Ino,
    },
    Rename {
        from: (Ino, Arc<str>),
        to: (Ino, Arc<str>),
        ino: Ino,
    },
    Sync {
        ino: Ino,
    },
    /// A flush that failed: the pages count as clean, and the medium does not have them.
    LoseSync {
        ino: Ino,
    },
}

#[derive(Clone, Debug)]
pub(super) struct Node {
    pub live: Body,
    /// What the medium has, where that differs.
    pub durable: Option<Body>,
    /// Whether a flush lost pages, so that the cache shows what the medium does not have.
    pub lost: bool,
    /// The end of the written bytes; what follows is preallocated space.
    pub written: u64,
    pub modified: Timestamp,
}

#[derive(Clone, Debug)]
pub(super) enum Body {
    File(Arc<Content>),
    Dir(Arc<Entries>),
    /// A symbolic link, and where it leads, from the root.
    Link(Arc<str>),
}

/// A directory below which no link is followed, under the name that its holder uses.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub path: Arc<Path>,
    pub dir: Ino,
}

/// The most links in one chain.
const LINKS_MAX: usize = 40;

#[derive(Clone, Debug)]
pub(super) struct Disk {
    pub nodes: Vec<Node>,
    /// Pending changes, which no flush covers yet, oldest first.
    pub pending: Vec<Change>,
}

impl Body {
    pub(super) fn new(is_dir: bool) -> Body {
        if is_dir { Body::Dir(Arc::default()) } else { Body::File(Arc::default()) }
    }

    fn content(&mut self) -> Option<&mut Content> {
        match self {
            Body::File(content) => Some(Arc::make_mut(content)),
            Body::Dir(_) | Body::Link(_) => None,
        }
    }

    fn entries(&mut self) -> Option<&mut Entries> {
        match self {
            Body::Dir(entries) => Some(Arc::make_mut(entries)),
            Body::File(_) | Body::Link(_) => None,
        }
    }
}

impl Change {
    /// The files and directories whose flush makes it durable.
    fn covered_by(&self, synced: Ino) -> bool {
        match self {
            Change::Write { ino, .. } | Change::SetLen { ino, .. } => *ino == synced,
            Change::Make { dir, .. } | Change::Unlink { dir, .. } => *dir == synced,
            Change::Rename { from, to, .. } => from.0 == synced || to.0 == synced,
            Change::Sync { .. } | Change::LoseSync { .. } => false,
        }
    }

    /// Whether it changes names rather than content.
    pub(super) fn is_of_names(&self) -> bool {
        matches!(self, Change::Make { .. } | Change::Unlink { .. } | Change::Rename { .. })
    }
}

impl Disk {
    pub(super) fn new(now: Timestamp) -> Disk {
        let mut disk = Disk { nodes: Vec::new(), pending: Vec::new() };
        disk.nodes.push(Node::new(Body::new(true), now));
        disk
    }

    /// What `path` names: the last name may be that of a link below the directory that is held.
    pub(super) fn find(&self, held: Option<&Held>, path: &Path) -> io::Result<Ino> {
        let (start, rest, links) = below(held, path);
        self.walk(start, &names(rest), 0, links)
    }

    /// Where the names lead from `start` on, over at most this many links; `more` names of the path follow them.
    fn walk(&self, start: Ino, way: &[&str], more: usize, links: usize) -> io::Result<Ino> {
        let mut at = start;
        for (name, above) in way.iter().zip((more..way.len() + more).rev()) {
            let found = *self.entries(at)?.get(*name).ok_or(ErrorKind::NotFound)?;
            at = match &self.nodes[found].live {
                Body::Link(target) if links > 0 => {
                    self.walk(ROOT, &names(Path::new(&**target)), 0, links - 1)?
                }
                Body::File(_) | Body::Link(_) if above > 0 => {
                    return Err(self.is_no(found, FileKind::Dir, above));
                }
                _ => found,
            };
        }
        Ok(at)
    }

    /// The directory that contains `path`, and its name there; none contains the root.
    pub(super) fn parent<'p>(
        &self,
        held: Option<&Held>,
        path: &'p Path,
    ) -> io::Result<Option<(Ino, &'p str)>> {
        let (start, rest, links) = below(held, path);
        let names = names(rest);
        let Some((last, before)) = names.split_last() else { return Ok(None) };
        let dir = self.walk(start, before, 1, links)?;
        self.entries(dir)?;
        Ok(Some((dir, last)))
    }

    pub(super) fn kind(&self, ino: Ino) -> FileKind {
        match &self.nodes[ino].live {
            Body::File(_) => FileKind::File,
            Body::Dir(_) => FileKind::Dir,
            Body::Link(_) => FileKind::Link,
        }
    }

    /// The error about a name of another kind than expected, this many names above the end of the path.
    pub(super) fn is_no(&self, ino: Ino, expected: FileKind, above: usize) -> io::Error {
        WrongKind { found: self.kind(ino), expected: Some(expected), above }.into_io()
    }

    pub(super) fn is_dir(&self, ino: Ino) -> bool {
        matches!(self.nodes[ino].live, Body::Dir(_))
    }

    pub(super) fn entries(&self, ino: Ino) -> io::Result<&Entries> {
        match &self.nodes[ino].live {
            Body::Dir(entries) => Ok(entries),
            Body::File(_) | Body::Link(_) => Err(self.is_no(ino, FileKind::Dir, 0)),
        }
    }

    pub(super) fn content(&self, ino: Ino) -> io::Result<&Content> {
        match &self.nodes[ino].live {
            Body::File(content) => Ok(content),
            Body::Dir(_) | Body::Link(_) => Err(self.is_no(ino, FileKind::File, 0)),
        }
    }

    /// The bytes that the medium would return: the cache is written back first, except for lost pages.
    pub(super) fn medium(&self, ino: Ino) -> io::Result<Content> {
        let node = &self.nodes[ino];
        if !node.lost {
            return self.content(ino).cloned();
        }
        let mut body = node.durable.clone().unwrap_or_else(|| node.live.clone());
        for change in self.pending.iter().filter(|c| c.covered_by(ino)) {
            apply_to_content(&mut body, change);
        }
        Ok(body.content().cloned().unwrap_or_default())
    }

    /// The bytes of all files that have a name.
    pub(super) fn used(&self) -> u64 {
        let mut named = std::collections::BTreeSet::new();
        for node in &self.nodes {
            if let Body::Dir(entries) = &node.live {
                named.extend(entries.values().copied());
            }
        }
        named.iter().filter_map(|ino| self.content(*ino).ok()).map(|c| c.len()).sum()
    }

    /// Changes what programs see, and records what a crash may take back.
    pub(super) fn apply(&mut self, change: &Change, now: Timestamp) {
        match change {
            Change::Sync { ino } => return self.sync(*ino),
            Change::LoseSync { ino } => {
                self.part(*ino);
                self.nodes[*ino].lost = true;
                self.pending.retain(|c| !c.covered_by(*ino));
                return;
            }
            Change::Make { dir, ino, body, .. } => {
                if self.nodes.len() == *ino {
                    self.nodes.push(Node::new(body.clone(), now));
                }
                self.part(*dir);
                self.nodes[*dir].modified = now;
            }
            Change::Unlink { dir, .. } => {
                self.part(*dir);
                self.nodes[*dir].modified = now;
            }
            Change::Rename { from, to, .. } => {
                self.part(from.0);
                self.part(to.0);
            }
            Change::Write { ino, at, data } => {
                self.part(*ino);
                let node = &mut self.nodes[*ino];
                node.written = node.written.max(at + data.len() as u64);
                node.modified = now;
            }
            Change::SetLen { ino, len } => {
                self.part(*ino);
                let node = &mut self.nodes[*ino];
                node.written = node.written.min(*len);
                node.modified = now;
            }
        }
        apply_change(&mut self.nodes, change);
        self.pending.push(change.clone());
    }

    /// Copies what the medium has before a change of what programs see.
    fn part(&mut self, ino: Ino) {
        let node = &mut self.nodes[ino];
        if node.durable.is_none() {
            node.durable = Some(node.live.clone());
        }
    }

    fn sync(&mut self, ino: Ino) {
        let node = &mut self.nodes[ino];
        if node.lost {
            let Some(durable) = &mut node.durable else { return };
            for change in self.pending.iter().filter(|c| c.covered_by(ino)) {
                apply_to_content(durable, change);
            }
        } else {
            node.durable = None;
        }
        // A rename touches two directories and is one act of the file system's journal.
        let renames: Vec<Change> = self
            .pending
            .iter()
            .filter(|c| matches!(c, Change::Rename { from, to, .. } if from.0 != to.0) && c.covered_by(ino))
            .cloned()
            .collect();
        self.pending.retain(|c| !c.covered_by(ino));
        for rename in renames {
            let Change::Rename { from, to, ino: moved } = &rename else { continue };
            let other = if from.0 == ino { to } else { from };
            if let Some(entries) = self.nodes[other.0].durable.as_mut().and_then(Body::entries) {
                if other.0 == to.0 {
                    entries.insert(Arc::clone(&to.1), *moved);
                } else {
                    entries.remove(&from.1);
                }
            }
        }
    }

    /// The medium alone, as the next boot finds it without any pending change.
    pub(super) fn bare(&self) -> Disk {
        let nodes = self.nodes.iter().map(|node| Node {
            live: node.durable.clone().unwrap_or_else(|| node.live.clone()),
            durable: None,
            lost: false,
            written: 0,
            modified: node.modified,
        });
        Disk { nodes: nodes.collect(), pending: Vec::new() }
    }

    /// Everything on the medium counts as written.
    pub(super) fn settle(&mut self) {
        for node in &mut self.nodes {
            if let Body::File(content) = &node.live {
                node.written = content.len();
            }
        }
    }

    /// Flips one bit in each of up to `count` sectors.
    pub(super) fn rot(&mut self, rng: &mut Rng, count: usize) -> Vec<(Ino, u64)> {
        let files: Vec<(Ino, u64)> = self.named_files().filter(|(_, len)| *len > 0).collect();
        let mut flipped = Vec::new();
        for _ in 0..count {
            let Some((ino, len)) = rng.pick(&files).copied() else { break };
            let at = rng.below(len);
            let node = &mut self.nodes[ino];
            if let Some(content) = node.live.content() {
                let mut byte = [0];
                content.read(&mut byte, at);
                content.write(&[byte[0] ^ (1 << rng.below(8))], at);
                flipped.push((ino, at));
            }
        }
        flipped
    }

    fn named_files(&self) -> impl Iterator<Item = (Ino, u64)> + '_ {
        let mut dirs = vec![ROOT];
        let mut files = Vec::new();
        while let Some(dir) = dirs.pop() {
            for ino in self.entries(dir).into_iter().flat_map(|e| e.values().copied()) {
                match self.content(ino) {
                    Ok(content) => files.push((ino, content.len())),
                    Err(_) => dirs.push(ino),
                }
            }
        }
        files.into_iter()
    }

    /// Every file by its path, in the order of paths.
    pub(super) fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let mut found = BTreeMap::new();
        let mut dirs = vec![(ROOT, String::new())];
        while let Some((dir, path)) = dirs.pop() {
            for (name, ino) in self.entries(dir).into_iter().flatten() {
                let path = format!("{path}/{name}");
                match self.content(*ino) {
                    Ok(content) => drop(found.insert(path, content.to_vec())),
                    Err(_) => dirs.push((*ino, path)),
                }
            }
        }
        found
    }
}

impl Node {
    pub(super) fn new(live: Body, now: Timestamp) -> Node {
        Node { live, durable: None, lost: false, written: 0, modified: now }
    }
}

/// Where a path is looked up, and over how many links: over none below a held directory.
fn below<'p>(held: Option<&Held>, path: &'p Path) -> (Ino, &'p Path, usize) {
    match held.and_then(|held| Some((held.dir, path.strip_prefix(&held.path).ok()?))) {
        Some((dir, rest)) => (dir, rest, 0),
        None => (ROOT, path, LINKS_MAX),
    }
}

/// The names from the root to `path`. A simulated disk has no names that are not UTF-8.
pub(super) fn names(path: &Path) -> Vec<&str> {
    let mut names = Vec::with_capacity(6);
    for component in path.components() {
        match component {
            Component::Normal(name) => names.push(name.to_str().unwrap_or("\u{fffd}")),
            Component::ParentDir => drop(names.pop()),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    names
}

/// Applies a change to `nodes`. Where earlier changes are missing, it does the part that is still possible.
pub(super) fn apply_change(nodes: &mut [Node], change: &Change) {
    match change {
        Change::Write { ino, .. } | Change::SetLen { ino, .. } => {
            apply_to_content(&mut nodes[*ino].live, change);
        }
        Change::Make { dir, name, ino, .. } => {
            if let Some(entries) = nodes[*dir].live.entries() {
                entries.insert(Arc::clone(name), *ino);
            }
        }
        Change::Unlink { dir, name, ino } => remove_entry(nodes, *dir, name, *ino),
        Change::Rename { from, to, ino } => {
            remove_entry(nodes, from.0, &from.1, *ino);
            if let Some(entries) = nodes[to.0].live.entries() {
                entries.insert(Arc::clone(&to.1), *ino);
            }
        }
        Change::Sync { .. } | Change::LoseSync { .. } => {}
    }
}

fn remove_entry(nodes: &mut [Node], dir: Ino, name: &Arc<str>, ino: Ino) {
    if let Some(entries) = nodes[dir].live.entries()
        && entries.get(name) == Some(&ino)
    {
        entries.remove(name);
    }
}

fn apply_to_content(body: &mut Body, change: &Change) {
    let Some(content) = body.content() else { return };
    match change {
        Change::Write { at, data, .. } => content.write(data, *at),
        Change::SetLen { len, .. } => content.set_len(*len),
        _ => {}
    }
}
