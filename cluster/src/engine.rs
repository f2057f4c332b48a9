//! [`Engine`]: runs the tasks of jobs as Ballista does, and tells [`MapPartitionsExec`](crate::plan::MapPartitionsExec)
//! when its task is cancelled.
//!
//! Ballista cancels a task by dropping the future that runs it. But between this future and our node there is a task of
//! its own, which goes on: so the calls of a cancelled job would keep their slots until they return. The future that is
//! dropped sets a flag here, which the node finds in the context that it runs in.
//!
//! And a job may be cancelled while a task of it is on its way: Ballista's executor finds no task to cancel then, and
//! starts it later. So a task that takes a while asks the scheduler once whether its job still runs.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use ballista_core::JobId;
use ballista_core::serde::protobuf::{RuntimeStatsReport, ShuffleWritePartition, TaskColumnStats, WindowStateReport};
use ballista_executor::execution_engine::{DefaultExecutionEngine, ExecutionEngine, QueryStageExecutor};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::MetricsSet;
use datafusion::prelude::SessionConfig;

use crate::connections::Connections;
use crate::job::Scheduler;

/// A task asks after this time whether its job was cancelled before the task began.
const ASK_AFTER: Duration = Duration::from_millis(200);

/// Whether a task was cancelled, or has ended.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cancelled(Arc<AtomicBool>);

impl Cancelled {
    /// That of the task with this context.
    pub(crate) fn of(context: &TaskContext) -> Self {
        let found = context.session_config().get_extension::<Self>();
        found.map(|cancelled| (*cancelled).clone()).unwrap_or_default()
    }

    pub(crate) fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Says that the task was cancelled when it is dropped.
struct CancelOnDrop(Cancelled);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}

/// Ballista's engine, whose tasks notice that they are cancelled.
pub(crate) struct Engine {
    engine: DefaultExecutionEngine,
    scheduler: Scheduler,
}

impl Engine {
    /// The engine of an executor of this scheduler.
    pub(crate) fn new(scheduler: Scheduler) -> Self {
        // The engine's own keeper of connections is private.
        Self { engine: DefaultExecutionEngine::with_client_pool(Arc::new(Connections::default())), scheduler }
    }
}

impl ExecutionEngine for Engine {
    fn create_query_stage_exec(
        &self,
        job_id: JobId,
        stage_id: usize,
        task_id: usize,
        partitions: Vec<usize>,
        plan: Arc<dyn ExecutionPlan>,
        work_folder: &str,
        config: &SessionConfig,
    ) -> Result<Arc<dyn QueryStageExecutor>> {
        let job = job_id.to_string();
        let inner =
            self.engine.create_query_stage_exec(job_id, stage_id, task_id, partitions, plan, work_folder, config)?;
        Ok(Arc::new(Stage { inner, job, scheduler: self.scheduler.clone() }))
    }
}

/// A task of a job.
#[derive(Debug)]
struct Stage {
    inner: Arc<dyn QueryStageExecutor>,
    job: String,
    scheduler: Scheduler,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl QueryStageExecutor for Stage {
    async fn execute_query_stage(
        &self,
        task_id: usize,
        context: Arc<TaskContext>,
    ) -> Result<Vec<ShuffleWritePartition>> {
        let Some(context) = Arc::into_inner(context) else {
            return Err(DataFusionError::Internal("the context of a task is used before the task".into()));
        };
        let guard = CancelOnDrop(Cancelled::default());
        let config = context.session_config().clone().with_extension(Arc::new(guard.0.clone()));
        let work = self.inner.execute_query_stage(task_id, Arc::new(context.with_session_config(config)));
        let was_cancelled = async {
            tokio::time::sleep(ASK_AFTER).await;
            if !self.scheduler.has_ended(&self.job).await {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            done = work => done,
            () = was_cancelled => Err(DataFusionError::Execution("the job was cancelled before its task began".into())),
        }
    }

    fn collect_plan_metrics(&self) -> Vec<MetricsSet> {
        self.inner.collect_plan_metrics()
    }

    fn collect_runtime_stats_reports(&self) -> Vec<RuntimeStatsReport> {
        self.inner.collect_runtime_stats_reports()
    }

    fn collect_window_state_reports(&self) -> Result<Vec<WindowStateReport>> {
        self.inner.collect_window_state_reports()
    }

    fn collect_column_stats(&self) -> Vec<TaskColumnStats> {
        self.inner.collect_column_stats()
    }
}
