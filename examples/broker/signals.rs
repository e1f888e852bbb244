//! Shutdown signals, more than one.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use parsec_telemetry::shutdown_signal;

pub(crate) struct Signals(Pin<Box<dyn Future<Output = ()> + Send>>);

impl Signals {
    /// Listens from now on: the signals no longer end the process by themselves.
    pub(crate) async fn listen() -> Self {
        let mut next = Box::pin(shutdown_signal());
        // The first poll installs the handlers. It cannot complete: only later signals count.
        let _pending = poll_fn(|context| Poll::Ready(next.as_mut().poll(context))).await;
        Self(next)
    }

    /// Completes at the next signal. One that follows it is not lost, even before `next` is called again.
    pub(crate) async fn next(&mut self) {
        self.0.as_mut().await;
        *self = Self::listen().await;
    }
}
