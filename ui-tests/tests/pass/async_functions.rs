//! Async functions: plain, borrowed, methods, maps.
#![deny(unused, clippy::pedantic)]

use std::sync::Arc;

#[fanfold::parallel(kind = "io")]
async fn length(text: &str) -> usize {
    std::future::ready(text.len()).await
}

struct Client {
    base: u32,
}

impl Client {
    #[fanfold::parallel(kind = "io")]
    async fn get(&self, page: u32) -> u32 {
        std::future::ready(self.base + page).await
    }

    #[fanfold::parallel(kind = "io", retries = 1)]
    async fn take(self: Arc<Self>, page: u32) -> Result<u32, String> {
        std::future::ready(Ok(self.base * page)).await
    }
}

#[test]
fn runs() {
    assert_eq!(length::submit("abc").join().unwrap(), 3);
    let client = Arc::new(Client { base: 10 });
    assert_eq!(client.get_map(0..3).collect::<Vec<_>>(), [10, 11, 12]);
    assert_eq!(client.clone().get_submit(5).join().unwrap(), 15);
    assert_eq!(client.clone().take_submit(2).join().unwrap(), Ok(20));
    let direct = async { (length("ab").await, client.get(1).await) };
    let waker = std::task::Waker::noop();
    let mut context = std::task::Context::from_waker(waker);
    let polled = std::pin::pin!(direct).poll(&mut context);
    assert_eq!(polled, std::task::Poll::Ready((2, 11)));
}

use std::future::Future as _;
