//! `PROGRAM cluster executor`: the process that runs chunks, each call in a worker process of its own.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ballista_core::config::TaskSchedulingPolicy;
use ballista_executor::executor_process::{ExecutorProcessConfig, start_executor_process};

use crate::build_id::{build_id, shown};
use crate::command::ExecutorSettings;
use crate::engine::Engine;
use crate::job::Scheduler;
use crate::plan::Codec;
use crate::{ClusterError, executor, logging, parent, readiness, storage};

/// The interval at which the scheduler hears of an executor, in seconds.
const HEARTBEAT: u64 = 2;
/// The time limit to reach the scheduler, in seconds: it may start at the same time.
const CONNECT_LIMIT: u16 = 30;
/// Intermediate data that no scheduler has deleted is deleted after this time, in seconds.
const DATA_LIMIT: u64 = 3_600;

/// Runs an executor until it is interrupted.
pub(crate) fn run(settings: ExecutorSettings) -> Result<(), ClusterError> {
    let (flight, grpc) = free_ports(settings.bind, settings.port)?;
    let host = settings.host.clone().unwrap_or_else(|| settings.bind.to_string());
    let name = format!("{host}:{flight}");
    logging::start(format!("executor {name}"), settings.parent.is_some());
    if settings.bind.is_unspecified() && settings.host.is_none() {
        return Err(ClusterError::new(format!(
            "an executor that listens at {} needs a name under which others reach it: add --host NAME",
            settings.bind
        )));
    }
    let slots = settings.slots.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let given = settings.work_dir.as_deref().map(WorkFolder::given).transpose()?;
    fanfold::configure()
        .processes(slots)
        .apply()
        .map_err(|error| ClusterError::new(format!("the executor cannot have {slots} worker processes: {error}")))?;
    executor::set_name(name.clone());
    let (scheduler_host, scheduler_port) = settings.scheduler;
    wait_for_scheduler(&scheduler_host, scheduler_port)?;
    // Not before: an executor that is interrupted while it waits would leave the folder.
    let work = given.map_or_else(WorkFolder::temporary, Ok)?;
    log::info!(
        "{slots} slots, work folder `{}`, scheduler df://{scheduler_host}:{scheduler_port}, build {}",
        work.path().display(),
        shown(build_id())
    );
    if let Some(folder) = settings.parent {
        parent::end_with_parent(folder);
    }
    let scheduler = Scheduler {
        address: format!("df://{scheduler_host}:{scheduler_port}"),
        host: scheduler_host.clone(),
        port: scheduler_port,
        session: String::new(),
    };
    let config = ExecutorProcessConfig {
        bind_host: settings.bind.to_string(),
        external_host: Some(host),
        port: flight,
        grpc_port: grpc,
        scheduler_host,
        scheduler_port,
        scheduler_connect_timeout_seconds: CONNECT_LIMIT,
        vcores: slots,
        task_scheduling_policy: TaskSchedulingPolicy::PushStaged,
        work_dir: Some(work.path().to_string_lossy().into_owned()),
        job_data_ttl_seconds: DATA_LIMIT,
        job_data_clean_up_interval_seconds: DATA_LIMIT / 6,
        executor_heartbeat_interval_seconds: HEARTBEAT,
        // Fanfold's chunks do not take memory of the engine's pool.
        memory_pool_size: Some(0),
        override_physical_codec: Some(Arc::new(Codec::default())),
        override_execution_engine: Some(Arc::new(Engine::new(scheduler))),
        ..ExecutorProcessConfig::default()
    };
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|error| ClusterError::new(format!("the executor cannot have threads: {error}")))?;
    let ended = runtime.block_on(async {
        parent::survive_broken_pipes();
        tokio::spawn(storage::watch_leases());
        start_executor_process(Arc::new(config)).await
    });
    // Worker processes end with this one.
    runtime.shutdown_background();
    ended.map_err(|error| ClusterError::new(format!("the executor {name} has failed: {error}")))
}

/// Waits until a scheduler answers.
fn wait_for_scheduler(host: &str, port: u16) -> Result<(), ClusterError> {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(CONNECT_LIMIT.into());
    let mut has_told = false;
    loop {
        match readiness::executors(host, port) {
            Ok(_) => return Ok(()),
            Err(error) if std::time::Instant::now() >= deadline => {
                return Err(ClusterError::new(format!(
                    "no scheduler answers at `df://{host}:{port}` within {CONNECT_LIMIT} s: {error}: start it by \
                     `PROGRAM cluster scheduler`, or name another one by --scheduler"
                )));
            }
            Err(error) => {
                if !has_told {
                    log::info!("waits {CONNECT_LIMIT} s for a scheduler at df://{host}:{port}: {error}");
                    has_told = true;
                }
                std::thread::sleep(readiness::POLL_INTERVAL);
            }
        }
    }
}

/// Two ports that are free: the first for results, the second for the scheduler.
fn free_ports(bind: IpAddr, first: Option<u16>) -> Result<(u16, u16), ClusterError> {
    let open = |port: u16| {
        let listener = TcpListener::bind(SocketAddr::new(bind, port));
        listener.map_err(|error| {
            ClusterError::new(format!(
                "the executor cannot listen at {bind}:{port}: {error}: choose other ports or another address by --port \
                 and --bind"
            ))
        })
    };
    let second = match first {
        Some(first) => first.checked_add(1).ok_or_else(|| ClusterError::new("`--port 65535` leaves no second port"))?,
        None => 0,
    };
    let (flight, grpc) = (open(first.unwrap_or(0))?, open(second)?);
    let port = |listener: &TcpListener| {
        listener.local_addr().map(|address| address.port()).map_err(|error| ClusterError::new(error.to_string()))
    };
    Ok((port(&flight)?, port(&grpc)?))
}

fn not_writable(folder: &Path, error: &std::io::Error) -> ClusterError {
    ClusterError::new(format!(
        "the work folder `{}` cannot be written to: {error}: choose another one by --work-dir",
        folder.display()
    ))
}

/// The folder for intermediate results.
enum WorkFolder {
    /// Deleted at the end.
    Temporary(tempfile::TempDir),
    Given(PathBuf),
}

impl WorkFolder {
    fn given(path: &Path) -> Result<Self, ClusterError> {
        std::fs::create_dir_all(path).map_err(|error| not_writable(path, &error))?;
        // A folder may exist and refuse files.
        tempfile::tempfile_in(path).map_err(|error| not_writable(path, &error))?;
        Ok(Self::Given(path.to_owned()))
    }

    fn temporary() -> Result<Self, ClusterError> {
        let folder = tempfile::Builder::new().prefix("fanfold-executor-").tempdir();
        folder.map(Self::Temporary).map_err(|error| not_writable(&std::env::temp_dir(), &error))
    }

    fn path(&self) -> &Path {
        match self {
            Self::Temporary(folder) => folder.path(),
            Self::Given(path) => path,
        }
    }
}
