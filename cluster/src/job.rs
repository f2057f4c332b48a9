//! One job of the engine: submits the requests of several chunks, waits, and fetches the replies.

use std::time::{Duration, Instant};

use ballista_core::client::BallistaClient;
use ballista_core::serde::protobuf::execute_query_params::Query;
use ballista_core::serde::protobuf::scheduler_grpc_client::SchedulerGrpcClient;
use ballista_core::serde::protobuf::{
    CancelJobParams, CleanJobDataParams, ExecuteQueryParams, GetJobStatusParams, KeyValuePair, PartitionLocation,
    job_status,
};
use ballista_core::utils::create_grpc_client_endpoint;
use ballista_core::version::insert_version_header;
use datafusion_proto::physical_plan::AsExecutionPlan;
use datafusion_proto::protobuf::PhysicalPlanNode;
use futures_util::{StreamExt, TryStreamExt};
use prost::Message;
use tonic::transport::Channel;

use crate::message::{Reply, Request};
use crate::plan::{self, Codec};
use crate::readiness;

/// The most bytes of a message between the parts of the engine.
const MESSAGE_BYTES: usize = 16 << 20;
/// The time limit to connect to the scheduler or an executor.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// The time limit for the scheduler to name a job that it was sent.
const BEGIN_LIMIT: Duration = Duration::from_mins(1);
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
#[derive(Clone)]
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
        let mut query = tonic::Request::new(query);
        insert_version_header(query.metadata_mut());
        let lost = |error: tonic::Status| self.failed(&error);
        // In a task of its own, which is not dropped with its caller: a job that is cancelled before its id has come is
        // cancelled once it has, as the job is dropped then.
        let scheduler = self.clone();
        let begun = tokio::spawn(tokio::time::timeout(BEGIN_LIMIT, async move {
            let mut client = scheduler.client().await?;
            let sent = client.execute_query_push(query).await;
            let mut updates = sent.map_err(|error| scheduler.failed(&error))?.into_inner();
            let mut running = RunningJob { scheduler, id: String::new(), is_done: false };
            while let Some(update) = updates.next().await {
                let update = update.map_err(|error| running.scheduler.failed(&error))?;
                if let Some(status) = update.status {
                    running.id.clone_from(&status.job_id);
                    return Ok((client, updates, running, status));
                }
            }
            Err(running.scheduler.gone())
        }));
        let no_answer = |_| self.gone();
        let (mut client, mut updates, mut running, first) =
            begun.await.map_err(|_| self.gone())?.map_err(no_answer)??;
        let mut first = Some(first);
        loop {
            // An update may be lost when stages are run again, so the scheduler is asked as well.
            let status = tokio::select! {
                // Polled first, and at once.
                biased;
                status = std::future::ready(first.take()), if first.is_some() => status,
                update = updates.next() => match update {
                    Some(update) => update.map_err(lost)?.status,
                    None => break,
                },
                () = tokio::time::sleep(WATCH_INTERVAL) => {
                    let job_id = running.id.clone();
                    client.get_job_status(GetJobStatusParams { job_id }).await.map_err(lost)?.into_inner().status
                }
            };
            let Some(status) = status else { continue };
            match status.status {
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
                _ => {}
            }
        }
        running.is_done = true;
        Err(self.gone())
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
            if let Ok(mut client) = scheduler.client().await {
                // A job that cannot be cancelled runs to its end.
                let _ = client.cancel_job(CancelJobParams { job_id }).await;
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
