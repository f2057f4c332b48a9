//! [`Output`]: how frames are written.
//!
//! A worker trusts its parent and writes at once: its parent always reads. A parent writes what the system takes at
//! once; a thread of its own writes the rest, so that a worker that does not read keeps no other thread waiting.

use std::collections::VecDeque;
use std::io;
use std::sync::{Condvar, Mutex};

use super::frame::Frame;
use super::system::Writer;
use crate::sys::mutex;

/// What waits for a worker that does not read. One reply of 64 KiB for each of 1,000 waiting threads fits.
const MAX_QUEUED: usize = 64 << 20;

pub(super) enum Output {
    Queue(Mutex<Queue>, Condvar),
    Direct(Mutex<Option<Writer>>),
}

/// What the system did not take at once.
pub(super) struct Queue {
    frames: VecDeque<Frame>,
    bytes: usize,
    /// Whether the thread is writing a frame, which it has removed from the queue.
    is_writing: bool,
    /// `None` when the connection is closed.
    writer: Option<Writer>,
}

impl Output {
    pub(super) fn direct(writer: Writer) -> Self {
        Self::Direct(Mutex::new(Some(writer)))
    }

    /// An output whose [`write_queued`](Self::write_queued) another thread runs.
    pub(super) fn queued(writer: Writer) -> Self {
        let queue = Queue { frames: VecDeque::new(), bytes: 0, is_writing: false, writer: Some(writer) };
        Self::Queue(Mutex::new(queue), Condvar::new())
    }

    /// Writes a frame, or has it written by the other thread. Calls `before` just before a direct write.
    ///
    /// # Errors
    ///
    /// If the other side is gone, or has not read for so long that [`MAX_QUEUED`] bytes wait for it.
    pub(super) fn send(&self, mut frame: Frame, before: impl FnOnce(&Frame)) -> io::Result<()> {
        match self {
            Self::Direct(writer) => {
                let mut writer = mutex::lock(writer);
                let writer = writer.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
                before(&frame);
                writer.write(frame)
            }
            Self::Queue(queue, changed) => {
                let mut queue = mutex::lock(queue);
                let is_idle = queue.frames.is_empty() && !queue.is_writing;
                let is_full = queue.bytes > MAX_QUEUED;
                let writer = queue.writer.as_mut().filter(|_| !is_full).ok_or(io::ErrorKind::BrokenPipe)?;
                if is_idle && writer.write_some(&mut frame)? {
                    return Ok(());
                }
                queue.bytes += frame.bytes.len();
                queue.frames.push_back(frame);
                drop(queue);
                changed.notify_one();
                Ok(())
            }
        }
    }

    /// Nothing more is written, but for what was sent before.
    pub(super) fn close(&self) {
        match self {
            Self::Queue(queue, changed) => {
                let writer = mutex::lock(queue).writer.take();
                changed.notify_one();
                drop(writer);
            }
            Self::Direct(writer) => drop(mutex::lock(writer).take()),
        }
    }

    /// Writes what is queued, until the connection is closed.
    pub(super) fn write_queued(&self, mut writer: Writer) {
        let Self::Queue(queue, changed) = self else { return };
        loop {
            let mut waiting = mutex::lock(queue);
            waiting.is_writing = false;
            while waiting.frames.is_empty() && waiting.writer.is_some() {
                waiting = mutex::wait(changed, waiting);
            }
            let Some(frame) = waiting.frames.pop_front() else { return };
            waiting.bytes -= frame.bytes.len();
            waiting.is_writing = true;
            drop(waiting);
            if writer.write(frame).is_err() {
                break;
            }
        }
        let left = {
            let mut queue = mutex::lock(queue);
            (queue.writer.take(), std::mem::take(&mut queue.frames))
        };
        drop(left);
    }
}
