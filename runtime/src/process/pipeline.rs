//! Several calls on their way to one worker: while it runs the first, the next ones wait in its ring, and it need not
//! wait for its parent between them.
//!
//! A call that waits behind another one is lent, not given: when the one before it takes long, those not begun are taken
//! back, for other workers to run. So only calls that are quick travel together; how many, the pace of the last ones
//! tells.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::child::{Cause, Event, Host};
use super::codec::{Decoder, Misfit};
use super::serve::{Heading, status};
use super::start_limit::Caller;
use super::worker_slot::{self, Running, Seat};
use crate::error::TaskError;
use crate::sys::unwind;

/// How long a worker may be without a reply before what it has not begun is taken back.
const PATIENCE: Duration = Duration::from_micros(500);
/// How much work a worker has ahead of it.
const AHEAD: Duration = Duration::from_micros(200);
/// Calls on their way at most.
const DEEPEST: u32 = 64;

/// A task that is on its way to a worker. `J` is what it is in its pool's queue.
pub(crate) trait Shipment<J>: Send {
    fn function(&self) -> &'static str;
    /// The function's number in the program's table.
    fn number(&self) -> u32;
    /// The arguments.
    fn bytes(&self) -> &[u8];
    /// What tells the task from others that run.
    fn key(&self) -> usize;
    /// What [`series`](super::start_limit::series) was when the task was made.
    fn since(&self) -> u32;
    /// Whether it was asked to stop.
    fn is_stopped(&self) -> bool;
    /// Whether somebody's code runs when it ends.
    fn has_callback(&self) -> bool;
    /// Reads its result.
    fn read(&mut self, input: &mut Decoder<'_>) -> Result<(), Misfit>;
    /// It has no result.
    fn fail(&mut self, error: TaskError);
    /// Ends the task.
    fn finish(self: Box<Self>);
    /// Makes it a job again; `None` if it was cancelled.
    fn give_back(self: Box<Self>) -> Option<J>;
}

/// Where shipments come from.
pub(crate) trait Supply<J> {
    /// One more, if there is one for a worker that has so many already.
    fn next(&mut self, in_flight: usize) -> Option<Box<dyn Shipment<J>>>;
    /// Takes back what the worker has not begun.
    fn back(&mut self, shipments: Vec<Box<dyn Shipment<J>>>);
}

/// What a worker has to do: requests by their numbers, the oldest first.
type Flying<J> = VecDeque<(u32, Box<dyn Shipment<J>>)>;

/// Has this seat's worker run what the supply gives, until there is no more.
///
/// # Panics
///
/// If this thread is no seat.
pub(crate) fn pipeline<J: 'static>(supply: &mut dyn Supply<J>) {
    worker_slot::with_own(|seat| {
        let mut flying = Flying::new();
        run(seat, &mut flying, supply);
    });
}

fn run<J: 'static>(seat: &mut Seat, flying: &mut Flying<J>, supply: &mut dyn Supply<J>) {
    let Some(mut first) = supply.next(0) else { return };
    let is_stopped = || first.is_stopped();
    let mut caller = Caller::new(Some(first.key()), first.since(), None, &is_stopped);
    let started = seat.host(first.function(), &mut caller);
    let mut host = match started {
        Ok(host) => host,
        Err(error) => {
            first.fail(error);
            return finish(first, false);
        }
    };
    let mut next = Some(first);
    // Whether a reply was said to be there and was not.
    let mut passed = false;
    loop {
        while flying.len() < depth(seat.pace)
            && seat.has_room()
            && let Some(shipment) = next.take().or_else(|| supply.next(flying.len()))
        {
            let posted = host.post([shipment.number(), 1, 0], shipment.bytes(), &[]);
            match posted {
                Ok(Some(number)) => {
                    seat.served += 1;
                    flying.push_back((number, shipment));
                }
                // An empty ring has room, unless the worker has written where it must not.
                Ok(None) if flying.is_empty() => {
                    supply.back(vec![shipment]);
                    return lose(seat, host, Cause::Corrupt, flying, supply);
                }
                Ok(None) => {
                    supply.back(vec![shipment]);
                    break;
                }
                Err(cause) => {
                    supply.back(vec![shipment]);
                    return lose(seat, host, cause, flying, supply);
                }
            }
        }
        host.call();
        let Some((_, front)) = flying.front() else { break };
        // Alone it can be killed without harm to others.
        let running = (flying.len() == 1).then(|| Running::enter(front.key(), host.process()));
        if running.is_some() && front.is_stopped() {
            drop(running);
            return lose(seat, host, Cause::Killed, flying, supply);
        }
        let deadline = running.is_none().then(|| Instant::now() + PATIENCE);
        let begun = Instant::now();
        let event = host.wait(deadline, None);
        drop(running);
        match event {
            Event::Reply => match take(seat, &mut host, flying) {
                // Once, at the end of the ring; a worker could do so for ever.
                Ok(0) if !passed => passed = true,
                Ok(0) => return lose(seat, host, Cause::Corrupt, flying, supply),
                Ok(taken) => {
                    passed = false;
                    let pace = begun.elapsed() / taken;
                    seat.pace = (seat.pace * 3 + pace) / 4;
                }
                Err(cause) => return lose(seat, host, cause, flying, supply),
            },
            // Nobody asked.
            Event::Begun => {}
            Event::TimeUp => {
                let first = host.take_back();
                let begun = flying.iter().take_while(|(number, _)| first.wrapping_sub(*number).cast_signed() > 0);
                let unbegun = flying.split_off(begun.count());
                seat.served -= unbegun.len() as u64;
                seat.pace = PATIENCE;
                if !unbegun.is_empty() {
                    supply.back(unbegun.into_iter().map(|(_, shipment)| shipment).collect());
                }
                // A worker begins a request when it has replied to the one before: it cannot be at two of them.
                if flying.len() > 1 && !host.has_reply() {
                    return lose(seat, host, Cause::Corrupt, flying, supply);
                }
            }
            Event::Lost(cause) => {
                let _ = take(seat, &mut host, flying);
                return lose(seat, host, cause, flying, supply);
            }
        }
    }
    if let Some(shipment) = next {
        supply.back(vec![shipment]);
    }
    if host.mail.has_surplus() {
        // It sent what nobody asked for: it gets no more calls.
        host.bury(Cause::Corrupt);
        seat.served = 0;
    } else {
        seat.host = Some(host);
    }
}

/// Calls to have on their way at this pace.
fn depth(pace: Duration) -> usize {
    let fitting = AHEAD.as_nanos() / pace.as_nanos().max(1);
    usize::try_from(fitting.clamp(1, u128::from(DEEPEST))).unwrap_or(1)
}

/// Takes all replies that are there: how many.
fn take<J: 'static>(seat: &mut Seat, host: &mut Host, flying: &mut Flying<J>) -> Result<u32, Cause> {
    let mut taken = 0;
    while let Some(Heading { status, count, word, .. }) = host.reply(&mut seat.reply)? {
        // Until its reply is open the call is on its way, and is lost with the worker if that fails.
        let mut parcel = host.open(word, &seat.reply).map_err(|_| Cause::Corrupt)?;
        let (_, mut shipment) = flying.pop_front().ok_or(Cause::Corrupt)?;
        host.answered();
        seat.has_begun(host);
        let function = shipment.function();
        let mut input = parcel.decoder();
        let error = if status == status::DONE {
            let read = shipment.read(&mut input);
            read.err().map(|misfit| TaskError::wire(function, format!("its result could not be read: {misfit}")))
        } else {
            worker_slot::read_failure(function, status, &mut input)
        };
        if let Some(error) = error {
            shipment.fail(error);
        }
        if count != 1 {
            shipment.fail(TaskError::wire(function, "its worker gave more than one result".into()));
        }
        finish(shipment, !flying.is_empty());
        taken += 1;
    }
    Ok(taken)
}

/// The worker is gone, and with it what it ran.
fn lose<J: 'static>(seat: &mut Seat, mut host: Host, cause: Cause, flying: &mut Flying<J>, supply: &mut dyn Supply<J>) {
    let begun = flying.front().is_some_and(|(number, _)| host.has_begun(*number));
    if begun {
        seat.has_begun(&mut host);
    }
    let is_stopped = flying.front().is_some_and(|(_, front)| front.is_stopped());
    let (proven, failed_before) = (host.proven, host.failed_before);
    let death = host.bury(cause);
    // A worker that has begun nothing is a start that has failed. The tasks are queued again, up to a bound.
    let is_stillborn = !proven && !is_stopped;
    let given_up = is_stillborn.then(|| seat.starts.stillborn(failed_before, &seat.stillborn(&death))).flatten();
    if (begun || given_up.is_some())
        && let Some((_, mut shipment)) = flying.pop_front()
    {
        let function = shipment.function();
        shipment.fail(match given_up {
            _ if is_stopped => TaskError::Cancelled,
            Some(why) => seat.unstarted(function, why),
            None => worker_slot::died(function, &death),
        });
        finish(shipment, false);
    }
    seat.served = 0;
    supply.back(flying.drain(..).map(|(_, shipment)| shipment).collect());
}

/// Ends a task. Its callbacks may wait for others that this thread is to receive: then another thread runs them.
fn finish<J: 'static>(shipment: Box<dyn Shipment<J>>, others: bool) {
    if !(others && shipment.has_callback()) {
        return unwind::contain(|| shipment.finish());
    }
    let place = std::sync::Arc::new(std::sync::Mutex::new(Some(shipment)));
    let there = std::sync::Arc::clone(&place);
    let run = move |place: &std::sync::Mutex<Option<Box<dyn Shipment<J>>>>| {
        let shipment = place.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if let Some(shipment) = shipment {
            unwind::contain(|| shipment.finish());
        }
    };
    let spawned = std::thread::Builder::new().name("fanfold-callback".into()).spawn(move || run(&there));
    if spawned.is_err() {
        run(&place);
    }
}
