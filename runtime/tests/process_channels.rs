//! Channels between threads and worker processes.

use std::process;
use std::time::Duration;

use fanfold::{ChannelError, Pool, Receiver, Sender, TaskError, channel, parallel};

fanfold::process_tests!();

static PRODUCERS: Pool = Pool::process("producers").threads(2);
static CONSUMERS: Pool = Pool::process("consumers").threads(2);

#[parallel(kind = "process", pool = PRODUCERS)]
fn produce(values: Sender<(u32, u64)>, count: u64) -> Result<(), ChannelError> {
    Ok((0..count).try_for_each(|n| values.send((process::id(), n)))?)
}

#[parallel(kind = "process", pool = CONSUMERS)]
fn consume(values: Receiver<(u32, u64)>) -> (u64, u64) {
    values.iter().fold((0, 0), |(count, sum), (_, n)| (count + 1, sum + n))
}

#[parallel(kind = "io")]
fn collect_in_thread(values: Receiver<(u32, u64)>) -> Vec<(u32, u64)> {
    values.iter().collect()
}

#[test]
fn values_arrive_in_order_from_a_process() {
    let (sender, receiver) = channel();
    let produced = produce::submit(sender, 10_000);
    let values = collect_in_thread(receiver);
    assert!(values.iter().map(|(_, n)| *n).eq(0..10_000));
    assert!(values.iter().all(|(pid, _)| *pid != process::id()));
    assert_eq!(produced.join().expect("no panic"), Ok(()));
}

#[test]
fn several_producers_and_consumers_share_a_channel_between_processes() {
    let (sender, receiver) = channel();
    let produced = [produce::submit(sender.clone(), 5_000), produce::submit(sender, 5_000)];
    let consumed = [consume::submit(receiver.clone()), consume::submit(receiver)];
    for task in produced {
        assert_eq!(task.join().expect("no panic"), Ok(()));
    }
    let all = consumed.map(|task| task.join().expect("no panic"));
    assert_eq!(all[0].0 + all[1].0, 10_000);
    assert_eq!(all[0].1 + all[1].1, 2 * (0..5_000).sum::<u64>());
}

#[test]
fn dropping_one_end_closes_the_other() {
    let (sender, receiver) = channel::<u32>();
    sender.send(1).expect("there is room");
    drop(sender);
    assert_eq!(receiver.recv(), Ok(1));
    assert_eq!(receiver.recv(), Err(ChannelError::Closed));
    assert_eq!(receiver.try_recv(), Err(ChannelError::Closed));
    let (sender, receiver) = channel();
    drop(receiver);
    assert_eq!(sender.send(1).map_err(ChannelError::from), Err(ChannelError::Closed));
    // The same with the other end in another process.
    let (sender, receiver) = channel();
    drop(receiver);
    assert_eq!(produce(sender, 1), Err(ChannelError::Closed));
}

#[parallel(kind = "process", pool = PRODUCERS)]
fn send_and_abort(values: Sender<u32>) {
    values.send(7).expect("the receiver is alive");
    process::abort();
}

#[test]
fn a_process_that_dies_closes_its_end_of_a_channel() {
    let (sender, receiver) = channel();
    let task = send_and_abort::submit(sender);
    assert_eq!(receiver.iter().collect::<Vec<_>>(), [7]);
    let aborted = cfg!(unix).then_some(6);
    assert!(matches!(task.join(), Err(TaskError::WorkerDied { signal, .. }) if signal == aborted));
}

#[test]
fn senders_wait_while_the_channel_is_full() {
    let (sender, receiver) = channel::<Vec<u64>>();
    let (progress, progressed) = std::sync::mpsc::channel();
    let sending = Pool::io_default().submit(move || {
        for n in 0..10_000_u64 {
            sender.send(vec![n; 100]).expect("the receiver is alive");
            progress.send(n).expect("the test listens");
        }
    });
    // The sender fills the channel and waits before the end, because no value has been received.
    let mut sent = 0;
    while progressed.recv_timeout(Duration::from_millis(200)).is_ok() {
        sent += 1;
    }
    assert!(sent > 0 && sent < 9_000, "{sent}");
    assert!(receiver.iter().map(|value| value[99]).eq(0..10_000));
    sending.join().expect("no panic");
}

#[test]
fn large_values_arrive_complete() {
    let (sender, receiver) = channel::<String>();
    let sizes = [0, 1, 65_000, 65_536, 65_537, 3_000_000];
    let sending = Pool::io_default().submit(move || {
        for size in sizes {
            sender.send("x".repeat(size)).expect("the receiver is alive");
        }
    });
    assert_eq!(receiver.iter().map(|text| text.len()).collect::<Vec<_>>(), sizes);
    sending.join().expect("no panic");
}

#[test]
fn recv_timeout_ends_after_its_limit() {
    let (sender, receiver) = channel::<u32>();
    assert_eq!(receiver.try_recv(), Ok(None));
    assert_eq!(receiver.recv_timeout(Duration::from_millis(1)), Err(ChannelError::TimedOut));
    sender.send(3).expect("there is room");
    assert_eq!(receiver.recv_timeout(Duration::from_secs(30)), Ok(3));
}

static ONE: Pool = Pool::io("one").threads(1);

#[test]
fn a_worker_that_waits_in_recv_lets_a_queued_task_send() {
    let (sender, receiver) = channel::<u32>();
    let receiving = ONE.submit(move || receiver.recv());
    let sending = ONE.submit(move || sender.send(5));
    assert_eq!(receiving.join().expect("no panic"), Ok(5));
    assert_eq!(sending.join().expect("no panic"), Ok(()));
}

#[parallel(kind = "process", pool = PRODUCERS)]
fn answer(questions: Receiver<u32>, answers: Option<Sender<u32>>) {
    let answers = answers.expect("one was given");
    questions.iter().for_each(|n| answers.send(n * n).expect("the receiver is alive"));
}

#[test]
fn two_channels_carry_requests_and_replies() {
    let (questions, to_answer) = channel();
    let (to_ask, answers) = channel();
    let answering = answer::submit(to_answer, Some(to_ask));
    for n in 0..100 {
        questions.send(n).expect("it listens");
        assert_eq!(answers.recv(), Ok(n * n));
    }
    drop(questions);
    answering.join().expect("no panic");
    assert_eq!(answers.recv(), Err(ChannelError::Closed));
}

#[parallel(kind = "process", pool = PRODUCERS)]
fn drops_its_sender(values: Sender<u32>, replies: Receiver<u32>) -> Result<u32, ChannelError> {
    values.send(1)?;
    drop(values);
    // The parent sends this value once it has seen the channel closed.
    replies.recv()
}

#[test]
fn an_end_dropped_by_a_running_function_is_closed() {
    let ((sender, receiver), (reply, replies)) = (channel(), channel());
    let task = drops_its_sender::submit(sender, replies);
    assert_eq!(receiver.iter().collect::<Vec<_>>(), [1]);
    reply.send(7).expect("it waits");
    assert_eq!(task.join().expect("no panic"), Ok(7));
    // The same as a direct call.
    let ((sender, receiver), (reply, replies)) = (channel(), channel());
    let listener = std::thread::spawn(move || {
        assert_eq!(receiver.iter().count(), 1);
        reply.send(8)
    });
    assert_eq!(drops_its_sender(sender, replies), Ok(8));
    assert_eq!(listener.join().expect("no panic"), Ok(()));
}

#[cfg(target_os = "linux")]
static NO_DESCRIPTORS: Pool = Pool::process("no_descriptors").threads(1);

/// Receives a large value after using up its file descriptors.
#[cfg(target_os = "linux")]
#[parallel(kind = "process", pool = NO_DESCRIPTORS)]
fn recv_without_descriptors(values: Receiver<Vec<u8>>) -> String {
    use std::os::fd::AsRawFd;

    // `open` returns the lowest free number.
    let next = std::fs::File::open("/dev/null").expect("it is there").as_raw_fd();
    let limit = libc::rlimit { rlim_cur: next.try_into().expect("a number"), rlim_max: 1 << 10 };
    // SAFETY: `limit` is valid for the read.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
    values.recv().map_or_else(|error| error.to_string(), |value| format!("{} bytes", value.len()))
}

#[test]
#[cfg(target_os = "linux")]
fn a_large_value_that_cannot_be_opened_is_an_error() {
    let (sender, receiver) = channel();
    sender.send(vec![7; 200_000]).expect("there is room");
    let error = recv_without_descriptors(receiver);
    assert!(error.contains("close others, or raise its limit"), "{error}");
}

#[parallel(kind = "process")]
fn opens() -> (Sender<u32>, Receiver<u32>) {
    let (sender, receiver) = channel();
    sender.send(5).expect("the receiver is open");
    (sender, receiver)
}

#[parallel(kind = "process")]
fn answers((questions, answers): (Receiver<u32>, Sender<u32>), more: Vec<(Receiver<u32>, Option<Sender<u32>>)>) {
    let pairs = more.into_iter().filter_map(|(questions, answers)| Some((questions, answers?)));
    for (questions, answers) in [(questions, answers)].into_iter().chain(pairs) {
        questions.iter().for_each(|n| answers.send(n + 1).expect("the receiver is open"));
    }
}

#[test]
fn ends_cross_in_tuples() {
    let (sender, receiver) = opens();
    sender.send(6).unwrap();
    drop(sender);
    assert_eq!(receiver.iter().collect::<Vec<_>>(), [5, 6]);

    let (first, first_questions) = channel();
    let (second, second_questions) = channel();
    let (first_answers, first_answered) = channel();
    let (second_answers, second_answered) = channel();
    first.send(1).unwrap();
    second.send(2).unwrap();
    drop((first, second));
    answers((first_questions, first_answers), vec![(second_questions, Some(second_answers))]);
    assert_eq!(first_answered.iter().chain(second_answered).collect::<Vec<_>>(), [2, 3]);
}
