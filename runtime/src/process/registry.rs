//! The registry: a table of all functions of `kind = "process"`, which the linker fills.
//!
//! A worker runs the same program as its parent, so an entry has the same index in both tables, and a request names its
//! function by the index. The handshake compares the [`fingerprint`] of both programs. It covers the names in the
//! table, the layout of the code, and the program's file.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::OnceLock;

use linkme::distributed_slice;

use super::serve::Serving;
use crate::sys::try_once::get_or_init_unlocked;

/// The entries of all functions of the program.
#[distributed_slice]
pub static ENTRIES: [Entry];

/// The entry of one function of `kind = "process"`.
pub struct Entry {
    /// Module path, name, file, line and column, which no two functions share.
    name: &'static str,
    serve: fn(&mut Serving<'_>),
}

impl Entry {
    /// The entry of a function. `serve` reads its arguments, runs it, and writes its results.
    #[must_use]
    pub const fn new(name: &'static str, serve: fn(&mut Serving<'_>)) -> Self {
        Self { name, serve }
    }

    /// The name in the table.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// The index of this entry in the table.
    pub(crate) fn number(&self) -> u32 {
        let place = ENTRIES.iter().position(|entry| std::ptr::eq(entry, self));
        place.and_then(|place| u32::try_from(place).ok()).unwrap_or(u32::MAX)
    }
}

/// Runs a call of this function.
pub(crate) fn serve_entry(entry: &Entry, serving: &mut Serving<'_>) {
    (entry.serve)(serving);
}

/// Answers a request for the function with this index.
pub(crate) fn serve(number: u32, serving: &mut Serving<'_>) {
    match (ENTRIES.get(number as usize), serving) {
        (Some(entry), serving) => serve_entry(entry, serving),
        (None, Serving::Worker(request)) => request.refuse(&format!(
            "this worker knows no function of the number {number}, only {}: parent and worker are different programs",
            ENTRIES.len()
        )),
        // Calls of other machines name their functions.
        (None, Serving::Encoded(_)) => {}
    }
}

/// A number that is the same in two processes only if they run the same build of the same program.
pub(crate) fn fingerprint() -> u64 {
    static FINGERPRINT: OnceLock<u64> = OnceLock::new();
    *get_or_init_unlocked(&FINGERPRINT, || {
        let mut hasher = DefaultHasher::new();
        env!("CARGO_PKG_VERSION").hash(&mut hasher);
        // A program is loaded at a random address, but the distances between its functions are those of its build.
        let origin = (fingerprint as fn() -> u64 as usize, serve as fn(u32, &mut Serving<'_>) as usize);
        for entry in ENTRIES {
            entry.name.hash(&mut hasher);
            (entry.serve as usize).wrapping_sub(origin.0).hash(&mut hasher);
        }
        origin.1.wrapping_sub(origin.0).hash(&mut hasher);
        #[cfg(unix)]
        if let Ok(file) = std::fs::metadata("/proc/self/exe") {
            use std::os::unix::fs::MetadataExt;
            (file.dev(), file.ino(), file.size(), file.mtime(), file.mtime_nsec()).hash(&mut hasher);
        }
        hasher.finish()
    })
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::process::codec::Decoder;
    use crate::process::message::Connection;
    use crate::process::os::Socket;
    use crate::process::serve::{ReplyHeader, ReplyWriter, WorkerRequest, status};
    use crate::process::transport::ring::Rings;

    #[test]
    fn an_unknown_function_is_refused_once_for_all_calls() {
        let (rings, _memory) = Rings::create().expect("there is memory");
        let (socket, _other) = Socket::pair().expect("there are sockets");
        let (mut connection, mut scratch) = (Connection::new(socket), Vec::new());
        let begun = crate::sys::clock::Moment::now();
        let (connection, scratch) = (&mut connection, &mut scratch);
        let replies = ReplyWriter { rings: &rings, connection, scratch, open: None, left: 3, request: 9, begun };
        let request = WorkerRequest { input: Decoder::new(&[], Vec::new()), replies };
        let mut serving = Serving::Worker(request);
        super::serve(u32::MAX, &mut serving);
        let Serving::Worker(request) = serving else { unreachable!("it was a request") };
        assert_eq!(request.replies.left, 0);
        let mut payload = Vec::new();
        let words = rings.take_reply(&mut payload).expect("the memory is sound").expect("a reply");
        let said: (String, String) = Decoder::new(&payload, Vec::new()).value().expect("two texts");
        let header = ReplyHeader::from_words(words);
        assert_eq!((header.status, header.count, header.request), (status::CODEC, 1, 9));
        assert!(said.0.contains("no function of the number 4294967295"), "{}", said.0);
        assert!(rings.take_reply(&mut payload).expect("the memory is sound").is_none());
    }
}
