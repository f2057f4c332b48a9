//! A compromised worker may write anything to what it shares, and send memory that is none.

use std::time::Duration;

use super::memory::{HEADER, Memory};
use super::{Bytes, Counter, Mutex};
use crate::process::Direct;
use crate::process::codec::{Attachment, Decoder, Encoder, ReceivedAttachment};
use crate::process::os::ForeignHandle;
use crate::process::os::{self, Handle};
use crate::process::transport::segments::Outbox;

fn received<T: Direct>(fd: Handle) -> Result<T, crate::process::CodecError> {
    T::read(&mut Decoder::new(&[], vec![ReceivedAttachment::Descriptor(ForeignHandle::new(fd))]))
}

/// Sends a value to itself.
fn again<T: Direct>(value: &T) -> T {
    let (mut bytes, mut attachments, mut outbox) = (Vec::new(), Vec::new(), Outbox::default());
    value.write(&mut Encoder::new(&mut bytes, &mut attachments, Some(&mut outbox))).expect("it can be sent");
    let Some(Attachment::Descriptor(fd)) = attachments.pop() else { panic!("it has a descriptor") };
    received(fd).expect("it is sound")
}

#[test]
fn any_words_in_shared_memory_are_an_error_or_a_value() {
    let mut random = fastrand::Rng::with_seed(3);
    let mutex = Mutex::with_capacity(vec![Some("text".to_owned()); 20], 1_000);
    let spoils = again(&mutex);
    let memory: &Memory = spoils.memory();
    let mut read = 0;
    for _ in 0..20_000 {
        for _ in 0..random.usize(..4) {
            let any = random.u64(..);
            let word = random.choice([0, 1, u64::MAX, 1 << 40, any]).unwrap_or(0);
            memory
                .long(random.usize(..(HEADER + memory.len()) / 8) * 8)
                .store(word, std::sync::atomic::Ordering::Relaxed);
        }
        match mutex.lock_timeout(Duration::from_secs(20)) {
            Ok(value) => read += value.len(),
            Err(super::LockError::TimedOut) => panic!("nobody holds it"),
            Err(_) => mutex.clear_poison().expect("nobody holds it"),
        }
        if random.usize(..8) == 0 {
            mutex.lock.store(&vec![Some("text".to_owned()); 20]).expect("it fits");
        }
    }
    assert!(read > 0, "some values were sound");
}

#[test]
fn memory_that_is_not_of_a_fixed_size_is_refused() {
    let small = os::create_memory(8).expect("there is memory");
    let sparse = os::create_memory(1 << 20).expect("there is memory");
    let (socket, _) = os::Socket::pair().expect("there are sockets");
    for fd in [small, sparse, socket.into()] {
        let copy = fd.try_clone().expect("it can be copied");
        assert!(received::<Counter>(fd).is_err());
        assert!(received::<Mutex<u8>>(copy).is_err());
    }
    assert_eq!(again(&Counter::new(7)).get(), 7);
    assert_eq!(again(&Bytes::new(5).expect("there is memory")).len(), 5);
}

#[test]
fn every_part_of_shared_memory_is_read_as_it_was_written() {
    let memory = Memory::new(64).expect("there is memory");
    let mut expected = [0_u8; 64];
    for offset in 0..24 {
        for len in 0..40 {
            let bytes: Vec<u8> = (0..len).map(|n| u8::try_from((n * 7 + offset) % 251).unwrap_or(0)).collect();
            memory.write_bytes(HEADER + offset, &bytes);
            expected[offset..offset + len].copy_from_slice(&bytes);
            let mut all = [0; 64];
            memory.read(HEADER, &mut all);
            assert_eq!(all, expected, "{len} at {offset}");
            let mut part = vec![0; len];
            memory.read(HEADER + offset, &mut part);
            assert_eq!(part, bytes);
        }
    }
}
