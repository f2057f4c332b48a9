//! Fuzz tests: spoils the shared memory, messages and handshakes as a worker with a memory error may. The parent must
//! refuse them or read other values, without undefined behaviour.

use crate::process::WorkerHooks;
use crate::process::codec::direct::Bytes;
use crate::process::codec::{Direct, Encoder, Wire};
use crate::process::handshake::Handshake;
use crate::process::message::{Connection, prepend_attachment_table};
use crate::process::os::Socket;
use crate::process::transport::ring::{MAX_PAYLOAD, Rings};

/// Random numbers that depend on the seed alone.
struct Random(fastrand::Rng);

impl Random {
    fn new(seed: u64) -> Self {
        Self(fastrand::Rng::with_seed(seed))
    }

    fn next(&mut self) -> u64 {
        self.0.u64(..)
    }

    fn below(&mut self, end: usize) -> usize {
        self.0.usize(..end)
    }

    /// Changes, removes and adds bytes, as a wild pointer may.
    fn spoil(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(4) {
            match self.below(8) {
                0 => bytes.truncate(self.below(bytes.len() + 1)),
                1 => bytes.extend_from_slice(&self.next().to_ne_bytes()),
                2 if bytes.len() >= 8 => {
                    let place = self.below(bytes.len() - 7);
                    let attachment_word = [0, u64::MAX, 1 << 32, self.next()][self.below(4)];
                    bytes[place..place + 8].copy_from_slice(&attachment_word.to_ne_bytes());
                }
                _ if !bytes.is_empty() => {
                    let place = self.below(bytes.len());
                    bytes[place] = self.next().to_ne_bytes()[0];
                }
                _ => {}
            }
        }
    }
}

#[test]
fn requests_and_replies_arrive_complete_in_order_and_once() {
    const REQUESTS: u32 = 50_000;
    let (parent, memory) = Rings::create().expect("there is memory");
    let worker = Rings::open(&memory).expect("it is ours");
    let size = |n: u32| (n as usize * 7_919) % if n.is_multiple_of(64) { MAX_PAYLOAD } else { 200 };
    let ran = std::thread::spawn(move || {
        let mut ran = Vec::new();
        loop {
            let Some(frame) = worker.begin_request().expect("the memory is sound") else {
                if worker.take_command(crate::process::transport::doorbell::CLOSE) {
                    return ran;
                }
                worker.wait_for_request();
                continue;
            };
            let n = frame.words[0];
            let payload = worker.request_payload(&frame);
            assert!(payload.len() == size(n) && payload.iter().all(|byte| *byte == n.to_ne_bytes()[0]), "{n}");
            let mut place = loop {
                match worker.reserve_reply(payload.len()).expect("the memory is sound") {
                    Some(place) => break place,
                    None => worker.wait_for_reply_space(payload.len()),
                }
            };
            assert!(worker.append_result(&mut place, payload, MAX_PAYLOAD));
            worker.publish_open_reply(&place, [n, 1, 0]);
            worker.release_request(&frame);
            ran.push(n);
        }
    });
    let mut random = Random::new(1);
    // The end positions in the ring of requests that were posted and not answered, the oldest first.
    let mut in_flight = std::collections::VecDeque::new();
    let (mut next, mut answered, mut behind) = (0, 0, 0);
    let mut payload = Vec::new();
    while answered < REQUESTS {
        while next < REQUESTS && in_flight.len() < 8 {
            let bytes = vec![next.to_ne_bytes()[0]; size(next)];
            let Some(end) = parent.post([next, 0, 0], &bytes).expect("the memory is sound") else { break };
            in_flight.push_back(end);
            next += 1;
        }
        parent.wake_worker();
        if random.below(3) == 0 {
            let end = |begun: u32| match begun.wrapping_sub(answered) {
                0 => behind,
                ahead => in_flight[ahead as usize - 1],
            };
            next = parent.take_back(end);
            in_flight.truncate((next - answered) as usize);
        }
        while let Some([n, 1, 0]) = parent.take_reply(&mut payload).expect("the memory is sound") {
            assert_eq!(n, answered, "in order");
            assert!(payload.len() == size(n) && payload.iter().all(|byte| *byte == n.to_ne_bytes()[0]), "{n}");
            answered += 1;
            behind = in_flight.pop_front().expect("it was posted");
            parent.wake_worker_for_space();
        }
    }
    parent.send_command(crate::process::transport::doorbell::CLOSE);
    assert!(ran.join().expect("no panic").into_iter().eq(0..REQUESTS), "each once");
}

#[test]
fn an_overwritten_ring_is_refused_or_read_within_its_bounds() {
    let mut random = Random::new(2);
    for _ in 0..300 {
        let (parent, memory) = Rings::create().expect("there is memory");
        let worker = crate::process::os::Mapping::new(&memory).expect("it is ours");
        let mut payload = Vec::new();
        for _ in 0..200 {
            // Three of four writes hit the counters, which are at the front.
            let place = if random.below(4) == 0 { random.below(worker.len() / 8) } else { random.below(96) };
            let attachment_word = [random.next(), random.next() >> 40, u64::MAX, 0][random.below(4)];
            // SAFETY: `place` is the index of a word within the mapping, which is aligned to a page. The parent relies
            // on no value in it, which is what this test checks.
            unsafe { worker.start().cast::<u64>().add(place).write_volatile(attachment_word) };
            let request = vec![7; random.below(MAX_PAYLOAD)];
            let _ = parent.post([1, 2, 3], &request);
            let _ = parent.take_reply(&mut payload);
            let _ = parent.take_open_reply(&mut payload);
            let _ = (parent.begun_count(), parent.has_reply());
            parent.take_back(|begun| begun);
            assert!(payload.len() <= MAX_PAYLOAD);
        }
    }
}

/// Both sides of a connection, in one process.
fn sides() -> (Connection, Connection) {
    let (one, other) = Socket::pair().expect("there are sockets");
    (Connection::new(one), Connection::new(other))
}

type Write<'a> = dyn Fn(&mut Encoder<'_>) -> Result<(), crate::process::codec::CodecError> + 'a;

/// Sends what `write` writes, spoils it, and reads it. A reader may refuse it, and foreign code may panic, but nothing
/// may read beyond the message and its attachments.
fn survives(seed: u64, write: &Write<'_>, read: &dyn Fn(&mut crate::process::codec::Decoder<'_>)) {
    let mut random = Random::new(seed);
    let (mut from, mut to) = sides();
    // The portable transport waits 2 s for a handle that a spoilt message announces.
    let rounds = if cfg!(fanfold_portable) { 6 } else { 400 };
    for round in 0..rounds {
        let (mut bytes, mut attachments) = (Vec::new(), Vec::new());
        write(&mut Encoder::new(&mut bytes, &mut attachments, Some(&mut from.outbox))).expect("it can be written");
        let mut attachment_word =
            prepend_attachment_table(&mut bytes, &mut attachments, &mut from.outbox).expect("it fits");
        from.send_descriptors(&attachments).expect("the other side is there");
        if round > 0 {
            random.spoil(&mut bytes);
            if random.below(8) == 0 {
                attachment_word ^= 1 << random.below(32);
            }
        }
        match to.open(attachment_word, &bytes) {
            Ok(mut message) => read(&mut message.decoder()),
            Err(_) => {
                // After such an error a parent gives up the worker.
                (from, to) = sides();
            }
        }
    }
}

#[test]
fn spoilt_messages_are_refused() {
    let text = "a text of some length ".repeat(3_000);
    let values = (7_u32, text.clone(), vec![Some(1_u64), None], std::collections::BTreeMap::from([(1_u8, 'x')]));
    survives(3, &|out| Wire::write(&values, out), &|input| {
        let _ = <(u32, String, Vec<Option<u64>>, std::collections::BTreeMap<u8, char>)>::read(input);
    });
    let large = vec![Some(Bytes::from(text.into_bytes())), None, Some(Bytes::from(&b"short"[..]))];
    survives(4, &|out| Direct::write(&large, out), &|input| {
        let read = <Vec<Option<Bytes>> as Direct>::read(input);
        let _: usize = read.iter().flatten().flatten().flat_map(|bytes| bytes.iter()).map(|byte| *byte as usize).sum();
    });
}

#[test]
fn a_spoilt_handshake_is_refused() {
    let mut random = Random::new(5);
    for _ in 0..1_000 {
        let mut bytes = Handshake::new(9, WorkerHooks::default()).to_bytes().to_vec();
        random.spoil(&mut bytes);
        if let Ok(handshake) = Handshake::read(&mut bytes.as_slice()) {
            assert!(bytes.starts_with(b"fanfold1"));
            let _ = handshake == Handshake::new(9, WorkerHooks::default());
        }
    }
}

#[cfg(feature = "polars")]
#[test]
fn spoilt_frames_are_refused() -> polars::prelude::PolarsResult<()> {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use polars::prelude::*;

    let text: Vec<String> = (0..60).map(|n| "ä text ".repeat(n % 5)).collect();
    let lists: Vec<Series> =
        (0..60_u8).map(|n| Series::new("".into(), vec![i64::from(n); usize::from(n) % 4])).collect();
    let mut df =
        df!("n" => 0..60_i64, "text" => &text, "flag" => (0..60).map(|n| Some(n % 3 == 0)).collect::<Vec<_>>())?;
    df.with_column(Column::new("list".into(), lists))?;
    let category = df.column("text")?.cast(&DataType::from_categories(Categories::global()))?;
    df.with_column(category.with_name("category".into()))?;
    df.with_column(df.clone().into_struct("struct".into()).into_series().into())?;
    let frames = [df.clone(), df.slice(10, 9), concat_many(&df, 40)?];
    for (seed, frame) in (6..).zip(frames) {
        survives(seed, &|out| Direct::write(&frame, out), &|input| {
            // Polars may panic on invalid Arrow data. Callers catch panics when they read a result.
            let _ = catch_unwind(AssertUnwindSafe(|| {
                if let Ok(read) = <DataFrame as Direct>::read(input) {
                    let _ = read.equals_missing(&frame);
                    let _ = read.head(Some(3)).to_string();
                }
            }));
        });
    }
    Ok(())
}

#[cfg(feature = "polars")]
fn concat_many(
    df: &polars::prelude::DataFrame,
    times: usize,
) -> polars::prelude::PolarsResult<polars::prelude::DataFrame> {
    let mut many = df.clone();
    for _ in 0..times {
        many.vstack_mut(df)?;
    }
    many.align_chunks_par();
    Ok(many)
}
