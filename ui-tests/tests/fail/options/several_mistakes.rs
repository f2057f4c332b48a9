//! Every mistake of one attribute is reported, each at its token, and nothing else is.
#[fanfold::parallel(kind = "disk", kind = "io", chunks = 0, chunk_size = 3, reduce = "add", progress = 7, pool)]
fn many(numbers: Vec<u32>) -> Vec<u32> {
    numbers
}

fn main() {
    many(vec![]);
    many::submit(vec![]);
    many::serial(vec![]);
    many::map([vec![]]).for_each(drop);
}
