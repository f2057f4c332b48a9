//! Tests of segments: both sides in one process.

use super::*;

#[test]
fn a_released_segment_is_filled_again() {
    let (mut outbox, mut inbox) = (Outbox::default(), Inbox::default());
    let mut numbers = Vec::new();
    for round in 0..3_u8 {
        let sent = outbox.send(&[&[round; 10], &[9; 5]]).expect("there is memory");
        if let Some(fd) = outbox.take_descriptor(sent.segment) {
            inbox.add_segment(sent.segment, &fd).expect("a segment");
        }
        let received = inbox.open(sent).expect("it was sent");
        assert_eq!(received.bytes(), [&[round; 10][..], &[9; 5]].concat());
        numbers.push(sent.segment);
    }
    assert_eq!(numbers, [0; 3]);
}

#[test]
fn a_held_segment_is_not_filled() {
    let (mut outbox, mut inbox) = (Outbox::default(), Inbox::default());
    let first = outbox.send(&[b"one"]).expect("there is memory");
    let fd = outbox.take_descriptor(first.segment).expect("it is new");
    inbox.add_segment(first.segment, &fd).expect("a segment");
    let received = inbox.open(first).expect("it was sent");
    assert!(inbox.open(first).is_err(), "one reader at a time");
    let second = outbox.send(&[b"two"]).expect("there is memory");
    assert_ne!(second.segment, first.segment);
    assert_eq!(received.bytes(), b"one");
}

#[test]
fn free_segments_are_bounded_and_released() {
    let mut outbox = Outbox::default();
    for size in 1..20 {
        let sent = outbox.send(&[&vec![0; size << 20]]).expect("there is memory");
        outbox.recall(sent.segment);
    }
    assert!(outbox.count() <= MAX_FREE, "{}", outbox.count());
    outbox.release_memory();
    assert_eq!(outbox.bytes(), 0);
}

#[test]
fn both_sides_release_free_segments_only() {
    let (mut outbox, mut inbox) = (Outbox::default(), Inbox::default());
    let sent = [outbox.send(&[b"one"]), outbox.send(&[b"two"])].map(|sent| sent.expect("there is memory"));
    for sent in sent {
        let fd = outbox.take_descriptor(sent.segment).expect("it is new");
        inbox.add_segment(sent.segment, &fd).expect("a segment");
    }
    let [kept, dropped] = sent.map(|sent| inbox.open(sent).expect("it was sent"));
    drop(dropped);
    inbox.release_memory();
    outbox.release_memory();
    assert_eq!((inbox.count(), outbox.count()), (1, 1));
    assert_eq!(kept.bytes(), b"one");
    drop(kept);
    inbox.release_memory();
    assert_ne!(outbox.send(&[b"three"]).expect("there is memory").segment, sent[0].segment, "it was retired");
}

#[test]
#[cfg(all(target_os = "linux", not(miri)))]
fn bytes_dropped_in_a_forked_child_free_no_segment() {
    let (mut outbox, mut inbox) = (Outbox::default(), Inbox::default());
    let sent = outbox.send(&[b"one"]).expect("there is memory");
    let fd = outbox.take_descriptor(sent.segment).expect("it is new");
    inbox.add_segment(sent.segment, &fd).expect("a segment");
    let received = inbox.open(sent).expect("it was sent");
    // SAFETY: the child only drops values, and leaves by `_exit`.
    let child = unsafe { libc::fork() };
    if child == 0 {
        drop((received, inbox, outbox));
        // SAFETY: `_exit` ends the child without running handlers.
        unsafe { libc::_exit(0) };
    }
    let mut status = 0;
    // SAFETY: `status` is a valid place for the answer.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert_eq!(status, 0);
    assert_ne!(outbox.send(&[b"two"]).expect("there is memory").segment, sent.segment, "a reader holds it");
    assert_eq!(received.bytes(), b"one");
}

#[test]
fn a_block_beyond_the_held_segments_is_copied() {
    let (mut outbox, mut inbox) = (Outbox::default(), Inbox::default());
    let views: Vec<ReceivedBytes> = (0..MAX_HELD + 50)
        .map(|round| {
            let sent = outbox.send(&[&round.to_le_bytes()]).expect("there is memory");
            if let Some(fd) = outbox.take_descriptor(sent.segment) {
                inbox.add_segment(sent.segment, &fd).expect("a segment");
            }
            inbox.open(sent).expect("it was sent")
        })
        .collect();
    assert_eq!(outbox.count(), MAX_HELD + 1);
    for (round, received) in views.iter().enumerate() {
        assert_eq!(received.bytes(), round.to_le_bytes());
        assert!(received.bytes().as_ptr().addr().is_multiple_of(SEGMENT_HEADER));
    }
}

#[test]
fn an_unknown_segment_or_a_wrong_length_is_refused() {
    let (mut outbox, mut inbox) = (Outbox::default(), Inbox::default());
    let sent = outbox.send(&[b"one"]).expect("there is memory");
    let fd = outbox.take_descriptor(sent.segment).expect("it is new");
    assert!(inbox.open(sent).is_err(), "not known yet");
    inbox.add_segment(sent.segment, &fd).expect("a segment");
    assert!(inbox.open(SentSegment { len: u64::MAX, ..sent }).is_err());
    assert!(inbox.open(SentSegment { len: 1 << 20, ..sent }).is_err());
    assert!(inbox.open(sent).is_ok());
}
