//! Progress bars on a screen of the test's own: several at once, nested, of maps that fail, and with another style.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Barrier, Mutex, MutexGuard, PoisonError};
use std::thread;

use fanfold::prelude::*;
use fanfold::progress::indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};
use fanfold::{Pool, parallel, progress};
use polars::prelude::*;

/// The columns of a screen.
const WIDTH: usize = 100;

/// A screen that wraps long lines, as a terminal does.
#[derive(Clone, Debug, Default)]
struct Screen(Arc<Mutex<Cells>>);

#[derive(Debug, Default)]
struct Cells {
    lines: Vec<Vec<char>>,
    row: usize,
    column: usize,
}

impl Cells {
    fn write(&mut self, character: char) {
        match character {
            '\r' => self.column = 0,
            '\n' => self.row += 1,
            _ => {
                // The last column keeps the cursor until another character comes.
                if self.column == WIDTH {
                    (self.row, self.column) = (self.row + 1, 0);
                }
                let rows = self.lines.len().max(self.row + 1);
                self.lines.resize(rows, vec![' '; WIDTH]);
                self.lines[self.row][self.column] = character;
                self.column += 1;
            }
        }
    }
}

impl Screen {
    fn cells(&self) -> MutexGuard<'_, Cells> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The only line with this label.
    #[track_caller]
    fn line(&self, label: &str) -> String {
        let found = self.lines(label);
        assert_eq!(found.len(), 1, "{label}: {:#?}", self.lines(""));
        found[0].clone()
    }

    fn lines(&self, label: &str) -> Vec<String> {
        let cells = self.cells();
        cells.lines.iter().map(|line| line.iter().collect()).filter(|line: &String| line.contains(label)).collect()
    }
}

impl TermLike for Screen {
    fn width(&self) -> u16 {
        u16::try_from(WIDTH).expect("a narrow screen")
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        let mut cells = self.cells();
        cells.row = cells.row.saturating_sub(n);
        Ok(())
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.cells().row += n;
        Ok(())
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.cells().column += n;
        Ok(())
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        let mut cells = self.cells();
        cells.column = cells.column.saturating_sub(n);
        Ok(())
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.write_str(text)?;
        self.write_str("\r\n")
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        let mut cells = self.cells();
        text.chars().for_each(|character| cells.write(character));
        Ok(())
    }

    fn clear_line(&self) -> io::Result<()> {
        let mut cells = self.cells();
        let row = cells.row;
        if let Some(line) = cells.lines.get_mut(row) {
            line.fill(' ');
        }
        cells.column = 0;
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

/// A new screen, which all bars are drawn on. One test at a time has one.
fn screen() -> (Screen, MutexGuard<'static, ()>) {
    static ONE_TEST: Mutex<()> = Mutex::new(());
    let guard = ONE_TEST.lock().unwrap_or_else(PoisonError::into_inner);
    let screen = Screen::default();
    progress::bars().set_draw_target(ProgressDrawTarget::term_like(Box::new(screen.clone())));
    (screen, guard)
}

#[parallel(kind = "cpu", chunks = 4, progress = "of a function that fails")]
fn fails(numbers: Vec<u64>) -> Result<Vec<u64>, String> {
    if numbers.contains(&7) { Err("seven".into()) } else { Ok(numbers) }
}

#[test]
fn the_bar_of_a_map_that_fails_stops_where_it_was() {
    let (screen, _guard) = screen();
    let failing = |n: u64| if n == 999 { Err(n) } else { Ok(n) };
    let refused: Result<Vec<u64>, u64> =
        Pool::cpu_default().map(0..1_000, failing).chunk_size(10).progress("of an error").collect();
    assert_eq!(refused, Err(999));
    let panicking = || {
        let map = Pool::io_default().map(0..1_000_u64, |n| assert!(n != 999)).chunk_size(10);
        map.progress("of a panic").for_each(|()| ());
    };
    assert!(catch_unwind(AssertUnwindSafe(panicking)).is_err());
    let first: Vec<u64> = Pool::io_default().map(0..1_000, |n| n).progress("left early").into_iter().take(5).collect();
    assert_eq!(first.len(), 5);
    assert!(fails((0..8).collect()).is_err());
    let frame = df!("n" => (0..1_000_i64).collect::<Vec<_>>()).expect("one column");
    let fail_last = |chunk: DataFrame| if chunk.height() == 7 { polars_bail!(NoData: "the last") } else { Ok(chunk) };
    frame.par_rows(331).progress("of a frame").map(fail_last).expect_err("the last chunk fails");
    frame
        .clone()
        .lazy()
        .par_rows(331)
        .progress("of a scan")
        .map(fail_last)
        .collect()
        .expect_err("the last chunk fails");
    let other_columns = |mut chunk: DataFrame| {
        if chunk.height() == 7 {
            chunk.rename("n", "other".into())?;
        }
        Ok(chunk)
    };
    frame.par_rows(331).progress("of columns").map(other_columns).expect_err("they cannot be stacked");
    // indicatif draws nothing while a thread panics.
    for label in ["of an error", "left early", "that fails", "of a frame", "of a scan", "of columns"] {
        let line = screen.line(label);
        assert!(line.contains("stopped"), "{line}");
    }
    for label in ["of an error", "of a panic", "left early"] {
        let line = screen.line(label);
        assert!(!line.contains("1,000/1,000") && line.contains("/1,000"), "{line}");
    }
    assert!(!screen.line("that fails").contains("8/8"));
    let good: Vec<u64> = Pool::cpu_default().map(0..1_000, |n| n).progress("of success").collect();
    assert_eq!(good.len(), 1_000);
    let line = screen.line("of success");
    assert!(line.contains("1,000/1,000") && !line.contains("stopped"), "{line}");
}

#[test]
fn bars_of_maps_at_the_same_time_are_below_each_other() {
    let (screen, _guard) = screen();
    let (pool, both) = (Pool::io_default(), Barrier::new(2));
    let own = progress::bars().add(ProgressBar::new(3).with_prefix("my own"));
    own.set_style(ProgressStyle::with_template("{prefix} {pos}/{len}").expect("a template"));
    thread::scope(|scope| {
        for label in ["the first", "the second"] {
            let both = &both;
            scope.spawn(move || {
                let wait = |n: u64| {
                    if n == 1 {
                        both.wait();
                    }
                };
                pool.map(0..3_u64, wait).chunk_size(1).progress(label).for_each(|()| ());
            });
        }
    });
    own.inc(3);
    own.finish();
    assert!(screen.line("the first").contains("3/3"));
    assert!(screen.line("the second").contains("3/3"));
    assert_eq!(screen.line("my own").trim_end(), "my own 3/3");
}

#[test]
fn the_bar_of_a_nested_map_vanishes_with_it() {
    let (screen, _guard) = screen();
    let outer = Pool::cpu_default()
        .map(0..4_u64, |n| Pool::cpu_default().map(0..10 * n, |n| n).progress("the inner").sum::<u64>());
    let sums: Vec<u64> = outer.chunk_size(1).progress("the outer").collect();
    assert_eq!(sums[2], 190);
    assert!(screen.line("the outer").contains("4/4"));
    assert_eq!(screen.lines("the inner"), [""; 0]);
}

#[test]
fn the_bar_of_a_map_in_a_task_stays() {
    let (screen, _guard) = screen();
    let squares = Pool::cpu_default().map(0..20_u64, |n| n * n).progress("of collect_async");
    assert_eq!(squares.collect_async::<Vec<_>>().join().expect("no panic").len(), 20);
    assert!(screen.line("of collect_async").contains("20/20"));
    let sum = || Pool::cpu_default().map(0..5_u64, |n| n).progress("in a task").sum::<u64>();
    assert_eq!(Pool::io_default().submit(sum).join().expect("no panic"), 10);
    assert!(screen.line("in a task").contains("5/5"));
    // The items of a map that is iterated run in tasks, too.
    let inner = |n| Pool::cpu_default().map(0..10 * n, |n| n).progress("of an item").sum::<u64>();
    let sums: Vec<u64> = Pool::cpu_default().map(0..4_u64, inner).into_iter().collect();
    assert_eq!(sums[2], 190);
    assert_eq!(screen.lines("of an item"), [""; 0]);
}

#[test]
fn a_line_is_printed_and_the_bar_is_drawn_again() {
    let (screen, _guard) = screen();
    let squares = Pool::cpu_default().map(0..100_u64, |n| {
        if n == 50 {
            progress::println(format_args!("half way: {n}"));
        }
        n
    });
    assert_eq!(squares.chunk_size(10).progress("with a line").sum::<u64>(), 4_950);
    assert!(screen.line("with a line").contains("100/100"));
}

#[test]
fn a_style_is_that_of_the_bars_that_begin_afterwards() {
    let (screen, _guard) = screen();
    progress::set_style(|label, total| match label {
        "styled" => ProgressStyle::with_template(&format!("{{prefix}}: {{pos}} of {total:?}")).ok(),
        "refused" => panic!("no style"),
        _ => None,
    });
    let eight: Vec<u64> = Pool::cpu_default().map(0..8, |n| n).progress("styled").collect();
    assert_eq!(eight.len(), 8);
    assert_eq!(screen.line("styled").trim_end(), "styled: 8 of Some(8)");
    // A panic of the function ends the map before its first item.
    let refused = || Pool::cpu_default().map(0..8_u64, |n| n).progress("refused").sum::<u64>();
    assert!(catch_unwind(refused).is_err());
    assert_eq!(screen.lines("refused"), [""; 0]);
    let again: Vec<u64> = Pool::cpu_default().map(0..9, |n| n).progress("again").collect();
    assert_eq!(again.len(), 9);
    assert!(screen.line("again").contains("9/9"));
}
