//! [`Connections`]: connections between executors, which are kept for the next results that one fetches from another.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use ballista_core::client::BallistaClient;
use ballista_core::client_pool::{BallistaClientPool, PooledClient};
use ballista_core::error::Result;
use ballista_core::extension::BallistaConfigGrpcEndpoint;
use ballista_core::utils::GrpcClientConfig;

/// A connection that was not used for this time is closed when another one is needed.
const KEEP: Duration = Duration::from_secs(30);

type Address = (String, u16, GrpcClientConfig);
/// Connections to each address, with the time of their last use.
type Idle = HashMap<Address, Vec<(BallistaClient, Instant)>>;

/// The connections that nobody uses.
#[derive(Clone, Default)]
pub(crate) struct Connections(Arc<Mutex<Idle>>);

impl Connections {
    fn lock(&self) -> MutexGuard<'_, Idle> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes out those that were not used for a while.
    fn take_old(&self) -> Vec<(BallistaClient, Instant)> {
        let mut old = Vec::new();
        self.lock().retain(|_, idle| {
            old.extend(idle.extract_if(.., |(_, since)| since.elapsed() > KEEP));
            !idle.is_empty()
        });
        old
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").finish_non_exhaustive()
    }
}

#[async_trait]
impl BallistaClientPool for Connections {
    async fn acquire(
        &self,
        host: &str,
        port: u16,
        config: &GrpcClientConfig,
        customize: Option<Arc<BallistaConfigGrpcEndpoint>>,
    ) -> Result<PooledClient> {
        self.evict_idle().await;
        let address = (host.to_owned(), port, config.clone());
        let idle = self.lock().get_mut(&address).and_then(Vec::pop);
        let client = match idle {
            Some((client, _)) => client,
            None => {
                BallistaClient::try_new(
                    host,
                    port,
                    config.max_message_size,
                    config.use_tls,
                    customize,
                    config.io_retries_times,
                    config.io_retry_wait_time_ms,
                    config.initial_connection_window_size,
                    config.initial_stream_window_size,
                )
                .await?
            }
        };
        let connections = self.clone();
        let give_back = move |client| {
            connections.lock().entry(address).or_default().push((client, Instant::now()));
        };
        Ok(PooledClient::new(client, Box::new(give_back)))
    }

    async fn evict_idle(&self) {
        // Closed without the lock.
        drop(self.take_old());
    }
}
