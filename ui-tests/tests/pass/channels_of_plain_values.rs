//! A channel between threads takes values of any type that is `Send`, with the feature `process` as without it.
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

struct Plain<'a>(&'a str);

#[test]
fn runs() {
    let text = String::from("borrowed");
    let (sender, receiver) = fanfold::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| sender.send(Plain(&text)).is_ok());
        assert!(receiver.recv().is_ok_and(|plain| plain.0 == "borrowed"));
    });

    let (sender, receiver) = fanfold::channel_bounded::<Box<dyn FnOnce() -> u32 + Send>>(10_000);
    assert!((0..10_000).all(|n| sender.try_send(Box::new(move || n)).is_ok()));
    drop(sender);
    assert_eq!(receiver.into_iter().map(|run| run()).sum::<u32>(), (0..10_000).sum::<u32>());

    // The same lock, not a copy.
    let (sender, receiver) = fanfold::channel::<(Arc<Mutex<u32>>, Arc<AtomicU32>)>();
    let (lock, count) = <(Arc<Mutex<u32>>, Arc<AtomicU32>)>::default();
    assert!(sender.send((lock.clone(), count.clone())).is_ok());
    let (same_lock, same_count) = receiver.recv().unwrap_or_default();
    *same_lock.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) += 1;
    same_count.fetch_add(1, Ordering::Relaxed);
    assert_eq!(lock.lock().map(|n| *n).ok(), Some(1));
    assert_eq!(count.load(Ordering::Relaxed), 1);
}
