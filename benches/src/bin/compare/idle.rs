//! Processor time of a pool with little or no work.

use std::hint::black_box;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use fanfold::Pool;
use fanfold_benches::{Contest, Outcome, Report, cpu_time, others_cpu_time};

const FANFOLD: &str = "fanfold cpu";
const RAYON: &str = "rayon spawn";
const SERIAL: &str = "on the calling thread";
/// The pause between two tasks.
const PERIOD: Duration = Duration::from_millis(1);
/// The processor time of a task.
const TASK: Duration = Duration::from_micros(10);
const TASKS: u32 = 100;
/// The time after the last task within which workers must go to sleep.
const SETTLE: Duration = Duration::from_millis(5);

pub(crate) fn run(report: &mut Report) {
    let contest = Contest::new("processor time of 100 tasks of 10 us, one each millisecond")
        .rounds(9, Duration::from_millis(300))
        .with_timed(SERIAL, || one_task_each_period(work))
        .with_timed(FANFOLD, || one_task_each_period(|| Pool::cpu_default().submit(work).join().expect("no panic")))
        .with_timed(RAYON, || {
            one_task_each_period(|| {
                let (sender, receiver) = mpsc::sync_channel(1);
                rayon::spawn(move || {
                    work();
                    sender.send(()).expect("the receiver waits");
                });
                receiver.recv().expect("no panic");
            })
        });
    if let Some(outcome) = report.run(contest) {
        let figure = outcome.ratio(FANFOLD, RAYON);
        outcome.bar("processor time against rayon's", figure, 1.0);
    }
    println!();
    let parts: [(&str, u32, fn()); 4] =
        [("cpu", 9, busy_cpu), ("io", 9, busy_io), ("map", 9, busy_map), ("after 11 s", 1, after_idle_timeout)];
    for (name, rounds, busy) in parts {
        let title = format!("processor time in 100 ms of idleness, 5 ms after work: {name}");
        if report.wants(&title) {
            let used = (0..rounds).map(|_| idle_after(busy)).max().unwrap_or_default();
            let outcome = report.keep(Outcome::measured(title, [("at most".into(), used)]));
            // The two clocks are not read at the same instant, so the figure is not exactly 0.
            outcome.bar("us, of all threads but the measuring one", used.as_secs_f64() * 1e6, 10.0);
        }
    }
    println!();
}

fn work() {
    let start = Instant::now();
    while start.elapsed() < TASK {
        black_box(());
    }
}

fn one_task_each_period(task: impl Fn()) -> Duration {
    let before = cpu_time();
    for _ in 0..TASKS {
        thread::sleep(PERIOD);
        task();
    }
    cpu_time().saturating_sub(before)
}

fn busy_cpu() {
    (0..1_000).map(|_| Pool::cpu_default().submit(work)).for_each(|task| task.join().expect("no panic"));
}

fn busy_io() {
    (0..1_000).map(|_| Pool::io_default().submit(work)).for_each(|task| task.join().expect("no panic"));
}

fn busy_map() {
    Pool::cpu_default().map(0..2_000, |_| work()).collect::<()>();
}

/// Sleeps until threads without work have ended.
fn after_idle_timeout() {
    thread::sleep(Duration::from_secs(11));
}

fn idle_after(busy: fn()) -> Duration {
    busy();
    thread::sleep(SETTLE);
    let before = others_cpu_time();
    thread::sleep(Duration::from_millis(100));
    others_cpu_time().saturating_sub(before)
}
