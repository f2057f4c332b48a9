#[fanfold::parallel(kind = "io", timeout = "1s")]
fn read(path: &str, names: Vec<&'static str>, more: std::borrow::Cow<'_, str>) -> Result<(), fanfold::TaskError> {
    let _ = (path, names, more);
    Ok(())
}

fn main() {
    let _ = read("a", vec![], "b".into());
}
