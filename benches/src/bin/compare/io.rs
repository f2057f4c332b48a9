//! Functions that sleep, on as many threads as there are calls. All contenders' threads are started before, except
//! those of `std::thread::scope`, which starts its own.

use std::thread;
use std::time::Duration;

use fanfold::{Pool, join_all};
use fanfold_benches::{Contest, FANFOLD, Report};
use rayon::prelude::*;

use crate::Options;
use crate::tasks::by_channel;
use crate::ways::{RAYON, SCOPE, THREADPOOL, TOKIO};

const SUBMITTED: &str = "fanfold, submit and join";

pub(crate) fn run(_: &Options, report: &mut Report) -> Result<(), String> {
    for (calls, millis) in [(16, 1), (64, 10), (200, 50), (500, 20)] {
        let title = format!("{calls} calls that sleep {millis} ms");
        if !report.wants(&title) {
            continue;
        }
        let sleep = move || thread::sleep(Duration::from_millis(millis));
        let pool = Pool::io("sleepers").threads(calls).build().map_err(|error| error.to_string())?;
        let rayon = rayon::ThreadPoolBuilder::new().num_threads(calls).build().map_err(|error| error.to_string())?;
        let threads = threadpool::ThreadPool::new(calls);
        let tokio = tokio::runtime::Builder::new_multi_thread().enable_all().max_blocking_threads(calls).build();
        let tokio = tokio.map_err(|error| error.to_string())?;
        let contest = Contest::new(title)
            .rounds(5, Duration::from_millis(100))
            .with(FANFOLD, || pool.map(0..calls, |_| sleep()).for_each(drop))
            .with(SUBMITTED, || join_all((0..calls).map(|_| pool.submit(sleep))).expect("no panic"))
            .with(RAYON, || rayon.install(|| (0..calls).into_par_iter().with_max_len(1).for_each(|_| sleep())))
            .with(SCOPE, || {
                thread::scope(|scope| {
                    for _ in 0..calls {
                        scope.spawn(sleep);
                    }
                });
            })
            .with(TOKIO, || {
                let tasks: Vec<_> = (0..calls).map(|_| tokio.spawn_blocking(sleep)).collect();
                tokio.block_on(async {
                    for task in tasks {
                        task.await.expect("no panic");
                    }
                });
            })
            .with(THREADPOOL, || {
                by_channel(calls, |done| {
                    threads.execute(move || {
                        sleep();
                        done();
                    });
                });
            });
        if let Some(outcome) = report.run(contest) {
            let best = outcome.best_peer();
            let figure = outcome.ratio(FANFOLD, &best);
            outcome.bar(format!("against {best}"), figure, 1.05);
        }
        println!();
    }
    Ok(())
}
