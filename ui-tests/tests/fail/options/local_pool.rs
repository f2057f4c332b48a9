//! `pool` takes a `static`; the error says what serves for a local variable.
fn main() {
    let pool = fanfold::Pool::io("disk").build().expect("threads start");

    #[fanfold::parallel(kind = "io", pool = pool)]
    fn load(path: String) -> usize {
        path.len()
    }

    load(String::new());
}
