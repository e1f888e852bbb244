//! The future of a response. It needs no particular runtime.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker, ready};
use std::thread;

use tokio::sync::oneshot;

use crate::serve::response::{self, Response};

/// The response of a [`Handler`](crate::Handler) or of a mounted [`Server`](crate::Server).
#[derive(Debug)]
pub struct ResponseFuture(pub(super) State);

#[derive(Debug)]
pub(super) enum State {
    Ready(Option<Response>),
    /// The collector thread sends the response.
    Collecting(oneshot::Receiver<Response>),
}

impl ResponseFuture {
    pub(super) fn ready(response: Response) -> Self {
        Self(State::Ready(Some(response)))
    }

    /// Blocks the calling thread until the response is there.
    pub(super) fn wait(mut self) -> Response {
        struct Unpark(thread::Thread);
        impl Wake for Unpark {
            fn wake(self: Arc<Self>) {
                self.0.unpark();
            }
        }
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut context = Context::from_waker(&waker);
        loop {
            if let Poll::Ready(Ok(response)) = Pin::new(&mut self).poll(&mut context) {
                return response;
            }
            thread::park();
        }
    }
}

impl Future for ResponseFuture {
    type Output = Result<Response, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            State::Ready(response) => Poll::Ready(Ok(response.take().expect("not polled after completion"))),
            // The sender is dropped without a response if the collector thread panicked.
            State::Collecting(response) => {
                let response = ready!(Pin::new(response).poll(context));
                Poll::Ready(Ok(response.unwrap_or_else(|_| response::internal_error())))
            }
        }
    }
}
