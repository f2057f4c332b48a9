//! `init` is evaluated once for each worker, so it cannot use an argument of one call.
#[fanfold::parallel(kind = "io", init = open(url, &depth.max(2)))]
fn next(#[worker] state: &mut String, url: String, depth: u32) -> usize {
    state.len() + url.len() + depth as usize
}

fn open(url: String, depth: &u32) -> String {
    format!("{url}{depth}")
}

fn main() {
    next(String::new(), 1);
}
