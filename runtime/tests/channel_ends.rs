//! Ends of channels between threads: sends that fail and give the value back, sends with a limit, iterators, and
//! `select`.

use std::panic::catch_unwind;
use std::thread;
use std::time::{Duration, Instant};

use fanfold::{ChannelError, Receiver, SendError, channel, channel_bounded, select, select_async, select_timeout};

const LONG: Duration = Duration::from_secs(60);

#[test]
fn a_value_that_is_not_sent_comes_back() {
    let (sender, receiver) = channel_bounded(2);
    sender.try_send(String::from("a")).expect("there is a place");
    sender.send_timeout(String::from("b"), LONG).expect("there is a place");
    let unsent = sender.try_send(String::from("c")).expect_err("it is full");
    assert_eq!(unsent, SendError { value: String::from("c"), error: ChannelError::Full });
    let began = Instant::now();
    let unsent = sender.send_timeout(unsent.value, Duration::from_millis(20)).expect_err("it is full");
    assert_eq!((unsent.value.as_str(), &unsent.error), ("c", &ChannelError::TimedOut));
    assert!(began.elapsed() >= Duration::from_millis(20));
    assert_eq!(receiver.recv().as_deref(), Ok("a"));
    sender.try_send(unsent.value).expect("a place is free");
    assert_eq!(receiver.iter().take(2).collect::<String>(), "bc");
    drop(receiver);
    for unsent in [sender.send(String::from("d")), pollster::block_on(sender.send_async(String::from("d")))] {
        let unsent = unsent.expect_err("there is no receiver");
        assert_eq!((unsent.value.as_str(), unsent.error), ("d", ChannelError::Closed));
    }
}

#[test]
fn a_channel_without_a_capacity_is_full_at_some_time() {
    let (sender, receiver) = channel();
    let sent = (0..1_000_000).find(|n| sender.try_send(*n).is_err()).expect("it ends");
    assert!(sent > 0);
    assert_eq!(sender.try_send(7), Err(SendError { value: 7, error: ChannelError::Full }));
    drop(sender);
    assert!(receiver.into_iter().eq(0..sent));
}

#[test]
fn a_capacity_of_0_is_refused() {
    let payload = catch_unwind(|| channel_bounded::<u8>(0)).expect_err("it is refused");
    assert!(payload.downcast_ref::<&str>().is_some_and(|message| message.contains("at least 1")));
}

#[test]
fn a_receiver_that_is_dropped_wakes_the_senders_that_wait() {
    let (sender, receiver) = channel_bounded(1);
    sender.send(0).expect("there is a place");
    thread::scope(|scope| {
        let blocked = [1, 2].map(|n| {
            (
                n,
                scope.spawn({
                    let sender = sender.clone();
                    move || sender.send(n)
                }),
            )
        });
        let limited = scope.spawn(|| sender.send_timeout(3, LONG));
        let waits = scope.spawn(|| pollster::block_on(sender.send_async(4)));
        drop(receiver);
        for (value, sends) in blocked.into_iter().chain([(3, limited), (4, waits)]) {
            assert_eq!(sends.join().expect("no panic"), Err(SendError { value, error: ChannelError::Closed }));
        }
    });
}

#[test]
fn receivers_are_iterated_until_all_senders_are_gone() {
    let (sender, receiver) = channel();
    thread::scope(|scope| {
        let shared = sender.clone();
        scope.spawn(move || (0..100).try_for_each(|n| sender.send(n)).expect("there is a receiver"));
        scope.spawn(move || (100..200).try_for_each(|n| shared.send(n)).expect("there is a receiver"));
        let mut sum = 0;
        for n in &receiver {
            sum += n;
        }
        assert_eq!(sum, (0..200).sum::<i32>());
    });
    assert_eq!(receiver.into_iter().next(), None);
}

#[test]
fn select_finds_the_receiver_that_is_ready() {
    let (numbers, from_numbers) = channel::<u32>();
    let (words, from_words) = channel::<String>();
    assert_eq!(select_timeout(&[&from_numbers, &from_words], Duration::from_millis(5)), None);
    words.send(String::from("one")).expect("it is open");
    assert_eq!(select(&[&from_numbers, &from_words]), 1);
    numbers.send(1).expect("it is open");
    // The first of several.
    assert_eq!(select_timeout(&[&from_numbers, &from_words], LONG), Some(0));
    assert_eq!(from_numbers.try_recv(), Ok(Some(1)));
    assert_eq!(from_words.try_recv().map(|word| word.is_some()), Ok(true));
    // A thread that waits is woken by a value, and by the end of the senders.
    thread::scope(|scope| {
        let waits = scope.spawn(|| select(&[&from_words, &from_numbers]));
        let polls = scope.spawn(|| pollster::block_on(select_async(&[&from_words, &from_numbers])));
        numbers.send(2).expect("it is open");
        assert_eq!((waits.join().expect("no panic"), polls.join().expect("no panic")), (1, 1));
        assert_eq!(from_numbers.recv(), Ok(2));
        let waits = scope.spawn(|| select(&[&from_words, &from_numbers]));
        drop(words);
        assert_eq!(waits.join().expect("no panic"), 0);
        assert_eq!(from_words.try_recv(), Err(ChannelError::Closed));
    });
}

#[test]
fn select_takes_turns_over_many_senders_and_loses_nothing() {
    let (senders, receivers): (Vec<_>, Vec<Receiver<u32>>) = (0..3).map(|_| channel_bounded(2)).unzip();
    thread::scope(|scope| {
        for sender in senders {
            scope.spawn(move || (0..200).try_for_each(|n| sender.send(n)).expect("there is a receiver"));
        }
        let (mut open, mut sum) = (receivers.iter().collect::<Vec<_>>(), 0);
        while !open.is_empty() {
            let list: Vec<&dyn fanfold::Selectable> = open.iter().map(|receiver| *receiver as _).collect();
            let index = select(&list);
            match open[index].try_recv() {
                Ok(value) => sum += value.unwrap_or(0),
                Err(error) => {
                    assert_eq!(error, ChannelError::Closed);
                    open.remove(index);
                }
            }
        }
        assert_eq!(sum, 3 * (0..200).sum::<u32>());
    });
}

#[test]
fn a_select_of_no_receivers_is_refused() {
    let selects: [fn(); 3] =
        [|| _ = select(&[]), || _ = select_timeout(&[], LONG), || _ = pollster::block_on(select_async(&[]))];
    for select in selects {
        let payload = catch_unwind(select).expect_err("it is refused");
        assert!(payload.downcast_ref::<&str>().is_some_and(|message| message.contains("no receivers")));
    }
}
