//! Stands for the sockets of channels without the feature `process`: no channel has any.

use std::convert::Infallible;
use std::marker::PhantomData;
use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use super::error::ChannelError;
use super::memory::{Full, Message, Refused};

pub(super) type SocketWatch = Infallible;
pub(super) type Encoded = Infallible;

pub(super) struct SendSocket<T>(Infallible, PhantomData<fn(T)>);
pub(super) struct ReceiveSocket<T>(Infallible, PhantomData<fn() -> T>);

#[allow(dead_code, reason = "no socket receives")]
pub(super) enum Received<T> {
    Value(T),
    Nothing,
    End,
}

impl<T> SendSocket<T> {
    pub(super) fn try_send(&self, _: Message<T>) -> Result<(), (Refused, Message<T>)> {
        match self.0 {}
    }

    pub(super) fn wait(&self, _: &Full, _: Option<Instant>) -> Result<bool, ChannelError> {
        match self.0 {}
    }

    pub(super) fn watch(&self, _: &Full, _: &Waker) -> Result<Option<SocketWatch>, ChannelError> {
        match self.0 {}
    }

    pub(super) fn close(&self) {
        match self.0 {}
    }
}

impl<T> ReceiveSocket<T> {
    pub(super) fn receive(&self, _: bool) -> Result<Received<T>, ChannelError> {
        match self.0 {}
    }

    pub(super) fn next(&self) -> Option<Arc<Self>> {
        match self.0 {}
    }

    pub(super) fn check_end(&self) -> Result<(), ChannelError> {
        match self.0 {}
    }

    pub(super) fn free_place(&self) {
        match self.0 {}
    }

    pub(super) fn wait(&self, _: Option<Instant>) -> Result<bool, ChannelError> {
        match self.0 {}
    }

    pub(super) fn watch(&self, _: &Waker) -> Result<SocketWatch, ChannelError> {
        match self.0 {}
    }

    pub(super) fn close(&self) {
        match self.0 {}
    }
}
