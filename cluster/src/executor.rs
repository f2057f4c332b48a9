//! The executor's part of a chunk: reads the arguments, runs the calls in worker processes, and stores large results.

use std::sync::OnceLock;
use std::time::Duration;

use fanfold::backend::{self, Answer, CallFailure};
use polars::prelude::*;
use prost::Message;
use tokio::runtime::Handle;

use crate::build_id::{build_id, shown};
use crate::engine::Cancelled;
use crate::files;
use crate::message::{Arguments, FileRows, Outcome, Reply, Request, Sink};
use crate::storage::{DriverFolder, driver_folder};

/// The most bytes of a reply that goes through the engine, 256 KiB, if there is a store for larger ones.
const INLINE_REPLY: usize = 256 << 10;
/// The most bytes of a reply where there is no store, 8 MiB: the engine's limit is 16 MiB for a message.
const LARGEST_REPLY: usize = 8 << 20;

/// The name of this executor in messages.
static NAME: OnceLock<String> = OnceLock::new();

/// Sets the name of this executor.
pub(crate) fn set_name(name: String) {
    let _ = NAME.set(name);
}

fn name() -> &'static str {
    NAME.get().map_or("?", String::as_str)
}

/// Runs an encoded request, and returns the encoded reply. Errors of functions are part of the reply, as an error of
/// the plan would end the job for all chunks.
pub(crate) async fn answer_request(request: Vec<u8>, cancelled: Cancelled) -> Vec<u8> {
    let runtime = Handle::current();
    let work = tokio::task::spawn_blocking(move || answer(&request, &cancelled, &runtime));
    let reply = work.await.unwrap_or_else(|error| refuse(format!("the executor {} failed: {error}", name())));
    reply.encode_to_vec()
}

fn refuse(why: String) -> Reply {
    Reply { refused: Some(why), ..Reply::default() }
}

fn answer(request: &[u8], cancelled: &Cancelled, runtime: &Handle) -> Reply {
    let request = match Request::decode(request) {
        Ok(request) => request,
        Err(error) => return refuse(format!("the executor {} cannot read the request: {error}", name())),
    };
    if request.build != build_id() {
        return refuse(format!(
            "the executor {} is another build ({}) than the caller ({}): start scheduler, executors and program \
             from the same file",
            name(),
            shown(build_id()),
            shown(request.build)
        ));
    }
    match run(&request, cancelled, runtime) {
        Ok(reply) => reply,
        Err(why) => refuse(format!("{why} (executor {})", name())),
    }
}

fn run(request: &Request, cancelled: &Cancelled, runtime: &Handle) -> Result<Reply, String> {
    let folder = request.folder.as_deref().map(driver_folder).transpose().map_err(|error| error.to_string())?;
    let stored;
    let read;
    let arguments = match (&request.stored_arguments, &folder) {
        (Some(object), Some(folder)) => {
            let bytes = runtime.block_on(folder.read(object)).map_err(|error| error.to_string())?;
            stored =
                Arguments::decode(&*bytes).map_err(|error| format!("the object `{object}` is damaged: {error}"))?;
            &stored.calls
        }
        (Some(_), None) => return Err("the request names an object, and no store".into()),
        (None, _) if !request.rows.is_empty() => {
            let frame = read_rows(&request.rows)?;
            read = vec![backend::frame_arguments(&frame)?];
            &read
        }
        (None, _) => &request.arguments,
    };
    let is_cancelled = || cancelled.get() || folder.as_ref().is_some_and(DriverFolder::is_dead);
    let outcomes = arguments.iter().map(|arguments| {
        let call = Answer {
            entry: &request.entry,
            arguments,
            timeout: request.timeout.map(Duration::from_nanos),
            attempts: request.attempts,
            cancelled: &is_cancelled,
        };
        let outcome = backend::answer(&call).map_err(located);
        match (&request.sink, outcome) {
            (Some(_), Ok(_)) if is_cancelled() => Err(CallFailure::Cancelled).into(),
            (Some(sink), Ok(result)) => write_result(sink, result),
            (_, outcome) => outcome.into(),
        }
    });
    let reply = Reply { outcomes: outcomes.collect(), ..Reply::default() };
    let bytes = reply.encoded_len();
    match &folder {
        Some(folder) if bytes > INLINE_REPLY => {
            let object = &request.result_name;
            let written = runtime.block_on(folder.write(object, reply.encode_to_vec()));
            written.map_err(|error| error.to_string())?;
            Ok(Reply { stored: Some(object.clone()), ..Reply::default() })
        }
        None if bytes > LARGEST_REPLY => Err(format!(
            "the result has {} MiB, and more than {} MiB need a storage that all machines see: set \
             `FANFOLD_CLUSTER_STORAGE`, or sink the result",
            bytes >> 20,
            LARGEST_REPLY >> 20
        )),
        _ => Ok(reply),
    }
}

/// The failure with the executor's name in its message.
fn located(failure: CallFailure) -> CallFailure {
    match failure {
        CallFailure::Lost { message, signal, code } => {
            CallFailure::Lost { message: format!("{message} (executor {})", name()), signal, code }
        }
        CallFailure::Panicked { message, location } => {
            CallFailure::Panicked { message: format!("{message} (executor {})", name()), location }
        }
        CallFailure::Init { message } => CallFailure::Init { message: format!("{message} (executor {})", name()) },
        CallFailure::Codec { message } => CallFailure::Codec { message: format!("{message} (executor {})", name()) },
        other => other,
    }
}

/// Reads the rows of a chunk, which may lie in several files.
fn read_rows(pieces: &[FileRows]) -> Result<DataFrame, String> {
    let mut whole: Option<DataFrame> = None;
    for FileRows { path, first, count } in pieces {
        let failed = |error: &dyn std::fmt::Display| {
            format!("cannot read `{path}`: {error}: executors read the files themselves, under the same paths")
        };
        let first = usize::try_from(*first).map_err(|error| failed(&error))?;
        let count = usize::try_from(*count).map_err(|error| failed(&error))?;
        let frame = files::read(path, first, count).map_err(|why| failed(&why))?;
        match &mut whole {
            None => whole = Some(frame),
            Some(whole) => drop(whole.vstack_mut(&frame).map_err(|error| failed(&error))?),
        }
    }
    whole.ok_or_else(|| "the request has no rows".into())
}

/// Writes the frame of a result to its file. The outcome is the number of rows as eight bytes, or the function's own
/// error.
fn write_result(sink: &Sink, result: Vec<u8>) -> Outcome {
    let written = match backend::frame_of_result(&result, sink.fallible) {
        Ok(None) => return Ok(result).into(),
        Ok(Some(mut frame)) => files::write(&sink.path, &mut frame).map(|()| frame.height()),
        Err(why) => Err(why),
    };
    match written {
        Ok(rows) => Outcome { result: Some((rows as u64).to_le_bytes().to_vec()), failure: None },
        Err(why) => {
            let message = format!("cannot write `{}`: {why} (executor {})", sink.path, name());
            Err(CallFailure::Codec { message }).into()
        }
    }
}
