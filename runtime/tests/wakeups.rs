//! Who is called for a job: nobody too many, and never nobody.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::task::{Context, Poll, Wake, Waker};

use fanfold::{Pending, Pool, as_completed, join_all};
use futures_util::Stream;

/// A pool of two, and a task that is held on one of its workers until the sender is dropped.
fn held(pool: &Pool) -> (mpsc::Sender<()>, fanfold::Task<()>) {
    let (hold, held) = mpsc::channel();
    let (here, is_here) = mpsc::channel();
    let task = pool.submit(move || {
        here.send(()).expect("it is waited for");
        let _ = held.recv();
    });
    is_here.recv().expect("it has begun");
    (hold, task)
}

#[test]
fn what_a_cpu_function_splits_reaches_all_threads_of_its_pool() {
    let pool = Pool::cpu("split").threads(2).build().expect("threads can be had");
    for _ in 0..100 {
        let both = pool.submit(|| {
            let meet = Barrier::new(2);
            rayon::join(|| meet.wait(), || meet.wait());
            rayon::current_num_threads()
        });
        assert_eq!(both.join().expect("no panic"), 2);
    }
}

#[test]
fn a_thread_that_has_nothing_to_do_helps_the_others() {
    let pool = Pool::cpu("helped").threads(2).build().expect("threads can be had");
    for _ in 0..10 {
        // Whichever thread has the held task, the other one is free, asleep or not, when the broadcast wants both.
        let (hold, task) = held(&pool);
        let (go, gone) = mpsc::channel::<()>();
        let wide = pool.submit(move || {
            let _ = gone.recv();
            rayon::broadcast(|thread| thread.index())
        });
        drop(hold);
        task.join().expect("no panic");
        drop(go);
        assert_eq!(wide.join().expect("no panic"), [0, 1]);
    }
}

#[test]
fn what_a_task_leaves_behind_in_rayon_is_run() {
    for threads in [1, 2] {
        let pool = Pool::cpu("left").threads(threads).build().expect("threads can be had");
        let (told, tells) = mpsc::channel();
        let task = pool.submit(move || {
            rayon::spawn(move || told.send(rayon::current_num_threads()).expect("it is waited for"));
        });
        task.join().expect("no panic");
        assert_eq!(tells.recv(), Ok(threads));
    }
}

#[test]
fn a_callback_may_wait_for_the_pool_that_calls_it() {
    for pool in [Pool::io("callback"), Pool::cpu("callback")] {
        let pool = Arc::new(pool.threads(2).build().expect("threads can be had"));
        let (told, tells) = mpsc::channel();
        let (hold, task) = held(&pool);
        let inner = Arc::clone(&pool);
        task.on_done(move |_| {
            let (here, is_here) = mpsc::channel();
            let _detached = inner.submit(move || here.send(()));
            let _ = told.send(is_here.recv());
        });
        drop(hold);
        tells.recv().expect("it is called").expect("its task runs meanwhile");
        task.join().expect("no panic");
    }
}

/// Waits for a task of its own, and tells whether that has run.
fn wait_for_another(pool: &Pool, told: &mpsc::Sender<bool>) {
    let (here, is_here) = mpsc::channel();
    let _detached = pool.submit(move || here.send(()));
    let _ = told.send(is_here.recv().is_ok());
}

/// A result that waits for a task of its own when it is dropped.
struct Last(Arc<Pool>, mpsc::Sender<bool>);

impl Drop for Last {
    fn drop(&mut self) {
        wait_for_another(&self.0, &self.1);
    }
}

#[test]
fn a_result_that_nobody_wants_may_wait_for_the_pool_that_drops_it() {
    for pool in [Pool::io("result"), Pool::cpu("result")] {
        let pool = Arc::new(pool.threads(2).build().expect("threads can be had"));
        let (told, tells) = mpsc::channel();
        let (go, gone) = mpsc::channel::<()>();
        let last = Last(Arc::clone(&pool), told);
        drop(pool.submit(move || {
            let _ = gone.recv();
            last
        }));
        drop(go);
        assert!(tells.recv().expect("it is dropped"));
    }
}

/// A waker that waits for a task of its own.
struct Waits(Arc<Pool>, mpsc::Sender<bool>);

impl Wake for Waits {
    fn wake(self: Arc<Self>) {
        wait_for_another(&self.0, &self.1);
    }
}

#[test]
fn a_waker_may_wait_for_the_pool_that_wakes_it() {
    for pool in [Pool::io("waker"), Pool::cpu("waker")] {
        let pool = Arc::new(pool.threads(2).build().expect("threads can be had"));
        let (told, tells) = mpsc::channel();
        let waker = Waker::from(Arc::new(Waits(Arc::clone(&pool), told)));
        let (hold, task) = held(&pool);
        let mut task = Box::pin(task);
        assert!(task.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        drop(hold);
        assert!(tells.recv().expect("it is woken"));
        let Poll::Ready(done) = task.as_mut().poll(&mut Context::from_waker(Waker::noop())) else {
            panic!("it has told its waker that it is done")
        };
        done.expect("no panic");
    }
}

#[test]
fn a_waker_of_completed_tasks_may_wait_for_the_pool_that_wakes_it() {
    let pool = Arc::new(Pool::io("stream").threads(2).build().expect("threads can be had"));
    let (told, tells) = mpsc::channel();
    let waker = Waker::from(Arc::new(Waits(Arc::clone(&pool), told)));
    let (hold, task) = held(&pool);
    let mut completed = Box::pin(as_completed([task]).stream());
    assert!(completed.as_mut().poll_next(&mut Context::from_waker(&waker)).is_pending());
    drop(hold);
    assert!(tells.recv().expect("it is woken"));
    assert!(completed.as_mut().poll_next(&mut Context::from_waker(Waker::noop())).is_ready());
}

#[test]
fn a_pool_that_closes_has_threads_for_all_that_is_queued() {
    const TASKS: usize = 4;
    for round in 0..50 {
        for pool in [Pool::io("closing"), Pool::cpu("closing")] {
            let pool = pool.threads(TASKS).build().expect("threads can be had");
            let meet = Arc::new(Barrier::new(TASKS));
            let tasks: Vec<_> = (0..TASKS)
                .map(|_| {
                    let meet = Arc::clone(&meet);
                    pool.submit(move || meet.wait().is_leader())
                })
                .collect();
            if round % 2 == 0 {
                pool.shutdown(Pending::Run);
            } else {
                drop(pool);
            }
            let leaders = tasks.into_iter().map(|task| task.join().expect("it has run"));
            assert_eq!(leaders.filter(|leads| *leads).count(), 1);
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "takes it hours")]
fn tasks_that_meet_find_threads_however_hot_the_pool_is() {
    const MEETING: usize = 4;
    let pool = Arc::new(Pool::io("meeting").threads(16).build().expect("threads can be had"));
    let done = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..2_000 {
                    pool.submit(|| ()).join().expect("no panic");
                }
            });
        }
        scope.spawn(|| {
            for _ in 0..50 {
                let meet = Arc::new(Barrier::new(MEETING));
                let tasks = (0..MEETING).map(|_| {
                    let meet = Arc::clone(&meet);
                    pool.submit(move || {
                        meet.wait();
                    })
                });
                join_all(tasks.collect::<Vec<_>>()).expect("no panic");
                done.fetch_add(1, Ordering::Relaxed);
            }
        });
    });
    assert_eq!(done.into_inner(), 50);
}
