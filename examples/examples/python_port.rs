//! A Python program and its port, side by side: `as_completed` over a dict of futures, with an error for each item.
//!
//! `cargo run --release -p fanfold-examples --example python_port`

use std::time::Duration;

use fanfold::{Pool, as_completed, parallel};

// import concurrent.futures
//
// def word_count(page):
//     if page == "":
//         raise ValueError("the page is empty")
//     return len(page.split())
//
/// Waiting for pages is `io`. The exception is a `Result`, which a caller cannot overlook.
#[parallel(kind = "io", pool = POOL)]
fn word_count(page: &'static str) -> Result<usize, String> {
    if page.is_empty() {
        return Err("the page is empty".into());
    }
    Ok(page.split(' ').count())
}

// with concurrent.futures.ThreadPoolExecutor(max_workers=5) as executor:
/// Its threads start with the first call. An owned pool (`Pool::io("five").threads(5).build()`) ends like `with`.
static POOL: Pool = Pool::io("five").threads(5);

const PAGES: [(&str, &str); 3] = [("a.org", "to be or not to be"), ("b.org", ""), ("c.org", "that is the question")];

fn main() {
    // futures = {executor.submit(word_count, page): url for url, page in PAGES.items()}
    let futures = PAGES.map(|(url, page)| (url, word_count::submit(page)));

    // for future in concurrent.futures.as_completed(futures, timeout=60):
    //     url = futures[future]
    let mut lines: Vec<String> = as_completed(futures)
        .timeout(Duration::from_mins(1))
        .map(|(url, result)| {
            // try:
            //     print(f"{url}: {future.result()} words")
            // except Exception as exception:
            //     print(f"{url}: {exception}")
            match result {
                Ok(Ok(words)) => format!("{url}: {words} words"),
                Ok(Err(error)) => format!("{url}: {error}"),
                Err(lost) => format!("{url}: {lost}"), // a panic, a cancelled call, or the end of the minute
            }
        })
        .collect();
    lines.sort_unstable();
    println!("{}", lines.join("\n"));

    // pages = list(executor.map(len, PAGES.values()))
    let lengths: Vec<usize> = POOL.map(PAGES, |(_, page)| page.len()).collect();
    println!("lengths: {lengths:?}");
}
