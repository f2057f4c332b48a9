//! The command line: `PROGRAM cluster scheduler` and `PROGRAM cluster executor`.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::ExitCode;

use crate::cluster::{DEFAULT_PORT, parse_address};
use crate::{ClusterError, executor_command, scheduler_command};

/// The first argument of both commands.
const CLUSTER: &str = "cluster";

const HELP: &str = "\
usage: PROGRAM cluster scheduler [--bind ADDRESS] [--port PORT]
       PROGRAM cluster executor  [--scheduler df://HOST:PORT] [--bind ADDRESS] [--host NAME] [--port PORT]
                                 [--slots N] [--work-dir FOLDER]

  --bind ADDRESS   the address to listen at; 127.0.0.1 unless given. Nothing is authenticated: use loopback or a
                   private network
  --port PORT      the scheduler's port, 50050 unless given; of an executor the first of two, or any free ones
  --scheduler      the scheduler of an executor, df://127.0.0.1:50050 unless given
  --host NAME      the name under which others reach this executor; that of --bind unless given
  --slots N        the calls that an executor runs at once, one a core unless given
  --work-dir       the folder for intermediate results; one for temporary files unless given
environment: FANFOLD_CLUSTER_LOG=debug (error, warn, info, debug, trace)";

/// Settings of a scheduler.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SchedulerSettings {
    pub(crate) bind: IpAddr,
    /// 0 takes a free one.
    pub(crate) port: u16,
    pub(crate) parent: Option<PathBuf>,
}

/// Settings of an executor.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ExecutorSettings {
    pub(crate) scheduler: (String, u16),
    pub(crate) bind: IpAddr,
    pub(crate) host: Option<String>,
    /// The first of two.
    pub(crate) port: Option<u16>,
    pub(crate) slots: Option<usize>,
    pub(crate) work_dir: Option<PathBuf>,
    pub(crate) parent: Option<PathBuf>,
}

#[derive(Debug, PartialEq, Eq)]
enum Command {
    Scheduler(SchedulerSettings),
    Executor(ExecutorSettings),
    Help,
}

/// Runs the command in the arguments of this process, if there is one, and then ends the process.
pub(crate) fn run_if_given() {
    let mut args = std::env::args_os().skip(1);
    if args.next().is_none_or(|first| first != CLUSTER) {
        return;
    }
    let args: Vec<String> = args.map(OsString::into_string).map(|arg| arg.unwrap_or_else(lossy)).collect();
    let ended = match parse(&args) {
        Ok(Command::Help) => {
            println!("{HELP}");
            Ok(())
        }
        Ok(Command::Scheduler(settings)) => scheduler_command::run(settings),
        Ok(Command::Executor(settings)) => executor_command::run(settings),
        Err(error) => Err(error),
    };
    let code = match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    };
    std::process::exit(i32::from(code == ExitCode::FAILURE));
}

#[allow(clippy::needless_pass_by_value, reason = "for `unwrap_or_else`")]
fn lossy(arg: OsString) -> String {
    arg.to_string_lossy().into_owned()
}

/// Whether an executor or a scheduler has this option.
fn has_option(is_executor: bool, name: &str) -> bool {
    matches!(name, "--bind" | "--port" | "--parent-folder")
        || (is_executor && matches!(name, "--scheduler" | "--host" | "--slots" | "--work-dir"))
}

fn parse(args: &[String]) -> Result<Command, ClusterError> {
    let wrong = |what: String| ClusterError::new(format!("{what}\n{HELP}"));
    let Some((part, options)) = args.split_first() else { return Ok(Command::Help) };
    let is_executor = match part.as_str() {
        "scheduler" => false,
        "executor" => true,
        "help" | "--help" | "-h" => return Ok(Command::Help),
        other => return Err(wrong(format!("`cluster {other}` is no command"))),
    };
    let mut scheduler = SchedulerSettings { bind: Ipv4Addr::LOCALHOST.into(), port: DEFAULT_PORT, parent: None };
    let mut executor = ExecutorSettings {
        scheduler: ("127.0.0.1".into(), DEFAULT_PORT),
        bind: scheduler.bind,
        host: None,
        port: None,
        slots: None,
        work_dir: None,
        parent: None,
    };
    let mut options = options.iter();
    while let Some(option) = options.next() {
        let (name, value) = match option.split_once('=') {
            _ if option == "--help" || option == "-h" => return Ok(Command::Help),
            Some((name, value)) => (name, value.to_owned()),
            None if !has_option(is_executor, option) => {
                return Err(wrong(format!("`{option}` is no option of `cluster {part}`")));
            }
            None => {
                let value = options.next().ok_or_else(|| wrong(format!("`{option}` needs a value")))?;
                (option.as_str(), value.clone())
            }
        };
        let bad = |what: &str| ClusterError::new(format!("`{name} {value}`: {what}"));
        match (is_executor, name) {
            (_, "--bind") => {
                let address =
                    value.parse().map_err(|_| bad("an IP address is needed, such as 127.0.0.1 or 0.0.0.0"))?;
                (scheduler.bind, executor.bind) = (address, address);
            }
            (_, "--port") => {
                let port = value.parse().map_err(|_| bad("a port is a number from 0 to 65535"))?;
                (scheduler.port, executor.port) = (port, Some(port).filter(|port| *port > 0));
            }
            (_, "--parent-folder") => {
                (scheduler.parent, executor.parent) = (Some(value.clone().into()), Some(value.into()));
            }
            (true, "--scheduler") => executor.scheduler = parse_address(&value)?,
            (true, "--host") => executor.host = Some(value),
            (true, "--slots") => {
                let slots = value.parse().ok().filter(|slots| *slots > 0);
                executor.slots = Some(slots.ok_or_else(|| bad("the number of slots is at least 1"))?);
            }
            (true, "--work-dir") => executor.work_dir = Some(value.into()),
            _ => return Err(wrong(format!("`{name}` is no option of `cluster {part}`"))),
        }
    }
    Ok(if is_executor { Command::Executor(executor) } else { Command::Scheduler(scheduler) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, ClusterError> {
        parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn options_of_both_commands_are_read() {
        let Ok(Command::Scheduler(scheduler)) = parsed("scheduler --bind 0.0.0.0 --port=7") else { panic!() };
        assert_eq!((scheduler.bind.to_string().as_str(), scheduler.port), ("0.0.0.0", 7));
        let line = "executor --scheduler df://a:9 --slots 3 --work-dir /w --host b --port 70";
        let Ok(Command::Executor(executor)) = parsed(line) else { panic!() };
        assert_eq!(executor.scheduler, ("a".into(), 9));
        assert_eq!((executor.slots, executor.port, executor.host.as_deref()), (Some(3), Some(70), Some("b")));
        assert_eq!(executor.work_dir, Some("/w".into()));
        assert_eq!(parsed("").unwrap(), Command::Help);
    }

    #[test]
    fn mistakes_are_named() {
        for (line, named) in [
            ("executors", "executors"),
            ("executor --slots 0", "--slots 0"),
            ("executor --port x", "--port x"),
            ("scheduler --slots 3", "--slots"),
            ("executor --scheduler http://x", "http://x"),
            ("executor --slots", "`--slots` needs a value"),
            ("executor --verbose", "`--verbose` is no option"),
            ("scheduler extra", "`extra` is no option"),
            ("scheduler --bind here", "--bind here"),
        ] {
            let error = parsed(line).unwrap_err().to_string();
            assert!(error.lines().next().is_some_and(|first| first.contains(named)), "{line}: {error}");
        }
    }
}
