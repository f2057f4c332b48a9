//! Which threads are woken for a job: never too few, and not many more than needed.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::task::{Context, Poll, Wake, Waker};

use fanfold::{Pending, Pool, as_completed, join_all};
use futures_util::Stream;

/// Occupies one worker of a pool of two with a task that runs until the sender is dropped.
fn occupy_worker(pool: &Pool) -> (mpsc::Sender<()>, fanfold::Task<()>) {
    let (hold, occupy_worker) = mpsc::channel();
    let (here, is_here) = mpsc::channel();
    let task = pool.submit(move || {
        here.send(()).expect("it is waited for");
        let _ = occupy_worker.recv();
    });
    is_here.recv().expect("it has begun");
    (hold, task)
}

#[test]
fn rayon_join_in_a_cpu_task_reaches_all_threads_of_the_pool() {
    let pool = Pool::cpu("split").threads(2).build().expect("threads start");
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
fn an_idle_thread_helps_the_others() {
    let pool = Pool::cpu("helped").threads(2).build().expect("threads start");
    for _ in 0..10 {
        // One thread runs the blocking task. The other one is free, asleep or awake, when the broadcast needs both.
        let (hold, task) = occupy_worker(&pool);
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
fn jobs_that_a_task_spawns_in_rayon_are_run() {
    for threads in [1, 2] {
        let pool = Pool::cpu("left").threads(threads).build().expect("threads start");
        let (sender, receiver) = mpsc::channel();
        let task = pool.submit(move || {
            rayon::spawn(move || sender.send(rayon::current_num_threads()).expect("it is waited for"));
        });
        task.join().expect("no panic");
        assert_eq!(receiver.recv(), Ok(threads));
    }
}

#[test]
fn a_callback_may_wait_for_its_own_pool() {
    for pool in [Pool::io("callback"), Pool::cpu("callback")] {
        let pool = Arc::new(pool.threads(2).build().expect("threads start"));
        let (sender, receiver) = mpsc::channel();
        let (hold, task) = occupy_worker(&pool);
        let inner = Arc::clone(&pool);
        task.on_done(move |_| {
            let (here, is_here) = mpsc::channel();
            let _detached = inner.submit(move || here.send(()));
            let _ = sender.send(is_here.recv());
        });
        drop(hold);
        receiver.recv().expect("it is called").expect("its task runs meanwhile");
        task.join().expect("no panic");
    }
}

/// Waits for another task of the pool, and sends whether it has run.
fn wait_for_another(pool: &Pool, sender: &mpsc::Sender<bool>) {
    let (here, is_here) = mpsc::channel();
    let _detached = pool.submit(move || here.send(()));
    let _ = sender.send(is_here.recv().is_ok());
}

/// A result whose destructor waits for another task of the pool.
struct WaitsOnDrop(Arc<Pool>, mpsc::Sender<bool>);

impl Drop for WaitsOnDrop {
    fn drop(&mut self) {
        wait_for_another(&self.0, &self.1);
    }
}

#[test]
fn the_destructor_of_a_detached_result_may_wait_for_its_own_pool() {
    for pool in [Pool::io("result"), Pool::cpu("result")] {
        let pool = Arc::new(pool.threads(2).build().expect("threads start"));
        let (sender, receiver) = mpsc::channel();
        let (go, gone) = mpsc::channel::<()>();
        let last = WaitsOnDrop(Arc::clone(&pool), sender);
        drop(pool.submit(move || {
            let _ = gone.recv();
            last
        }));
        drop(go);
        assert!(receiver.recv().expect("it is dropped"));
    }
}

/// A waker that waits for another task of the pool.
struct WaitsOnWake(Arc<Pool>, mpsc::Sender<bool>);

impl Wake for WaitsOnWake {
    fn wake(self: Arc<Self>) {
        wait_for_another(&self.0, &self.1);
    }
}

#[test]
fn a_waker_may_wait_for_its_own_pool() {
    for pool in [Pool::io("waker"), Pool::cpu("waker")] {
        let pool = Arc::new(pool.threads(2).build().expect("threads start"));
        let (sender, receiver) = mpsc::channel();
        let waker = Waker::from(Arc::new(WaitsOnWake(Arc::clone(&pool), sender)));
        let (hold, task) = occupy_worker(&pool);
        let mut task = Box::pin(task);
        assert!(task.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        drop(hold);
        assert!(receiver.recv().expect("it is woken"));
        let Poll::Ready(done) = task.as_mut().poll(&mut Context::from_waker(Waker::noop())) else {
            panic!("the waker was called, so the task is done")
        };
        done.expect("no panic");
    }
}

#[test]
fn a_waker_of_as_completed_may_wait_for_its_own_pool() {
    let pool = Arc::new(Pool::io("stream").threads(2).build().expect("threads start"));
    let (sender, receiver) = mpsc::channel();
    let waker = Waker::from(Arc::new(WaitsOnWake(Arc::clone(&pool), sender)));
    let (hold, task) = occupy_worker(&pool);
    let mut completed = Box::pin(as_completed([task]).stream());
    assert!(completed.as_mut().poll_next(&mut Context::from_waker(&waker)).is_pending());
    drop(hold);
    assert!(receiver.recv().expect("it is woken"));
    assert!(completed.as_mut().poll_next(&mut Context::from_waker(Waker::noop())).is_ready());
}

#[test]
fn a_closing_pool_has_threads_for_all_queued_tasks() {
    const TASKS: usize = 4;
    for round in 0..50 {
        for pool in [Pool::io("closing"), Pool::cpu("closing")] {
            let pool = pool.threads(TASKS).build().expect("threads start");
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
#[cfg_attr(miri, ignore = "takes hours under Miri")]
fn tasks_that_wait_for_each_other_get_threads_on_a_busy_pool() {
    const MEETING: usize = 4;
    let pool = Arc::new(Pool::io("meeting").threads(16).build().expect("threads start"));
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
