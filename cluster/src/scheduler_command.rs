//! `PROGRAM cluster scheduler`: the process that gives chunks to executors.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;

use ballista_core::config::TaskSchedulingPolicy;
use ballista_scheduler::cluster::BallistaCluster;
use ballista_scheduler::config::{SchedulerConfig, TaskDistributionPolicy};
use ballista_scheduler::scheduler_process::{create_scheduler, start_grpc_service_with_listener};
use datafusion_proto::protobuf::{LogicalPlanNode, PhysicalPlanNode};
use tokio::net::TcpListener;

use crate::build_id::{build_id, shown};
use crate::command::SchedulerSettings;
use crate::plan::Codec;
use crate::{ClusterError, logging, parent};

/// An executor is lost when it has not been heard of for this time, in seconds. It is heard of every 2 s.
const EXECUTOR_LIMIT: u64 = 6;
/// When the last executor is lost, its jobs fail after this time without another one, in seconds.
const NO_EXECUTORS_LIMIT: u64 = 10;
/// The data and the state of finished jobs are deleted after this time, in seconds, if the driver has not done so.
const FINISHED_LIMIT: u64 = 300;

/// What a local cluster reads the port from.
pub(crate) const PORT_LINE: &str = "fanfold-cluster-port ";

/// Runs a scheduler until it is interrupted.
pub(crate) fn run(settings: SchedulerSettings) -> Result<(), ClusterError> {
    logging::start("scheduler".into(), settings.parent.is_some());
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|error| ClusterError::new(format!("the scheduler cannot have threads: {error}")))?;
    runtime.block_on(serve(settings))
}

async fn serve(settings: SchedulerSettings) -> Result<(), ClusterError> {
    parent::survive_broken_pipes();
    let address = SocketAddr::new(settings.bind, settings.port);
    let failed = |error: &dyn std::fmt::Display| {
        ClusterError::new(format!(
            "the scheduler cannot listen at {address}: {error}: choose another port or address by --port and --bind"
        ))
    };
    let listener = TcpListener::bind(address).await.map_err(|error| failed(&error))?;
    let address = listener.local_addr().map_err(|error| failed(&error))?;
    let config = SchedulerConfig {
        external_host: settings.bind.to_string(),
        bind_host: settings.bind.to_string(),
        bind_port: address.port(),
        scheduling_policy: TaskSchedulingPolicy::PushStaged,
        // The default fills one executor before the next.
        task_distribution: TaskDistributionPolicy::RoundRobin,
        executor_timeout_seconds: EXECUTOR_LIMIT,
        expire_dead_executor_interval_seconds: 1,
        no_executors_grace_period_seconds: NO_EXECUTORS_LIMIT,
        finished_job_data_clean_up_interval_seconds: FINISHED_LIMIT,
        finished_job_state_clean_up_interval_seconds: FINISHED_LIMIT,
        override_physical_codec: Some(Arc::new(Codec::default())),
        ..SchedulerConfig::default()
    };
    let started = async {
        let cluster = BallistaCluster::new_from_config(&config).await?;
        create_scheduler::<LogicalPlanNode, PhysicalPlanNode>(cluster, Arc::new(config)).await
    };
    let scheduler = started.await.map_err(|error| ClusterError::new(format!("the scheduler cannot start: {error}")))?;
    log::info!("listens at df://{address}, build {}; nothing is authenticated", shown(build_id()));
    if let Some(folder) = settings.parent {
        // The port for the program that has started this one.
        let mut output = std::io::stdout();
        let _ = writeln!(output, "{PORT_LINE}{}", address.port()).and_then(|()| output.flush());
        parent::end_with_parent(folder);
    }
    tokio::select! {
        ended = start_grpc_service_with_listener(listener, scheduler) => {
            ended.map_err(|error| ClusterError::new(format!("the scheduler at {address} has failed: {error}")))
        }
        () = parent::interrupted() => Ok(()),
    }
}
