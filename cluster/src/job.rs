//! One job of the engine: submits the requests of several chunks, waits, and fetches the replies.

use std::time::{Duration, Instant};

use ballista_core::client::BallistaClient;
use ballista_core::serde::protobuf::execute_query_params::Query;
use ballista_core::serde::protobuf::execute_query_result;
use ballista_core::serde::protobuf::scheduler_grpc_client::SchedulerGrpcClient;
use ballista_core::serde::protobuf::{
    CancelJobParams, CleanJobDataParams, ExecuteQueryParams, GetJobStatusParams, KeyValuePair, PartitionLocation,
    job_status,
};
use ballista_core::utils::create_grpc_client_endpoint;
use ballista_core::version::insert_version_header;
use datafusion_proto::physical_plan::AsExecutionPlan;
use datafusion_proto::protobuf::PhysicalPlanNode;
use futures_util::TryStreamExt;
use prost::Message;
use tonic::transport::Channel;

use crate::message::{Reply, Request};
use crate::plan::{self, Codec};
use crate::readiness;

/// The most bytes of a message between the parts of the engine.
const MESSAGE_BYTES: usize = 16 << 20;
/// The time limit to connect to the scheduler or an executor.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// The time limit for the scheduler to name a job that it was sent, and then to list it.
const BEGIN_LIMIT: Duration = Duration::from_mins(1);
/// The pause before a job's state is asked for again is an eighth of the job's time so far, but at least this,
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);
/// and at most this.
const LONGEST_PAUSE: Duration = Duration::from_millis(200);
/// A job may be cancelled before the scheduler has planned it, which has no effect. So it is cancelled again after this
/// pause,
const CANCEL_PAUSE: Duration = Duration::from_millis(100);
/// at most this often.
const CANCEL_ATTEMPTS: u32 = 100;
/// The time limit for the next part of a result from an executor. One that is stopped never answers.
const FETCH_LIMIT: Duration = Duration::from_secs(10);

/// The interval at which a job looks whether the cluster still has executors.
const WATCH_INTERVAL: Duration = Duration::from_secs(2);
/// Chunks fail if the cluster has had no executors for this time, or its scheduler does not answer.
const NO_EXECUTORS_LIMIT: Duration = Duration::from_secs(10);

/// Why a job has no result. Its chunks may be submitted again.
pub(crate) struct JobError(pub(crate) String);

impl JobError {
    fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

/// The scheduler of a cluster.
#[derive(Clone, Debug)]
pub(crate) struct Scheduler {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// The address as the user gave it.
    pub(crate) address: String,
    pub(crate) session: String,
}

impl Scheduler {
    async fn client(&self) -> Result<SchedulerGrpcClient<Channel>, JobError> {
        let lost = |why: &dyn std::fmt::Display| {
            JobError::new(format!("the scheduler at `{}` cannot be reached: {why}: is it running?", self.address))
        };
        let endpoint = create_grpc_client_endpoint(format!("http://{}:{}", self.host, self.port), None)
            .map_err(|error| lost(&error))?;
        let connected = tokio::time::timeout(CONNECT_LIMIT, endpoint.connect()).await;
        let channel = connected.map_err(|_| lost(&"no answer"))?.map_err(|error| lost(&error))?;
        let client = SchedulerGrpcClient::new(channel);
        Ok(client.max_encoding_message_size(MESSAGE_BYTES).max_decoding_message_size(MESSAGE_BYTES))
    }

    /// Returns when the cluster has had no executors for a while, with the reason. The scheduler itself notices only
    /// the loss of the last one, not that a job comes later.
    pub(crate) async fn without_executors(&self) -> String {
        let (host, port) = (self.host.clone(), self.port);
        let mut since = Instant::now();
        loop {
            tokio::time::sleep(WATCH_INTERVAL).await;
            let host = host.clone();
            let executors = tokio::task::spawn_blocking(move || readiness::executors(&host, port)).await;
            let why = match executors {
                Ok(Ok(0)) => format!(
                    "the cluster at `{}` has no executors: they were lost, or cannot reach the scheduler: start some",
                    self.address
                ),
                Ok(Ok(_)) => {
                    since = Instant::now();
                    continue;
                }
                Ok(Err(error)) => format!("the scheduler at `{}` does not answer: {error}", self.address),
                Err(error) => format!("the scheduler at `{}` cannot be watched: {error}", self.address),
            };
            if since.elapsed() >= NO_EXECUTORS_LIMIT {
                return why;
            }
        }
    }

    /// Runs the requests as one job. The replies are in the order of the requests.
    pub(crate) async fn run(&self, requests: &[Request]) -> Result<Vec<Reply>, JobError> {
        let failed = |error: &dyn std::fmt::Display| JobError::new(format!("the job cannot be made: {error}"));
        let requests: Vec<Vec<u8>> = requests.iter().map(Message::encode_to_vec).collect();
        let plan = plan::job(&requests).map_err(|error| failed(&error))?;
        let node = PhysicalPlanNode::try_from_physical_plan(plan, &Codec::default()).map_err(|error| failed(&error))?;
        let mut bytes = Vec::new();
        node.try_encode(&mut bytes).map_err(|error| failed(&error))?;
        let setting = |key: &str, value: &str| KeyValuePair { key: key.into(), value: Some(value.into()) };
        let query = ExecuteQueryParams {
            query: Some(Query::PhysicalPlan(bytes)),
            settings: vec![
                // A task for each chunk, so that a lost executor costs single chunks.
                setting("ballista.scheduler.max_partitions_per_task", "1"),
                // A message between executors holds a batch: with one reply each, none is longer than the longest
                // reply.
                setting("datafusion.execution.batch_size", "1"),
                setting("ballista.job.name", "fanfold"),
            ],
            session_id: self.session.clone(),
            operation_id: crate::random_name(),
        };
        let (mut client, mut running) = self.submit(query).await?;
        let submitted = Instant::now();
        loop {
            tokio::time::sleep((submitted.elapsed() / 8).clamp(SHORTEST_PAUSE, LONGEST_PAUSE)).await;
            let asked = client.get_job_status(GetJobStatusParams { job_id: running.id.clone() }).await;
            match asked.map_err(|error| self.failed(&error))?.into_inner().status.and_then(|status| status.status) {
                Some(job_status::Status::Failed(failure)) => {
                    running.is_done = true;
                    return Err(JobError::new(failure.error));
                }
                Some(job_status::Status::Successful(done)) => {
                    running.is_done = true;
                    let replies = fetch(done.partition_location, requests.len()).await;
                    running.clean();
                    return replies;
                }
                // The scheduler lists a job a moment after it has named it.
                None if submitted.elapsed() > BEGIN_LIMIT => return Err(self.gone()),
                _ => {}
            }
        }
    }

    /// Whether a job has ended, in whatever way. Asks until the scheduler answers.
    pub(crate) async fn has_ended(&self, job: &str) -> bool {
        loop {
            if let Ok(mut client) = self.client().await
                && let Ok(answer) = client.get_job_status(GetJobStatusParams { job_id: job.into() }).await
            {
                let state = answer.into_inner().status.and_then(|status| status.status);
                return !matches!(state, Some(job_status::Status::Queued(_) | job_status::Status::Running(_)));
            }
            tokio::time::sleep(WATCH_INTERVAL).await;
        }
    }

    /// Submits a job. The scheduler can also send the changes of a job's state, but the first of them, with the job's
    /// id, comes when a stage is done: until then the job could not be cancelled. So it is asked.
    async fn submit(&self, query: ExecuteQueryParams) -> Result<(SchedulerGrpcClient<Channel>, RunningJob), JobError> {
        let mut query = tonic::Request::new(query);
        insert_version_header(query.metadata_mut());
        // In a task of its own, which is not dropped with its caller: a job that is cancelled before its id has come is
        // cancelled once it has, as the job is dropped then.
        let scheduler = self.clone();
        let submitted = tokio::spawn(async move {
            let mut client = scheduler.client().await?;
            let answer = tokio::time::timeout(BEGIN_LIMIT, client.execute_query(query)).await;
            let answer = answer.map_err(|_| scheduler.gone())?.map_err(|error| scheduler.failed(&error))?;
            match answer.into_inner().result {
                Some(execute_query_result::Result::Success(job)) => {
                    Ok((client, RunningJob { scheduler, id: job.job_id, is_done: false }))
                }
                Some(execute_query_result::Result::Failure(failure)) => {
                    Err(JobError::new(format!("the scheduler cannot read the job: {:?}", failure.failure)))
                }
                None => Err(scheduler.gone()),
            }
        });
        submitted.await.map_err(|_| self.gone())?
    }

    fn failed(&self, error: &tonic::Status) -> JobError {
        JobError::new(format!("the scheduler at `{}` has failed: {}", self.address, error.message()))
    }

    fn gone(&self) -> JobError {
        JobError::new(format!("the scheduler at `{}` is gone: start it again, and run the job again", self.address))
    }
}

/// Cancels the job if it is dropped before its end.
struct RunningJob {
    scheduler: Scheduler,
    id: String,
    is_done: bool,
}

impl RunningJob {
    fn own_scheduler(&self) -> Scheduler {
        self.scheduler.clone()
    }

    /// Deletes the job's data on the executors, in the background.
    fn clean(&self) {
        let (scheduler, job_id) = (self.own_scheduler(), self.id.clone());
        tokio::spawn(async move {
            if let Ok(mut client) = scheduler.client().await {
                // The scheduler cleans up what is left later.
                let _ = client.clean_job_data(CleanJobDataParams { job_id, ..CleanJobDataParams::default() }).await;
            }
        });
    }
}

impl Drop for RunningJob {
    fn drop(&mut self) {
        if self.is_done || self.id.is_empty() {
            return;
        }
        let (scheduler, job_id) = (self.own_scheduler(), std::mem::take(&mut self.id));
        tokio::spawn(async move {
            // A job that cannot be cancelled runs to its end.
            let Ok(mut client) = scheduler.client().await else { return };
            for _ in 0..CANCEL_ATTEMPTS {
                let _ = client.cancel_job(CancelJobParams { job_id: job_id.clone() }).await;
                let asked = client.get_job_status(GetJobStatusParams { job_id: job_id.clone() }).await;
                let Ok(state) = asked else { return };
                let state = state.into_inner().status.and_then(|status| status.status);
                if matches!(state, Some(job_status::Status::Failed(_) | job_status::Status::Successful(_))) {
                    return;
                }
                tokio::time::sleep(CANCEL_PAUSE).await;
            }
        });
    }
}

/// Fetches the replies from the executors that hold them.
async fn fetch(locations: Vec<PartitionLocation>, count: usize) -> Result<Vec<Reply>, JobError> {
    let mut replies: Vec<Option<Reply>> = (0..count).map(|_| None).collect();
    for location in locations {
        let (Some(executor), Some(partition)) = (&location.executor_meta, &location.partition_id) else {
            return Err(JobError::new("a result has no place"));
        };
        let place = format!("{}:{}", executor.host, executor.port);
        let lost =
            |why: &dyn std::fmt::Display| JobError::new(format!("the executor {place} did not give its result: {why}"));
        let port = u16::try_from(executor.port).map_err(|error| lost(&error))?;
        let fetched = async {
            let client = BallistaClient::try_new(&executor.host, port, MESSAGE_BYTES, false, None, 2, 100, 0, 0);
            let mut client = client.await.map_err(|error| lost(&error))?;
            let (partition, layout) = (partition.clone().into(), location.layout());
            let stream = client.fetch_partition(&executor.id, &partition, location.file_id, layout, true);
            stream.await.map_err(|error| lost(&error))
        };
        let late = |_| lost(&"no answer");
        let mut batches = tokio::time::timeout(FETCH_LIMIT, fetched).await.map_err(late)??;
        loop {
            let batch = tokio::time::timeout(FETCH_LIMIT, batches.try_next()).await.map_err(late)?;
            let Some(batch) = batch.map_err(|error| lost(&error))? else { break };
            for (chunk, payload) in plan::rows(&batch).map_err(|error| lost(&error))? {
                let reply = Reply::decode(payload).map_err(|error| lost(&error))?;
                let slot = usize::try_from(chunk).ok().and_then(|chunk| replies.get_mut(chunk));
                match slot {
                    Some(slot @ None) => *slot = Some(reply),
                    _ => return Err(lost(&format_args!("chunk {chunk} came twice, or was never sent"))),
                }
            }
        }
    }
    let missing = replies.iter().filter(|reply| reply.is_none()).count();
    match replies.into_iter().collect() {
        Some(replies) => Ok(replies),
        None => Err(JobError::new(format!("{missing} of {count} chunks have no result"))),
    }
}
