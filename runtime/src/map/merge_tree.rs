//! Merging the results of blocks in a tree whose shape depends on the number of blocks alone.
//!
//! A node of level `l` and index `i` stands for the `2^l` blocks from `i * 2^l`. A worker merges what lies within its
//! own blocks without a lock. It hands in the largest nodes that it has: the worker that hands in the second of two
//! siblings merges them into their parent. At the end, the nodes left are those of the binary representation of the
//! number of blocks, and are merged from the back.

use std::iter::once;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::sys::drop_all::{DropEach, DropRest};
use crate::sys::mutex;
use crate::sys::reserve;

/// The merged result of some blocks.
struct Node<T> {
    level: u32,
    index: usize,
    value: T,
}

impl<T> Node<T> {
    fn first_block(&self) -> usize {
        self.index << self.level
    }
}

/// Results that wait for their siblings.
pub(super) struct MergeTree<T>(Mutex<DropEach<Node<T>>>);

impl<T> MergeTree<T> {
    pub(super) fn new() -> Self {
        Self(Mutex::new(DropEach(Vec::new())))
    }

    /// Adds the results of some blocks, each of which `block` makes when it is called: once for each block, in order.
    pub(super) fn add(&self, blocks: Range<usize>, mut block: impl FnMut() -> T, merge: &impl Fn(T, T) -> T) {
        let mut start = blocks.start;
        while start < blocks.end {
            let level = start.trailing_zeros().min((blocks.end - start).ilog2());
            let value = subtree(level, &mut block, merge);
            self.hand_in(Node { level, index: start >> level, value }, merge);
            start += 1 << level;
        }
    }

    /// Stores a node until its sibling comes, or merges it with its sibling.
    fn hand_in(&self, mut node: Node<T>, merge: &impl Fn(T, T) -> T) {
        loop {
            let mut nodes = reserve::lock_with_capacity(|| self.lock(), |nodes| &mut nodes.0, 1);
            let sibling = nodes.0.iter().position(|other| other.level == node.level && other.index == node.index ^ 1);
            let Some(sibling) = sibling else { return nodes.0.push(node) };
            let other = nodes.0.swap_remove(sibling);
            drop(nodes);
            let (left, right) = if other.index < node.index { (other, node) } else { (node, other) };
            node = Node { level: left.level + 1, index: left.index / 2, value: merge(left.value, right.value) };
        }
    }

    fn lock(&self) -> MutexGuard<'_, DropEach<Node<T>>> {
        mutex::lock(&self.0)
    }

    /// The merged result of all blocks; `None` if there were none.
    pub(super) fn into_merged(self, merge: &impl Fn(T, T) -> T) -> Option<T> {
        let mut nodes = self.0.into_inner().unwrap_or_else(PoisonError::into_inner).into_vec();
        nodes.sort_unstable_by_key(Node::first_block);
        let mut nodes = DropRest(nodes.into_iter());
        let mut merged = DropRest(nodes.0.next_back().map(|last| last.value).into_iter());
        while let Some(right) = merged.0.next() {
            let Some(node) = nodes.0.next_back() else { return Some(right) };
            merged = DropRest(Some(merge(node.value, right)).into_iter());
        }
        None
    }
}

/// The merged result of the next `2^level` blocks.
fn subtree<T>(level: u32, block: &mut impl FnMut() -> T, merge: &impl Fn(T, T) -> T) -> T {
    if level == 0 {
        return block();
    }
    let mut left = DropRest(once(subtree(level - 1, block, merge)));
    let right = subtree(level - 1, block, merge);
    match left.0.next() {
        Some(left) => merge(left, right),
        None => right,
    }
}
