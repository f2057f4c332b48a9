//! The driver's side of calls: a caller waits for its request, and one dispatcher gathers requests into jobs.
//!
//! A job of the engine takes some milliseconds, whatever it holds. So requests of one map or one frame that come at
//! nearly the same time become one job. The results of a job come together, so others have jobs of their own.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Weak};
use std::time::Duration;

use fanfold::backend::{Backend, CallFailure, Calls};
use prost::Message;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, timeout};

use crate::build_id::build_id;
use crate::job::{JobError, Scheduler};
use crate::message::{Arguments, FileRows, Reply, Request, Sink};
use crate::storage::{LEASE_INTERVAL, Storage};
use crate::{ClusterError, background};

/// The most chunks in a job: the results of a job come when all of its chunks are done.
const JOB_CHUNKS: usize = 64;
/// The most bytes of requests in a job, 8 MiB: the engine's limit is 16 MiB for a plan.
const JOB_BYTES: usize = 8 << 20;
/// A request with more bytes of arguments, 256 KiB, goes through the storage, so that a job has room for many.
const INLINE_ARGUMENTS: usize = 256 << 10;
/// A job is submitted when no further request has come for this time,
const QUIET: Duration = Duration::from_millis(1);
/// or when its first one has waited for this time.
const LONGEST_WAIT: Duration = Duration::from_millis(10);
/// The interval at which a waiting caller looks whether it was cancelled.
const CANCEL_INTERVAL: Duration = Duration::from_millis(20);
/// The first pause before a job is submitted again. It doubles each time.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// A request whose caller waits.
struct Pending {
    request: Request,
    /// The map, chunked call or single call that the request is a part of.
    group: u64,
    give: SyncSender<Result<Reply, CallFailure>>,
    cancelled: Arc<AtomicBool>,
}

/// A connection to a cluster: the [`Backend`] of its functions.
pub(crate) struct Connection {
    requests: UnboundedSender<Pending>,
    /// The connection's folder, for data that does not fit a plan.
    folder: Option<Storage>,
    /// How often a chunk is tried, if its worker process or its job is lost.
    attempts: u32,
    /// The number of the next object.
    next_object: AtomicU64,
}

impl Connection {
    pub(crate) fn open(
        scheduler: Scheduler,
        storage: Option<&Storage>,
        attempts: u32,
    ) -> Result<Arc<Self>, ClusterError> {
        let folder = storage.map(Storage::new_folder).transpose()?;
        let (requests, taken) = unbounded_channel();
        let connection = Arc::new(Self { requests, folder, attempts, next_object: AtomicU64::new(0) });
        background::spawn(dispatch(taken, Arc::new(scheduler), attempts))?;
        if let Some(folder) = connection.folder.clone() {
            let first = folder.clone();
            background::wait(async move { first.write_lease(0).await })??;
            background::spawn(keep_lease(folder, Arc::downgrade(&connection)))?;
        }
        Ok(connection)
    }

    fn request(&self, entry: &str, timeout: Option<Duration>) -> Request {
        let object = self.next_object.fetch_add(1, Ordering::Relaxed);
        Request {
            entry: entry.into(),
            build: build_id(),
            timeout: timeout.map(|limit| u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX)),
            attempts: self.attempts,
            folder: self.folder.as_ref().map(|folder| folder.address().to_owned()),
            result_name: format!("result-{object}"),
            ..Request::default()
        }
    }

    /// Runs a function on rows that an executor reads. Returns the encoded result; or with a sink, the number of rows
    /// as eight bytes, or the encoded error of the function.
    pub(crate) fn run_rows(
        &self,
        group: u64,
        entry: &str,
        timeout: Option<Duration>,
        rows: Vec<FileRows>,
        sink: Option<Sink>,
    ) -> Result<Vec<u8>, CallFailure> {
        let request = Request { rows, sink, ..self.request(entry, timeout) };
        let reply = self.wait_for(group, request)?;
        let outcome = reply.outcomes.into_iter().next();
        outcome.map_or_else(|| Err(CallFailure::lost("an executor gave no result")), Into::into)
    }

    /// Submits the request, and waits for its reply.
    fn wait_for(&self, group: u64, request: Request) -> Result<Reply, CallFailure> {
        let (give, take) = sync_channel(1);
        let cancelled = Arc::new(AtomicBool::new(false));
        let gone = || CallFailure::lost("the connection to the cluster has ended");
        let pending = Pending { request, group, give, cancelled: Arc::clone(&cancelled) };
        self.requests.send(pending).map_err(|_| gone())?;
        loop {
            match take.recv_timeout(CANCEL_INTERVAL) {
                Ok(reply) => return self.with_stored(reply?),
                Err(RecvTimeoutError::Disconnected) => return Err(gone()),
                Err(RecvTimeoutError::Timeout) if fanfold::cancelled() => {
                    cancelled.store(true, Ordering::Relaxed);
                    return Err(CallFailure::Cancelled);
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// The reply, with the outcomes that the executor has stored.
    fn with_stored(&self, reply: Reply) -> Result<Reply, CallFailure> {
        if let Some(why) = reply.refused {
            return Err(CallFailure::lost(why));
        }
        let (Some(object), Some(folder)) = (&reply.stored, self.folder.clone()) else { return Ok(reply) };
        let object = object.clone();
        let read = background::wait(async move {
            let bytes = folder.read(&object).await;
            folder.delete(&object).await;
            bytes
        });
        let bytes = read.flatten().map_err(|error| CallFailure::lost(error.to_string()))?;
        Reply::decode(&*bytes).map_err(|error| CallFailure::lost(format!("a stored result is damaged: {error}")))
    }

    /// Moves large arguments to the storage. Returns the name of the object.
    fn store_arguments(&self, request: &mut Request) -> Result<Option<String>, CallFailure> {
        let bytes: usize = request.arguments.iter().map(Vec::len).sum();
        match self.folder.clone() {
            Some(folder) if bytes > INLINE_ARGUMENTS => {
                let object = request.result_name.replace("result", "arguments");
                let arguments = Arguments { calls: std::mem::take(&mut request.arguments) }.encode_to_vec();
                let name = object.clone();
                let written = background::wait(async move { folder.write(&name, arguments).await }).flatten();
                written.map_err(|error| CallFailure::lost(error.to_string()))?;
                request.stored_arguments = Some(object.clone());
                Ok(Some(object))
            }
            None if bytes > JOB_BYTES => Err(CallFailure::Codec {
                message: format!(
                    "its arguments have {} MiB, and more than {} MiB need a storage that all machines see: set \
                     `FANFOLD_CLUSTER_STORAGE` to a folder or a bucket, cut smaller chunks, or scan files by reference",
                    bytes >> 20,
                    JOB_BYTES >> 20
                ),
            }),
            _ => Ok(None),
        }
    }

    /// Deletes the connection's folder.
    pub(crate) fn close(&self) {
        if let Some(folder) = self.folder.clone() {
            // A folder that cannot be deleted now is deleted by the executors that watch it.
            let _ = background::wait(async move { folder.delete_all().await });
        }
    }
}

impl Backend for Connection {
    fn run(&self, calls: Calls) -> Vec<Result<Vec<u8>, CallFailure>> {
        let count = calls.arguments.len();
        let mut request = Request { arguments: calls.arguments, ..self.request(calls.entry, calls.timeout) };
        let outcome = self.store_arguments(&mut request).and_then(|object| {
            let reply = self.wait_for(calls.group, request);
            if let (Some(object), Some(folder)) = (object, self.folder.clone()) {
                let _ = background::spawn(async move { folder.delete(&object).await });
            }
            reply
        });
        match outcome {
            Ok(reply) => reply.outcomes.into_iter().map(Into::into).collect(),
            Err(failure) => vec![Err(failure); count],
        }
    }
}

/// Writes the lease of a connection until that is dropped.
async fn keep_lease(folder: Storage, connection: Weak<Connection>) {
    for count in 1.. {
        tokio::time::sleep(LEASE_INTERVAL).await;
        if connection.strong_count() == 0 {
            return;
        }
        if let Err(error) = folder.write_lease(count).await {
            log::warn!("{error}");
        }
    }
}

/// Gathers requests into jobs, until the connection is dropped.
async fn dispatch(mut requests: UnboundedReceiver<Pending>, scheduler: Arc<Scheduler>, attempts: u32) {
    while let Some(first) = requests.recv().await {
        let begun = Instant::now();
        let mut gathered = vec![first];
        while gathered.len() < JOB_CHUNKS
            && begun.elapsed() < LONGEST_WAIT
            && let Ok(Some(next)) = timeout(QUIET, requests.recv()).await
        {
            gathered.push(next);
        }
        for chunks in jobs(gathered) {
            tokio::spawn(run_job(Arc::clone(&scheduler), chunks, attempts));
        }
    }
}

/// Cuts requests into jobs. Those of a job are of one group: its results come together, and it is cancelled as a whole.
fn jobs(mut requests: Vec<Pending>) -> Vec<Vec<Pending>> {
    requests.sort_by_key(|pending| pending.group);
    let (mut jobs, mut bytes) = (Vec::<Vec<Pending>>::new(), 0);
    for pending in requests {
        let more = pending.request.encoded_len();
        match jobs.last_mut() {
            Some(job) if job[0].group == pending.group && bytes + more <= JOB_BYTES => {
                bytes += more;
                job.push(pending);
            }
            _ => {
                bytes = more;
                jobs.push(vec![pending]);
            }
        }
    }
    jobs
}

/// Runs a job, again if it is lost, and gives each caller its reply.
async fn run_job(scheduler: Arc<Scheduler>, chunks: Vec<Pending>, attempts: u32) {
    let requests: Vec<Request> = chunks.iter().map(|chunk| chunk.request.clone()).collect();
    let flags: Vec<Arc<AtomicBool>> = chunks.iter().map(|chunk| Arc::clone(&chunk.cancelled)).collect();
    let all_cancelled = async {
        while !flags.iter().all(|flag| flag.load(Ordering::Relaxed)) {
            tokio::time::sleep(CANCEL_INTERVAL).await;
        }
    };
    let run = async {
        let mut pause = RETRY_PAUSE;
        let mut attempt = 1;
        loop {
            match scheduler.run(&requests).await {
                Ok(replies) => return Ok(replies),
                Err(JobError(why)) if attempt >= attempts => return Err(format!("{why} (after {attempts} attempts)")),
                Err(JobError(why)) => log::warn!("a job of {} chunks is run again: {why}", requests.len()),
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
            attempt += 1;
        }
    };
    let outcome = tokio::select! {
        outcome = run => outcome,
        // The attempts share this limit: another attempt needs an executor too.
        why = scheduler.without_executors() => Err(why),
        // The job is cancelled as its future is dropped.
        () = all_cancelled => return,
    };
    match outcome {
        Ok(replies) => {
            for (chunk, reply) in chunks.into_iter().zip(replies) {
                // The caller may have stopped waiting.
                let _ = chunk.give.send(Ok(reply));
            }
        }
        Err(why) => {
            let failure = CallFailure::lost(why);
            for chunk in chunks {
                let _ = chunk.give.send(Err(failure.clone()));
            }
        }
    }
}
