//! `&Self` may move to a worker, as `Self` is `Sync`; `Arc<Self>` may not, as `Self` is not `Send`.
struct Guarded(std::sync::MutexGuard<'static, u32>);

impl Guarded {
    #[fanfold::parallel(kind = "cpu")]
    fn value(&self) -> u32 {
        *self.0
    }
}

fn main() {
    static LOCK: std::sync::Mutex<u32> = std::sync::Mutex::new(1);
    let guarded = std::sync::Arc::new(Guarded(LOCK.lock().unwrap()));
    guarded.value();
    guarded.value_submit();
}
